"""Seam carving: connected paths of least energy, which are removed from an image or doubled.

An image may have fewer valid columns than its array, which then is a canvas whose right part is
ignored. The number of valid columns may be traced, so that one program removes any number of seams.

References:
    Avidan, Shamir: Seam Carving for Content-Aware Image Resizing. SIGGRAPH 2007, sections 3 and 4.3.
"""

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array


def seam_energy(image: Array, *, width: Array | int | None = None) -> Array:
    """Measures the gradient energy: absolute differences to the four neighbours, over all channels.

    At the border the single neighbour along an axis counts twice, since seams would prefer the border
    otherwise.

    Args:
        image: (H, W, C).
        width: The number of valid columns; None: all.

    Returns:
        (H, W), energy e1 of the paper; infinite in columns that are not valid.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import seams
        >>> seams.seam_energy(np.float32([[[0], [1], [1]]])).tolist()
        [[2.0, 1.0, 0.0]]
    """
    h, w = image.shape[:2]
    width = w if width is None else width
    column, total = jnp.arange(w), jnp.zeros((h, w), image.dtype)
    if h > 1:
        steps = jnp.sum(jnp.abs(jnp.diff(image, axis=0)), axis=-1)
        steps = jnp.pad(steps, ((1, 1), (0, 0)), mode="edge")
        total = steps[:-1] + steps[1:]
    if w > 1:
        steps = jnp.sum(jnp.abs(jnp.diff(image, axis=1)), axis=-1)
        left = jnp.pad(steps, ((0, 0), (1, 0)), mode="edge")
        right = jnp.pad(steps, ((0, 0), (0, 1)), mode="edge")
        right = jnp.where(column == width - 1, left, right)
        total = total + jnp.where(width > 1, left + right, 0)
    return jnp.where(column < width, total, jnp.inf)


def least_seam(cost: Array) -> Array:
    """Finds the connected path of least sum from the first row to the last, by dynamic programming.

    Args:
        cost: (H, W), infinite where no path may go.

    Returns:
        The column in each row, int32 (H,); from row to row it changes by at most 1. Of several such
        paths, it is the leftmost one, traced from the last row upwards.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import seams
        >>> seams.least_seam(np.float32([[3, 1, 2], [1, 3, 3]])).tolist()
        [1, 0]
    """

    def add(sums, row):
        padded = jnp.pad(sums, 1, constant_values=jnp.inf)
        left, right = padded[:-2], padded[2:]
        least = jnp.minimum(jnp.minimum(left, right), sums)
        step = jnp.where(left <= least, -1, jnp.where(sums <= least, 0, 1)).astype(jnp.int8)
        return row + least, step

    def back(column, steps):
        return column + steps[column], column

    sums, steps = lax.scan(add, cost[0], cost[1:])
    last = jnp.argmin(sums).astype(jnp.int32)
    first, rest = lax.scan(back, last, steps, reverse=True)
    return jnp.append(first, rest).astype(jnp.int32)


def remove_seam(values: Array, seam: Array) -> Array:
    """Removes one value of each row and moves the values at its right to the left.

    Args:
        values: (H, W) or (H, W, C).
        seam: int32 (H,), the column of the value in each row.

    Returns:
        An array of the same shape. Its last column is not valid.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import seams
        >>> seams.remove_seam(np.array([[1, 2, 3], [4, 5, 6]]), np.array([0, 1]))[:, :2].tolist()
        [[2, 3], [4, 6]]
    """
    here = jnp.arange(values.shape[1]) < seam[:, None]
    here = here.reshape(*here.shape, *[1] * (values.ndim - 2))
    return jnp.where(here, values, jnp.roll(values, -1, axis=1))


def remove_seams(
    image: Array, count: Array | int, *, width: Array | int | None = None
) -> tuple[Array, Array]:
    """Removes vertical seams of least energy, one after another.

    Args:
        image: (H, W, C).
        count: The number of seams, less than the number of valid columns; may be traced.
        width: The number of valid columns of the image; None: all.

    Returns:
        The canvas (H, W, C), of which `width - count` columns are valid, and int32 (H, W), the
        column of the image that each of its pixels comes from.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import seams
        >>> image, columns = seams.remove_seams(np.float32([[[0], [1], [1]]]), 1)
        >>> columns[:, :2].tolist()
        [[0, 1]]
    """
    h, w = image.shape[:2]
    width = w if width is None else width
    columns = jnp.broadcast_to(jnp.arange(w, dtype=jnp.int32), (h, w))

    def remove(index, arrays):
        seam = least_seam(seam_energy(arrays[0], width=width - index))
        return tuple(remove_seam(x, seam) for x in arrays)

    return lax.fori_loop(0, count, remove, (image, columns))


def double_seams(
    image: Array, columns: Array, count: Array | int, *, width: Array | int | None = None
) -> Array:
    """Doubles the pixels that the removal of seams did not keep.

    Args:
        image: (H, W, C).
        columns: int32 (H, W), as `remove_seams` returns them.
        count: The number of seams that were removed; may be traced.
        width: The number of valid columns of the image; None: all.

    Returns:
        The canvas (H, W, C), of which the first `width + count` columns are valid. Of the two copies of
        a pixel, one is averaged with the left neighbour, the other with the right one.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import seams
        >>> double = jax.jit(lambda image, columns: seams.double_seams(image, columns, 1, width=2))
        >>> canvas = np.float32([[[0], [1], [0]]])  # two of its columns are valid
        >>> double(canvas, np.array([[0, 1, 1]])).tolist()
        [[[0.0], [0.5], [1.0]]]
    """
    h, w = image.shape[:2]
    width = w if width is None else width
    column = jnp.arange(w, dtype=jnp.int32)
    kept = jnp.where(column < width - count, columns, w)  # a column outside is ignored
    repeats = jnp.full((h, w), 2, jnp.int32).at[jnp.arange(h)[:, None], kept].set(1, mode="drop")
    ends = jnp.cumsum(repeats, axis=1)
    origin = jax.vmap(lambda row: jnp.searchsorted(row, column, side="right"))(ends)
    origin = jnp.minimum(origin, width - 1)
    take = lambda values, at: jnp.take_along_axis(values, at, axis=1)
    second = column > take(ends - repeats, origin)
    beside = jnp.clip(origin + jnp.where(second, 1, -1), 0, width - 1)
    own, other = (take(image, at[..., None]) for at in (origin, beside))
    return jnp.where((take(repeats, origin) == 2)[..., None], (own + other) / 2, own)
