"""From a list of inputs to results in a work folder."""

from deepinternal import lazy

__getattr__, __dir__ = lazy.attach(__name__, __file__)
