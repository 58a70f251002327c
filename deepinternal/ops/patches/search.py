"""Positions of patches, and the search for the nearest patch of another image."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.types import Array

QUERIES, _SEARCHED = 1024, 2048  # numbers of patches in a chunk


def grid(size: tuple[int, int], patch: int, *, stride: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions of patches: every `stride`-th row and column, and the last ones.

    Args:
        size: (H, W) of the image.
        patch: Side of a patch in pixels.
        stride: Distance in pixels from one patch to the next.

    Returns:
        Rows (h,) and columns (w,) of the patches' upper left pixels. With a stride of at most `patch`,
        the patches cover every pixel.

    Raises:
        ValueError: A side is shorter than a patch.
    """
    if min(size) < patch:
        raise ValueError(f"an image of {size[0]}x{size[1]} has no patches of {patch}x{patch}")
    last = [n - patch for n in size]
    return tuple(np.append(np.arange(0, n, stride), n) for n in last)


def cut(image: Array, rows: Array, columns: Array, patch: int) -> Array:
    """Cuts out the patches at given positions.

    Args:
        image: (H, W, C).
        rows: (N,), rows of the patches' upper left pixels.
        columns: (N,), their columns.
        patch: Side of a patch in pixels.

    Returns:
        (N, patch * patch * C).
    """
    shape = (patch, patch, image.shape[-1])
    one = lambda y, x: lax.dynamic_slice(image, (y, x, jnp.zeros_like(y)), shape)
    return jax.vmap(one)(rows, columns).reshape(len(rows), -1)


def chunks(rows: np.ndarray, columns: np.ndarray, length: int) -> tuple[Array, Array]:
    """Divides all pairs of a row and a column into chunks of bounded size.

    Args:
        rows: (h,).
        columns: (w,).
        length: Greatest number of pairs in a chunk.

    Returns:
        Rows and columns, int32 (chunks, at most `length`) each, with the last pair repeated at the end.
    """
    places = [m.reshape(-1) for m in np.meshgrid(rows, columns, indexing="ij")]
    count = math.ceil(len(places[0]) / length)
    length = math.ceil(len(places[0]) / count)
    padded = (np.pad(m, (0, count * length - len(m)), mode="edge") for m in places)
    return tuple(jnp.asarray(m.reshape(count, length), jnp.int32) for m in padded)


def _search(queries: Array, searched: Array, chunks: tuple[Array, Array], patch: int) -> Array:
    """Returns the positions (N, 2) of the patches of `searched` nearest to the queries (N, D)."""

    def closer(best, candidates):
        patches = cut(searched, *candidates, patch)
        products = jnp.matmul(queries, patches.T, precision=lax.Precision.HIGHEST)
        distances = jnp.sum(patches**2, axis=1) - 2 * products  # without the square of the query
        least = jnp.min(distances, axis=1)
        # Not argmin, which XLA does not vectorise on CPU.
        order = jnp.arange(len(patches), dtype=jnp.int32)
        first = jnp.min(jnp.where(distances <= least[:, None], order, len(patches) - 1), axis=1)
        found = jnp.stack([c[first] for c in candidates], axis=-1)
        better = least < best[0]
        place = jnp.where(better[:, None], found, best[1])
        return (jnp.where(better, least, best[0]), place), None

    start = (jnp.full(len(queries), jnp.inf), jnp.zeros((len(queries), 2), jnp.int32))
    (_, place), _ = lax.scan(closer, start, chunks)
    return place


def nearest(
    image: Array, searched: Array, *, patch: int = 7, stride: int = 1
) -> tuple[Array, Array]:
    """Finds the nearest patch of another image for each patch of an image, exactly, by matrix products.

    Gradients flow through the distances as if the positions were fixed.

    Args:
        image: (H, W, C), whose patches are the queries.
        searched: (H', W', C), all of whose patches are searched.
        patch: Side of a patch in pixels.
        stride: Stride of the patches of `image`, see `grid`.

    Returns:
        distance: (h, w), the mean squared difference for each patch of `grid`.
        place: int32 (h, w, 2), row and column of the nearest patch in `searched`. If several patches
            are equally near, up to rounding, it is the first one in reading order.

    Raises:
        ValueError: A side is shorter than a patch, or the numbers of channels differ.
    """
    if image.shape[-1] != searched.shape[-1]:
        raise ValueError(
            f"images of {image.shape[-1]} and {searched.shape[-1]} channels: must be equal"
        )
    rows, columns = grid(image.shape[:2], patch, stride=stride)
    parts = chunks(*grid(searched.shape[:2], patch), _SEARCHED)
    # Without their common mean, squares are small and keep more of float32's digits.
    offset = jnp.mean(searched, axis=(0, 1))
    centred = [lax.stop_gradient(x - offset) for x in (image, searched)]

    def nearest_of(places):
        place = _search(cut(centred[0], *places, patch), centred[1], parts, patch)
        # Computed again from the original values, so that it is exactly 0 for equal patches.
        apart = cut(image, *places, patch) - cut(searched, *place.T, patch)
        return jnp.mean(jnp.square(apart), axis=1), place

    distance, place = lax.map(nearest_of, chunks(rows, columns, QUERIES))
    shape = (len(rows), len(columns))
    count = math.prod(shape)
    distance, place = distance.reshape(-1)[:count], place.reshape(-1, 2)[:count]
    return distance.reshape(shape), place.reshape(*shape, 2)
