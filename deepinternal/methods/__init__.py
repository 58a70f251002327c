"""The methods by name: `make`, `find`, `register`, `names`. Each method's module exports a `RECIPE`."""

from deepinternal import lazy

__getattr__, __dir__ = lazy.attach(__name__, __file__)
