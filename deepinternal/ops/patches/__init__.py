"""Patches of images: exact and approximate searches, voting of overlapping patches, and measures.

A patch is named by the row and column of its upper left pixel, and a *field* (h, w, 2) holds the place
of a match for each patch of an image. The functions compare images of different sizes whose pixels do
not correspond, such as a retargeted image and its source. Images are (H, W, C), float32 in [0, 1], with
the same C.

The distance of two patches is the mean squared difference of their values, which depends neither on the
size of a patch nor on the number of channels. Memory is bounded, since patches are cut in chunks.
"""

from deepinternal import lazy

__getattr__, __dir__ = lazy.attach(__name__, __file__)
