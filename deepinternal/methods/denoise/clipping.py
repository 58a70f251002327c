"""Noise that was clipped to [0, 1] in an image: its variance, and the level that explains a mean.

Files hold no values below black or above white. Where an image is nearly black or white, clipping
reduces the variance of the noise and shifts the mean towards grey, as it does to an average of pixels.
Both are tabulated on the host, by the mean of the values after clipping.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy import ndimage
from scipy.special import ndtr

from deepinternal.estimators.clipping import clipped_mean, clipped_variance
from deepinternal.ops.color import OPPONENT
from deepinternal.types import Array

_ENTRIES = 1024  # of a table
_HALF = 0.5 / 255  # greatest value that is rounded to black
_SHARE = 0.5  # share of the expected clipped pixels above which an image counts as clipped
_NEAR = 7  # side of the windows from whose means the number of clipped pixels is expected
_SIDE = 512  # approximate greatest number of rows and columns of pixels that are counted


def tables(image: np.ndarray, gain: np.ndarray, offset: np.ndarray) -> dict[str, np.ndarray]:
    """Tabulates the noise by the mean of the values after clipping, if those of an image were clipped.

    Args:
        image: (H, W, C), with the noise.
        gain: (C,).
        offset: (C,). The variance of the noise is gain * level + offset before clipping.

    Returns:
        `level` and `variance`, float32 (1024, C), for means from 0 to 1; see `looked_up`. Without
        clipping the level is the mean.
    """
    grid = np.linspace(0, 1, _ENTRIES)
    std = np.sqrt(np.maximum(gain * grid[:, None] + offset, 1e-9))
    level, variance = np.broadcast_to(grid[:, None], std.shape), std**2
    means = np.maximum.accumulate(clipped_mean(level, std))
    by_mean = lambda x: np.stack([np.interp(grid, m, v) for m, v in zip(means.T, x.T)], axis=-1)
    known = by_mean(level)
    if is_clipped(image, known, std):
        level, variance = known, by_mean(clipped_variance(level, std))
    return {"level": np.float32(level), "variance": np.float32(variance)}


def is_clipped(image: np.ndarray, level: np.ndarray, std: np.ndarray) -> bool:
    """Returns whether the values of an image were clipped after the noise had been added.

    They were if none lies outside [0, 1] and about as many of them as noise of this strength explains
    are black or white. A camera whose noise ends with the light has fewer.

    Args:
        image: (H, W, C).
        level: (1024, C), the level that explains each mean, if the values were clipped.
        std: (1024, C), the standard deviation of the noise at each level, before clipping.
    """
    if image.min() < 0 or image.max() > 1:
        return False
    step = max(1, max(image.shape[:2]) // _SIDE)
    mean = ndimage.uniform_filter(image, (_NEAR, _NEAR, 1))[::step, ::step]
    values, grid, expected = image[::step, ::step], np.linspace(0, 1, _ENTRIES), 0.0
    for c in range(values.shape[-1]):
        found = np.interp(mean[..., c], grid, level[:, c])
        size = np.interp(found, grid, std[:, c])
        expected += np.sum(ndtr((_HALF - found) / size) + ndtr((found - 1 + _HALF) / size))
    return bool(np.sum((values <= _HALF) | (values >= 1 - _HALF)) >= _SHARE * expected)


def looked_up(mean: Array, table: Array) -> Array:
    """Returns the entries of a table (1024, C) for means (H, W, C), interpolated linearly."""
    place = jnp.clip(mean, 0, 1) * (_ENTRIES - 1)
    below = jnp.minimum(place.astype(jnp.int32), _ENTRIES - 2)
    channel = jnp.arange(table.shape[1])
    first, second = table[below, channel], table[below + 1, channel]
    return first + (place - below) * (second - first)


def mixed(variance: Array, mixing: Array) -> Array:
    """Returns the variance (..., C) of the noise of luma and chroma, for that of the channels.

    Args:
        variance: (..., C), of R, G and B, or of grey.
        mixing: (C,), see `NoiseModel`.
    """
    if variance.shape[-1] == 1:
        return variance
    return mixing * jnp.matmul(variance, OPPONENT.T**2, precision=lax.Precision.HIGHEST)


def opponent_variance(mean: Array, noise: Mapping[str, Array]) -> Array:
    """Returns the variance (H, W, C) of the noise of luma and chroma, where the mean is known.

    Args:
        mean: (H, W, C), the mean of the noisy R, G and B, or of grey.
        noise: `variance`, see `tables`, and `mixing`.
    """
    return mixed(looked_up(mean, noise["variance"]), noise["mixing"])
