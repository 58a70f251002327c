"""The networks, as Flax linen modules."""

from deepinternal import lazy

__getattr__, __dir__ = lazy.attach(__name__, __file__)
