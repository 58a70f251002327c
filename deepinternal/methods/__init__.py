"""The methods, by name: `make`, `find`, `register`, `names`; each module exports its `RECIPE`."""

from deepinternal.methods.registry import find, make, names, register

__all__ = ["find", "make", "names", "register"]
