"""Patches of images: nearest-neighbour search, voting of overlapping patches, and measures.

The functions compare images of different sizes whose pixels do not correspond, such as a retargeted
image and its source. Images are (H, W, C), float32 in [0, 1], with the same C.

The distance of two patches is the mean squared difference of their values, which depends neither on the
size of a patch nor on the number of channels. Memory is bounded, since patches are cut in chunks.
"""

from deepinternal import lazy

__getattr__, __dir__ = lazy.attach(__name__, __file__)
