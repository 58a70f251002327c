"""Image operations: pure functions of float32 arrays that can be jitted, vmapped and differentiated."""

from deepinternal import lazy

__getattr__, __dir__ = lazy.attach(__name__, __file__)
