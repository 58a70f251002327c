"""Replaces the colours of invisible pixels by a continuation of the visible ones.

Where alpha is 0, editors store arbitrary colours, mostly black. If a method learned from them, or
interpolated across the edge of an object, they would appear as a fringe.
"""

import dataclasses

import numpy as np

from deepinternal.codecs.image_io import ImageFile
from deepinternal.types import InputError

_TRUSTED = 8  # steps of the alpha's depth from which a colour is kept as it is


def extended(image: ImageFile) -> ImageFile:
    """Returns an image with the colours of visible pixels continued under its transparency.

    Colours are kept to the bit where alpha is at least 8 steps of its depth, such as 8/255. At
    smaller alphas, colours that were once multiplied by alpha are coarse, and are mixed with the
    continuation: in equal parts at 4 steps; at 0 only the continuation is used. What is seen over
    any background changes by at most 2 steps of the depth.

    Raises:
        InputError: Every pixel is transparent.
    """
    if image.alpha is None:
        return image
    if not image.alpha.any():
        raise InputError(
            f"{image.path}: every pixel is transparent (alpha 0), so that nothing can be seen; give "
            "an image with visible pixels, or one without alpha"
        )
    steps = np.float32(2**image.bit_depth - 1)
    trust = np.minimum(image.alpha * (steps / _TRUSTED), 1)
    if trust.min() == 1:
        return image
    weight = image.alpha * trust
    pixels = np.empty_like(image.pixels)
    for channel in range(pixels.shape[2]):  # one at a time, to save memory
        pixels[..., channel] = _filled(image.pixels[..., channel], weight, trust)
    return dataclasses.replace(image, pixels=pixels)


def on_white(image: ImageFile) -> np.ndarray:
    """Returns the pixels (H, W, C) of an image as seen on a white background."""
    if image.alpha is None:
        return image.pixels
    alpha = image.alpha[..., None]
    return alpha * image.pixels + (1 - alpha)


def _filled(values: np.ndarray, weight: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Replaces untrusted values by those of a pyramid of weighted means (push-pull).

    Args:
        values: (H, W).
        weight: (H, W), their weights in the mean of four pixels; not all are 0.
        trust: (H, W) in [0, 1], the part of each value that is kept.

    Returns:
        (H, W), smooth where the trust is 0, and equal to `values` where it is 1.
    """
    if trust.min() == 1 or values.size == 1:
        return values
    total = _halved(weight)
    means = _halved(values * weight) / np.where(total > 0, total, 1)
    total = np.minimum(total, 1)
    height, width = values.shape
    coarse = _doubled(_filled(means, total, total))[:height, :width]
    return np.where(trust < 1, coarse + trust * (values - coarse), values)


def _halved(values: np.ndarray) -> np.ndarray:
    """Returns the sums over 2x2 pixels of (H, W), with zeros beyond odd sides."""
    height, width = values.shape
    if height % 2 or width % 2:
        values = np.pad(values, ((0, height % 2), (0, width % 2)))
    rows = values[0::2] + values[1::2]
    return rows[:, 0::2] + rows[:, 1::2]


def _doubled(values: np.ndarray) -> np.ndarray:
    """Doubles both sides of (H, W) by linear interpolation."""
    for axis in (0, 1):
        values = np.moveaxis(values, axis, 0)
        wide = np.concatenate([values[:1], values, values[-1:]])
        made = np.empty((2 * len(values), values.shape[1]), values.dtype)
        near = np.float32(0.75) * values
        made[0::2] = near + np.float32(0.25) * wide[:-2]
        made[1::2] = near + np.float32(0.25) * wide[2:]
        values = np.moveaxis(made, 0, axis)
    return values
