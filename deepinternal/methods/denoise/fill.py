"""Pixels that are missing or wrong: their replacement before an image is denoised, and its noise."""

import itertools

import numpy as np
from scipy import ndimage

_FIRST, _LAST = 0.7, 64.0  # standard deviations of the smallest and the largest window
_ENOUGH = 16  # least number of known pixels in a block


def filled(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Replaces unknown pixels by weighted means of the known ones around them.

    The window of each pixel is the smallest gaussian, of a few sizes, that holds enough known pixels.

    Args:
        image: (H, W, C).
        known: Bool (H, W), with at least one known pixel.

    Returns:
        (H, W, C) float32, equal to the image at known pixels.
    """
    made, left, std = np.array(image, np.float32), ~known, _FIRST
    weight = known.astype(np.float32)
    while left.any():
        blur = lambda x, std=std: ndimage.gaussian_filter(x, std, mode="reflect", truncate=3)
        total, last = blur(weight), std >= _LAST
        here = left & (total > (1e-6 if last else 0.05))
        for c in range(image.shape[-1]):
            part = blur(weight * made[..., c])
            made[..., c][here] = part[here] / total[here]
        if last:
            made[left & ~here] = made[known].mean(axis=0)
        left, std = left & ~here & (not last), 2 * std
    return made


def scattered_std(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Measures the noise of an image that lacks many of its pixels.

    Each known pixel is compared with the mean of the known pixels around it. The median difference in
    a block of pixels measures the noise where the image is smooth, that is in the tenth of the blocks
    with the least medians.

    Args:
        image: (H, W, C) in [0, 1].
        known: Bool (H, W).

    Returns:
        (C,), the standard deviations; zeros if no block has enough known pixels.
    """
    weights = np.zeros((7, 7), np.float32)
    weights[3, 3] = 1
    weights = ndimage.gaussian_filter(weights, 1.0, truncate=3)
    weights[3, 3] = 0
    blur = lambda x, weights=weights: ndimage.convolve(x, weights, mode="reflect")
    share = known.astype(np.float32)
    total = blur(share)
    growth = np.sqrt(1 + blur(share, weights**2) / np.maximum(total, 1e-6) ** 2)
    counts = known & (total > 0.15 * weights.sum() * min(1, 3 * share.mean()))
    side, found = (16 if share.mean() > 0.3 else 32), []
    for channel in np.moveaxis(np.asarray(image, np.float32), -1, 0):
        mean = blur(share * channel) / np.maximum(total, 1e-6)
        error = np.abs(channel - mean) / growth
        corners = itertools.product(*(range(0, n, side) for n in known.shape))
        blocks = [(slice(y, y + side), slice(x, x + side)) for y, x in corners]
        parts = [error[block][counts[block]] for block in blocks]
        medians = [np.median(part) / 0.6745 for part in parts if len(part) >= _ENOUGH]
        found.append(np.quantile(medians, 0.1) if medians else 0)
    return np.array(found)
