"""Patches of images: search for the nearest ones, votes of overlapping ones, measures.

For images of different sizes (a retargeted image and its source), of which no pixel corresponds to
one of the other. Images are (H, W, C), float32 in [0, 1], one C for both.

The distance of two patches is their mean squared difference per value, so it depends neither on the
size of a patch nor on the number of channels. Memory is bounded: patches are cut out in chunks.
"""
