"""Holes of an image: the window around them, and the first guess of what is in them.

References:
    Newson, Almansa, Gousseau, Perez: Non-Local Patch-Based Image Inpainting. IPOL 2017: texture
    features, peels of the hole at the coarsest scale.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy import ndimage

from deepinternal.ops.patches.search import nearest
from deepinternal.ops.patches.voting import vote
from deepinternal.types import Array

_AROUND = 1.2  # the known surroundings of a hole in a window, relative to the hole's depth
_WIDTH = 16  # side in pixels of the neighbourhood in which texture is measured
_GAIN = 7.0  # of texture relative to colours; its square is the weight in distances


def depth(known: np.ndarray) -> float:
    """Returns the diameter in pixels of the largest disc without a known pixel of (H, W)."""
    return float(2 * ndimage.distance_transform_edt(~known).max() - 1)


def window(known: np.ndarray, *, least: int) -> tuple[slice, slice]:
    """Returns the part of an image in which patches are replaced: the holes and what surrounds them.

    Args:
        known: Bool (H, W), False in the holes.
        least: Least side of the window in pixels, if the image has as many.

    Returns:
        The rows and the columns.
    """
    margin = max(round(_AROUND * depth(known)), least // 3)
    found = []
    for axis, length in enumerate(known.shape):
        places = np.flatnonzero(~known.all(axis=1 - axis))
        start, stop = max(places[0] - margin, 0), min(places[-1] + 1 + margin, length)
        side = min(max(stop - start, least), length)
        start = min(max((start + stop - side) // 2, 0), length - side)
        found.append(slice(int(start), int(start + side)))
    return found[0], found[1]


def continued(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Returns an image (H, W, C) whose unknown pixels have the colours of the nearest known ones."""
    places = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return image[tuple(places)]


def texture(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Measures how strongly an image varies around each pixel.

    By colours alone, smooth patches are near to most others, so that holes in grass would be filled
    with blur.

    Args:
        image: (H, W, C) in [0, 1], continued in its holes.
        known: Bool (H, W), False in the holes, in which no variation is measured.

    Returns:
        (H, W, 2) in [0, 1], the mean absolute vertical and horizontal differences, to be compared
        together with the colours.
    """
    grey = image.mean(axis=-1)
    sure = ndimage.binary_erosion(known, np.ones((3, 3)), border_value=1).astype(np.float32)
    mean = functools.partial(ndimage.uniform_filter, size=_WIDTH, mode="nearest")
    share = np.maximum(mean(sure), 1e-3)
    differences = (
        np.abs(np.diff(grey, axis=axis, append=grey.take([-1], axis))) for axis in (0, 1)
    )
    return np.clip(_GAIN * np.stack([mean(x * sure) / share for x in differences], axis=-1), 0, 1)


def _window_sums(values: Array, patch: int) -> Array:
    return lax.reduce_window(values, 0.0, lax.add, (patch, patch), (1, 1), "VALID")


def peeled(guess: Array, fixed: Array, source: Array, allowed: Array, *, patch: int) -> Array:
    """Fills holes from the outside to the inside with the patches that fit what is there already.

    Args:
        guess: (H, W, C).
        fixed: (H, W) in [0, 1]; less than 0.5 in the holes. Some pixels must be at least 0.5.
        source: (H', W', C), from which the patches are taken.
        allowed: Bool (H', W'), pixels of `source` that may be used.
        patch: Side of a patch in pixels.

    Returns:
        (H, W, C), equal to `guess` outside of the holes.
    """
    known = (fixed >= 0.5).astype(jnp.float32)

    def peel(carry):
        guess, filled = carry
        match = nearest(guess, source, patch=patch, counts=filled, allowed=allowed)
        share = _window_sums(filled, patch) / patch**2
        seen = share > 0
        scale = jnp.sum(match.distance * seen) / jnp.maximum(jnp.sum(seen), 1) + 1e-6
        weights = jnp.square(share) * jnp.exp(-match.distance / (2 * scale))
        made = vote(match.place, source, patch=patch, weights=weights)
        reach = (2 * (patch // 2) + 1,) * 2
        near = lax.reduce_window(filled, 0.0, lax.max, reach, (1, 1), "SAME") > 0
        new = near & (filled == 0)
        return jnp.where(new[..., None], made, guess), jnp.where(new, 1.0, filled)

    unfinished = lambda carry: jnp.any(carry[1] == 0)
    return jax.lax.while_loop(unfinished, peel, (guess, known))[0]
