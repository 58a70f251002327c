"""Where patches lie, and the nearest patch of another image for each."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.types import Array

QUERIES, _SEARCHED = 1024, 2048  # patches in a chunk


def grid(size: tuple[int, int], patch: int, *, stride: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Where patches lie: every `stride`-th row and column, and the last ones.

    Args:
        size: (H, W) of the image.
        patch: side of a patch.
        stride: rows and columns from a patch to the next.

    Returns:
        Rows (h,) and columns (w,) of the patches' upper left pixels; with them a stride of at most
        `patch` leaves no pixel uncovered.

    Raises:
        ValueError: a side shorter than a patch.
    """
    if min(size) < patch:
        raise ValueError(f"an image of {size[0]}x{size[1]} has no patches of {patch}x{patch}")
    last = [n - patch for n in size]
    return tuple(np.append(np.arange(0, n, stride), n) for n in last)


def cut(image: Array, rows: Array, columns: Array, patch: int) -> Array:
    """Patches at given places.

    Args:
        image: (H, W, C).
        rows: (N,), of the patches' upper left pixels.
        columns: (N,).
        patch: side of a patch.

    Returns:
        (N, patch * patch * C).
    """
    shape = (patch, patch, image.shape[-1])
    one = lambda y, x: lax.dynamic_slice(image, (y, x, jnp.zeros_like(y)), shape)
    return jax.vmap(one)(rows, columns).reshape(len(rows), -1)


def chunks(rows: np.ndarray, columns: np.ndarray, length: int) -> tuple[Array, Array]:
    """All pairs of a row and a column, in parts of bounded size.

    Args:
        rows: (h,).
        columns: (w,).
        length: of a part, at most.

    Returns:
        Rows and columns, int32 (parts, at most `length`) each, the last pair repeated at the end.
    """
    places = [m.reshape(-1) for m in np.meshgrid(rows, columns, indexing="ij")]
    count = math.ceil(len(places[0]) / length)
    length = math.ceil(len(places[0]) / count)
    padded = (np.pad(m, (0, count * length - len(m)), mode="edge") for m in places)
    return tuple(jnp.asarray(m.reshape(count, length), jnp.int32) for m in padded)


def _search(queries: Array, searched: Array, chunks: tuple[Array, Array], patch: int) -> Array:
    """Places (N, 2) of the patches of `searched` that are nearest to the queries (N, D)."""

    def closer(best, candidates):
        patches = cut(searched, *candidates, patch)
        products = jnp.matmul(queries, patches.T, precision=lax.Precision.HIGHEST)
        distances = jnp.sum(patches**2, axis=1) - 2 * products  # less the query's square
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
    """The nearest patch of another image for the patches of an image; exact, by matrix products.

    Distances have gradients, as if the places were fixed.

    Args:
        image: (H, W, C), whose patches are looked up.
        searched: (H', W', C), of which all patches are searched.
        patch: side of a patch.
        stride: of the patches of `image`, see `grid`.

    Returns:
        distance: (h, w), mean squared difference per value, where `grid` places the patches.
        place: int32 (h, w, 2), row and column of the nearest patch in `searched`; the first in the
            order of reading where several are equally near, up to rounding.

    Raises:
        ValueError: a side shorter than a patch, or different channels.
    """
    if image.shape[-1] != searched.shape[-1]:
        raise ValueError(f"images of {image.shape[-1]} and {searched.shape[-1]} channels")
    rows, columns = grid(image.shape[:2], patch, stride=stride)
    parts = chunks(*grid(searched.shape[:2], patch), _SEARCHED)
    # About their common mean, squares are small: they keep more of float32's digits.
    offset = jnp.mean(searched, axis=(0, 1))
    centred = [lax.stop_gradient(x - offset) for x in (image, searched)]

    def nearest_of(places):
        place = _search(cut(centred[0], *places, patch), centred[1], parts, patch)
        # Anew, from the values as they were given: exactly 0 where patches are equal.
        apart = cut(image, *places, patch) - cut(searched, *place.T, patch)
        return jnp.mean(jnp.square(apart), axis=1), place

    distance, place = lax.map(nearest_of, chunks(rows, columns, QUERIES))
    shape = (len(rows), len(columns))
    count = math.prod(shape)
    distance, place = distance.reshape(-1)[:count], place.reshape(-1, 2)[:count]
    return distance.reshape(shape), place.reshape(*shape, 2)
