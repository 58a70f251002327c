"""The mean and the variance of gaussian noise that was clipped to [0, 1], and the mean's inverse."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

_LEAST = 1e-6  # smallest standard deviation that is used
# Of Newton's method; six reach the accuracy of float32 for any standard deviation up to 1.
_ITERATIONS = 8


def clipped_mean(x: ArrayLike, std: ArrayLike) -> np.ndarray:
    """Computes the mean of a noisy pixel after clipping to [0, 1].

    Near black and white, clipping cuts off one side of the noise, so that the mean of noisy pixels is
    greyer than the clean image. Denoising by averages of noisy pixels reproduces this mean.

    Args:
        x: Clean values in [0, 1], of any shape.
        std: Standard deviation of the gaussian noise before clipping, for images in [0, 1]; broadcast
            against `x`.

    Returns:
        The expectation of clip(x + std * z, 0, 1), z standard normal, of the broadcast shape.

    Example:
        >>> import deepinternal as di
        >>> print(di.estimators.clipped_mean([0.0, 0.5, 1.0], 0.1).round(3))
        [0.04 0.5  0.96]

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

    Example:
        >>> import deepinternal as di
        >>> print(di.estimators.clipped_variance([0.0, 0.5, 1.0], 0.1).round(4))
        [0.0034 0.01   0.0034]
    """
    x, std = np.asarray(x, float), np.maximum(std, _LEAST)
    mean, square = _moments(-x / std, (1 - x) / std)
    return std**2 * (square - mean**2)


def clipped_mean_inverse(y: ArrayLike, std: ArrayLike) -> np.ndarray:
    """Computes the clean value for which noisy pixels have a given mean after clipping.

    Args:
        y: Means of clipped noisy pixels in [0, 1], such as a denoised image, of any shape.
        std: As for `clipped_mean`.

    Returns:
        The values x in [0, 1] with `clipped_mean(x, std)` = y, of the broadcast shape. Means below that
        of black pixels, which is 0.4 std, give 0, and means above that of white pixels give 1.

    Example:
        >>> import deepinternal as di
        >>> print(di.estimators.clipped_mean_inverse([0.04, 0.5, 1.0], 0.1).round(3))
        [0.  0.5 1. ]
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
