"""Distances of patches: by matrix products for many pairs, from the values for few."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.ops.patches.places import QUERIES, chunks, cut, grid
from deepinternal.types import Array

_ELSEWHERE = 2**28  # number of values that are compared at once, except on CPU
NOT_FREE = 1e30  # added to the distances to patches that must not be found


def left_of(values: Array, *, weights: Array | None = None) -> tuple[Array, Array]:
    """Returns rows of queries whose products with rows of `right_of` give squared distances.

    Args:
        values: (N, P * C), P pixels each.
        weights: (N, P), weights of the pixels; None if all are 1.

    Returns:
        (N, E), and (N,) to be added to the products.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import scores
        >>> left, constant = scores.left_of(np.float32([[1, 2]]))
        >>> left.tolist(), constant.tolist()
        ([[-2.0, -4.0, 1.0]], [5.0])
    """
    if weights is None:
        left = jnp.concatenate([-2 * values, jnp.ones_like(values[:, :1])], axis=1)
        return left, jnp.sum(jnp.square(values), axis=1)
    weighted = (values.reshape(*weights.shape, -1) * weights[..., None]).reshape(values.shape)
    parts = [-2 * weighted, weights, jnp.ones_like(weights[:, :1])]
    return jnp.concatenate(parts, axis=1), jnp.sum(values * weighted, axis=1)


def right_of(values: Array, *, pixels: int | None = None, free: Array | None = None) -> Array:
    """Returns the other side of `left_of`, for searched patches.

    Args:
        values: (M, P * C).
        pixels: P if the pixels of queries have weights.
        free: Bool (M,), patches that may be found; None for all.

    Returns:
        (M, E). Distances to patches that are not free are at least `NOT_FREE`.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import scores
        >>> scores.right_of(np.float32([[1, 2], [0, 1]])).tolist()
        [[1.0, 2.0, 5.0], [0.0, 1.0, 1.0]]
    """
    squares = jnp.square(values)
    bias = jnp.zeros_like(values[:, :1])
    if free is not None:
        bias = jnp.where(free, 0, NOT_FREE).astype(values.dtype)[:, None]
    if pixels is None:
        return jnp.concatenate([values, jnp.sum(squares, axis=1, keepdims=True) + bias], axis=1)
    squares = jnp.sum(squares.reshape(len(values), pixels, -1), axis=2)
    return jnp.concatenate([values, squares, bias], axis=1)


def products(left: Array, right: Array) -> Array:
    """Returns the products of rows of `left_of` and `right_of`, precisely.

    On GPU, each number is split into the sum of two TF32 numbers: one product of three times the length
    on tensor cores is faster than a product in float32, and as precise up to the last bits.

    Args:
        left: (N, E), from `in_parts`.
        right: (M, E), from `in_parts`.

    Returns:
        (N, M).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import scores
        >>> left, right = np.float32([[-2, -4, 1]]), np.float32([[1, 2, 5], [0, 1, 1]])
        >>> scores.products(scores.in_parts(left), scores.in_parts(right, right=True)).tolist()
        [[-5.0, -3.0]]
    """
    precision = lax.Precision.DEFAULT if _on_gpu() else lax.Precision.HIGHEST
    return jnp.matmul(left, right.T, precision=precision)


def in_parts(x: Array, *, right: bool = False) -> Array:
    """Prepares rows for `products`.

    Args:
        x: (N, E).
        right: Whether they are rows of `right_of`.

    Returns:
        (N, E), on GPU (N, 3 * E).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import scores
        >>> left, right = np.float32([[-2, -4, 1]]), np.float32([[1, 2, 5], [0, 1, 1]])
        >>> scores.products(scores.in_parts(left), scores.in_parts(right, right=True)).tolist()
        [[-5.0, -3.0]]
    """
    if not _on_gpu():
        return x
    bits = lax.bitcast_convert_type(x, jnp.uint32) & np.uint32(0xFFFFE000)  # what TF32 holds
    first = lax.bitcast_convert_type(bits, jnp.float32)
    rest = x - first
    return jnp.concatenate([first, rest, first] if right else [first, first, rest], axis=1)


def _on_gpu() -> bool:
    return jax.default_backend() == "gpu"


def least(score: Array) -> tuple[Array, Array]:
    """Returns the minima of rows and where they are.

    Args:
        score: (N, M).

    Returns:
        (N,), and int32 (N,), the first columns with the minima.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import scores
        >>> [x.tolist() for x in scores.least(np.float32([[3, 1, 2]]))]
        [[1.0], [1]]
    """
    if jax.default_backend() != "cpu":  # both in one pass over the scores

        def less(a, b):
            first = (a[0] < b[0]) | ((a[0] == b[0]) & (a[1] < b[1]))
            return tuple(jnp.where(first, x, y) for x, y in zip(a, b))

        order = lax.broadcasted_iota(jnp.int32, score.shape, 1)
        return tuple(lax.reduce((score, order), (np.inf, 2**30), less, (1,)))
    lowest = jnp.min(score, axis=1)
    # XLA does not vectorise argmin on CPU.
    order = np.arange(score.shape[1], dtype=np.int32)
    found = jnp.where(score <= lowest[:, None], order, np.int32(len(order) - 1))
    return lowest, jnp.min(found, axis=1)


def distances(
    image: Array,
    searched: Array,
    index: Array,
    *,
    patch: int,
    stride: int = 1,
    channels: Array | None = None,
    counts: Array | None = None,
    length: int | None = None,
) -> Array:
    """Returns the distances of patches to given patches of another image, from their values.

    Args:
        image: (H, W, C).
        searched: (H', W', C).
        index: int32 (h, w, count), the numbers of patches of `searched` in reading order.
        patch: Side of a patch in pixels.
        stride: Stride of the patches of `image`, see `grid`.
        channels: (C,), see `nearest`.
        counts: (H, W), see `nearest`.
        length: Number of patches of `image` that are compared at once. Default: on CPU few enough to
            stay in the cache, and elsewhere many, so that few kernels are launched.

    Returns:
        (h, w, count); 0 where all weights are 0. It is exactly 0 for equal patches.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import scores
        >>> black, white, index = np.zeros((2, 2, 1)), np.ones((2, 2, 1)), np.zeros((1, 1, 1), int)
        >>> scores.distances(black, white, index, patch=2).tolist()
        [[[1.0]]]
    """
    width, count = searched.shape[1] - patch + 1, index.shape[2]
    if length is None:
        values = patch * patch * image.shape[-1] * count
        length = QUERIES if jax.default_backend() == "cpu" else max(_ELSEWHERE // values, 1)
    places = chunks(*grid(image.shape[:2], patch, stride=stride), length)
    amount = index.shape[0] * index.shape[1]
    padded = jnp.pad(index.reshape(amount, count), ((0, places[0].size - amount), (0, 0)))
    weights = None if channels is None else jnp.asarray(channels, jnp.float32)
    pixels = None if counts is None else jnp.asarray(counts, jnp.float32)[..., None]

    def of_chunk(chunk):
        rows, columns, number = chunk
        here = cut(image, rows, columns, patch)
        found = number.reshape(-1)
        there = cut(searched, found // width, found % width, patch)
        apart = jnp.square(here[:, None] - there.reshape(*number.shape, -1))
        if pixels is None and weights is None:
            return jnp.mean(apart, axis=2)
        of_pixels = None if pixels is None else cut(pixels, rows, columns, patch)
        return _weighted_mean(apart, of_pixels, weights, (patch * patch, image.shape[-1]))

    chunked = (*places, padded.reshape(*places[0].shape, count))
    return lax.map(of_chunk, chunked).reshape(-1, count)[:amount].reshape(index.shape)


def _weighted_mean(
    values: Array, pixels: Array | None, channels: Array | None, shape: tuple[int, int]
) -> Array:
    """The means (N, M) of values (N, M, P * C), with weights (N, P) of pixels and (C,) of channels."""
    weights = jnp.ones(shape[1], jnp.float32) if channels is None else channels
    weights = jnp.broadcast_to(weights, shape)
    if pixels is not None:
        weights = pixels[..., None] * weights
    weights = weights.reshape(-1, 1, shape[0] * shape[1])
    total = jnp.sum(weights, axis=2)
    return jnp.sum(values * weights, axis=2) / jnp.where(total > 0, total, 1)
