"""Noise that was clipped to [0, 1] in an image: its variance, and the level that explains a mean.

Files hold no values below black and above white. Where an image is nearly black or white, clipping
reduces the variance of the noise and shifts the mean towards grey, as it does to an average of pixels.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from deepinternal.ops import filters
from deepinternal.ops.clipping import clipped_mean, clipped_variance
from deepinternal.types import Array

_LEVELS = 256  # number of levels of the table that is interpolated
_HALF = 0.5 / 255  # greatest value that is rounded to black
_SHARE = 0.5  # of the expected number of clipped pixels, above which an image counts as clipped


def std_at(level: Array, noise: Mapping[str, Array]) -> Array:
    """Returns the standard deviation of the noise before it is clipped, at levels (..., C)."""
    return jnp.sqrt(jnp.maximum(noise["gain"] * level + noise["offset"], 1e-9))


def _interpolated(x: Array, known: Array, values: Array) -> Array:
    return jax.vmap(jnp.interp, -1, -1)(x, known, values)


def _table(noise: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    """Returns levels with the mean and the variance of each, (levels, C)."""
    levels = jnp.linspace(0, 1, _LEVELS)[:, None] + jnp.zeros_like(noise["offset"])
    std = std_at(levels, noise)
    return levels, clipped_mean(levels, std), clipped_variance(levels, std)


def variance(mean: Array, noise: Mapping[str, Array], clipped: Array) -> Array:
    """Returns the variance of an image's noise where the mean of the image's values is known.

    Args:
        mean: (H, W, C), the mean of the values, after clipping.
        noise: `gain` and `offset` (C,): the variance is gain * level + offset before clipping.
        clipped: Bool scalar, whether values were clipped.

    Returns:
        (H, W, C).
    """
    _, means, variances = _table(noise)
    found = _interpolated(mean, means, variances)
    return jnp.where(clipped, found, std_at(mean, noise) ** 2)


def level(mean: Array, noise: Mapping[str, Array], clipped: Array) -> Array:
    """Returns the level (H, W, C) in [0, 1] that explains a mean after clipping, see `variance`."""
    levels, means, _ = _table(noise)
    return jnp.where(clipped, _interpolated(mean, means, levels), jnp.clip(mean, 0, 1))


def smoothed(image: Array, inside: Array, radius: int) -> Array:
    """Returns the mean (H, W, C) of the pixels in a square window of which `inside` (H, W) is true."""
    inside = inside[..., None].astype(image.dtype)
    share = filters.box(inside, radius)
    return filters.box(image * inside, radius) / jnp.where(share > 1e-4, share, 1)


def is_clipped(image: Array, mean: Array, inside: Array, noise: Mapping[str, Array]) -> Array:
    """Returns whether the values of an image were clipped after the noise had been added.

    They were if none lies outside [0, 1] and about as many of them as noise of this strength explains
    are black or white. A camera whose noise ends with the light has fewer.

    Args:
        image: (H, W, C).
        mean: (H, W, C), the local mean of its values.
        inside: Bool (H, W), where the image is; the rest is ignored.
        noise: See `variance`.

    Returns:
        A bool scalar.
    """
    true = jnp.ones((), bool)
    found = level(mean, noise, true)
    std = std_at(found, noise)
    expected = norm.cdf((_HALF - found) / std) + norm.cdf((found - 1 + _HALF) / std)
    inside = inside[..., None]
    black_or_white = (image <= _HALF) | (image >= 1 - _HALF)
    within = jnp.all(jnp.where(inside, (image >= 0) & (image <= 1), True))
    total = lambda x: jnp.sum(jnp.where(inside, x, 0))
    return within & (total(black_or_white) >= _SHARE * total(expected))
