"""Replacement of pixels that are missing or wrong, before an image is denoised."""

import numpy as np
from scipy import ndimage

_FIRST, _LAST = 0.7, 64.0  # standard deviations of the windows, the smallest and the largest


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
