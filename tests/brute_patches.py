"""Patches of images by loops, to compare the searches and the measures with."""

import numpy as np
from skimage import data


def photo(height=40, width=48, *, at=(20, 180)):
    y, x = at
    return np.float32(data.astronaut()[y : y + height, x : x + width]) / 255


def all_patches(image, patch, dtype=np.float64):
    """(h, w, patch * patch * C) by loops."""
    h, w = (n - patch + 1 for n in image.shape[:2])
    rows = [[image[y : y + patch, x : x + patch].reshape(-1) for x in range(w)] for y in range(h)]
    return np.asarray(rows, dtype)


def brute_force(image, searched, patch):
    """(h, w, N): the mean squared differences of each patch to all patches of another image."""
    a, b = all_patches(image, patch), all_patches(searched, patch)
    flat = b.reshape(-1, b.shape[-1])
    return np.stack([[np.mean((p - flat) ** 2, axis=1) for p in row] for row in a])
