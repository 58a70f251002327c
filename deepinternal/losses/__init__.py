"""Loss functions: pure functions from arrays to scalars, without weights."""

from deepinternal import lazy

__getattr__, __dir__ = lazy.attach(__name__, __file__)
