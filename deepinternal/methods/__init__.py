"""The methods: each a handful of pure functions over arrays, looked up by name."""

from deepinternal.methods.registry import defaults, get, make, names
from deepinternal.types import input_spec

__all__ = ["defaults", "get", "input_spec", "make", "names"]
