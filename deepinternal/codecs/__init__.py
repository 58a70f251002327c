"""Codecs: read images, kernels and videos from files, and write them."""

from deepinternal import lazy

__getattr__, __dir__ = lazy.attach(__name__, __file__)
