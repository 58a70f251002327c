"""Banks of pixels with similar surroundings, from which `pairs` draws noisy versions of an image.

A bank holds, for each pixel, the shifts to the K pixels of a window whose 7x7 surroundings are the most
similar ones, numbered row by row from 0 for (-reach, -reach).

References:
    Ma, Liu, Li, Xu, Ma: Pixel2Pixel: A Pixelwise Approach for Zero-Shot Single Image Denoising. 2025.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.types import Array

_RADIUS = 3  # of the surroundings that are compared, in pixels
_SMOOTH = np.array([0.054, 0.244, 0.404, 0.244, 0.054], np.float32)  # gaussian, deviation 1
_UNUSUAL = 4.0  # times the usual difference, up to which surroundings count as similar


def smoothed(image: Array) -> Array:
    """Convolves an image (H, W, C) with a gaussian of one pixel, mirrored at the borders."""
    for axis in (0, 1):
        pad = [(2, 2) if i == axis else (0, 0) for i in range(3)]
        wide = jnp.pad(image, pad, mode="symmetric")
        part = lambda i: lax.slice_in_dim(wide, i, i + image.shape[axis], axis=axis)  # noqa: B023
        image = sum(float(weight) * part(i) for i, weight in enumerate(_SMOOTH))
    return image


def find_bank(
    guide: Array, top: Array, *, rows: int, reach: int, count: int
) -> tuple[Array, Array]:
    """Finds, for each pixel of some rows, the pixels of a window with the most similar surroundings.

    Args:
        guide: (H, W, C), the image in which 7x7 surroundings are compared, mirrored at its borders.
        top: The first of the rows.
        rows: Number of rows, static.
        reach: Greatest distance along each axis; less than H and W.
        count: Number of pixels, at most (reach + 1)^2.

    Returns:
        int32 (rows, W, count): shifts, numbered row by row from 0 for (-reach, -reach). The first one
        is always that of the pixel itself. And the sums of squared differences, in rising order.
    """
    (height, width, _), side, r = guide.shape, 2 * reach + 1, _RADIUS
    wide = jnp.pad(guide, [(reach + r, reach + r)] * 2 + [(0, 0)], mode="symmetric")
    cut = lambda y, x: lax.dynamic_slice(
        wide, (y, x, 0), (rows + 2 * r, width + 2 * r, guide.shape[-1])
    )
    here = cut(top + reach, reach)
    row, column = jnp.arange(rows)[:, None] + top, jnp.arange(width)

    def distance(shift):
        y, x = shift // side, shift % side
        error = jnp.sum((cut(top + y, x) - here) ** 2, axis=-1)
        error = sum(error[i : i + rows] for i in range(2 * r + 1))
        error = sum(error[:, i : i + width] for i in range(2 * r + 1))
        y, x = row + y - reach, column + x - reach
        error = jnp.where((y >= 0) & (y < height) & (x >= 0) & (x < width), error, jnp.inf)
        return jnp.where(shift == side * side // 2, -1.0, error)

    found = jnp.moveaxis(lax.map(distance, jnp.arange(side * side)), 0, -1)
    near, shifts = lax.top_k(-found, count)
    return shifts, jnp.maximum(-near, 0)


def trimmed(bank: Array, distance: Array) -> Array:
    """Replaces the pixels of a bank whose surroundings differ too much by the more similar ones.

    Args:
        bank: (H, W, K).
        distance: (H, W, K), in rising order; the median of the middle ones tells what is usual.

    Returns:
        An array like `bank`, in which the m similar pixels are repeated; at least the first one is.
    """
    size = bank.shape[-1]
    usual = jnp.median(distance[..., size // 2 - 1].astype(jnp.float32))
    similar = jnp.sum(distance <= _UNUSUAL * usual, axis=-1, keepdims=True)
    order = jnp.arange(size) % jnp.maximum(similar, 1)
    return jnp.take_along_axis(bank, order, axis=-1)


def banked(image: Array, bank: Array, corner: tuple[Array, Array], reach: int) -> Array:
    """The values (h, w, K, C) of the pixels of a part (h, w, K) of a bank whose corner is given."""
    side, (h, w, _) = 2 * reach + 1, bank.shape
    shift = bank.astype(jnp.int32)
    rows = corner[0] + jnp.arange(h)[:, None, None] + shift // side - reach
    columns = corner[1] + jnp.arange(w)[:, None] + shift % side - reach
    return image[rows, columns]


def drawn(key: Array, values: Array, count: int) -> tuple[Array, Array]:
    """Divides each pixel's bank at random.

    Args:
        key: PRNG key.
        values: (h, w, K, C).
        count: Number of drawn values, less than K.

    Returns:
        Images (h, w, C): the mean of the drawn values, and that of the K - count others.
    """
    (h, w, size, _), sums = values.shape, values.sum(axis=2)
    order = jax.random.uniform(key, (h * w * size,)).reshape(h, w, size)
    last = lax.top_k(-order, count)[0][..., -1:]
    chosen = jnp.sum(jnp.where((-order >= last)[..., None], values, 0), axis=2)
    return chosen / count, (sums - chosen) / (size - count)
