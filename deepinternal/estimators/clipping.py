"""Mean and variance of gaussian noise that was clipped to [0, 1], and the inverse of the mean."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

_LEAST = 1e-6  # standard deviation that counts as none
# Of Newton's method; six reach float32's accuracy for any standard deviation up to 1.
_ITERATIONS = 8


def clipped_mean(x: ArrayLike, std: ArrayLike) -> np.ndarray:
    """Computes the mean of a noisy pixel after clipping to [0, 1].

    Near black and white, clipping cuts one side of the noise, so that the mean of noisy pixels is
    greyer than the clean image. What averages noisy pixels (most denoising) reproduces this mean.

    Args:
        x: Clean values in [0, 1], of any shape.
        std: Standard deviation of the gaussian noise before clipping, for images in [0, 1]; broadcast
            against `x`.

    Returns:
        The expectation of clip(x + std * z, 0, 1), z standard normal, of the broadcast shape.

    References:
        Foi: Clipped noisy images: heteroskedastic modeling and practical denoising. Signal Processing
        2009 (the moments of clipped noise, and inverting the mean of a denoised image).
    """
    x, std = np.asarray(x, float), np.maximum(std, _LEAST)
    return x + std * _moments(-x / std, (1 - x) / std)[0]


def clipped_variance(x: ArrayLike, std: ArrayLike) -> np.ndarray:
    """Computes the variance of a noisy pixel after clipping to [0, 1].

    Args:
        x: Clean values in [0, 1], of any shape.
        std: As for `clipped_mean`.

    Returns:
        The variance of clip(x + std * z, 0, 1), z standard normal, of the broadcast shape: `std**2`
        where `x` is far from 0 and 1, and 0.34 of it at these ends.
    """
    x, std = np.asarray(x, float), np.maximum(std, _LEAST)
    mean, square = _moments(-x / std, (1 - x) / std)
    return std**2 * (square - mean**2)


def clipped_mean_inverse(y: ArrayLike, std: ArrayLike) -> np.ndarray:
    """Computes the clean value whose noisy pixels have a given mean after clipping.

    Args:
        y: Means of clipped noisy pixels in [0, 1], such as a denoised image, of any shape.
        std: As for `clipped_mean`.

    Returns:
        The values x in [0, 1] with `clipped_mean(x, std)` = y, of the broadcast shape. The mean of a
        black pixel is not 0 (but 0.4 std); means below it return 0, and likewise 1 for those too large.
    """
    y, std = np.broadcast_arrays(np.asarray(y, float), np.maximum(std, _LEAST))
    x = np.clip(y, 0, 1)
    for _ in range(_ITERATIONS):
        error = clipped_mean(x, std) - y
        x = np.clip(x - error / (ndtr((1 - x) / std) - ndtr(-x / std)), 0, 1)
    return x


def _moments(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and mean square of a standard normal variable clipped to [a, b]."""
    below, above = ndtr(a), ndtr(-b)
    at_a, at_b = (np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi) for x in (a, b))
    mean = a * below + b * above + at_a - at_b
    square = a**2 * below + b**2 * above + 1 - below - above + a * at_a - b * at_b
    return mean, square
