"""Convolution: the function `convolution.conv2d`, and the forms in which it is computed."""

from deepinternal import lazy

__getattr__, __dir__ = lazy.attach(__name__, __file__)
