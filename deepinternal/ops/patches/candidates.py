"""Candidates for the matches of patches: random orders that propose them, descriptors that rank them.

A random space-filling curve through the descriptors of the patches of both images brings similar
patches together, which are then compared by matrix products.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.ops.patches import descriptors
from deepinternal.ops.patches.places import usable
from deepinternal.ops.patches.scores import least, left_of, right_of
from deepinternal.types import Array

_CODED, _BITS = 8, 4  # dimensions of the space-filling curve, and bits of each
_TOGETHER = 64  # number of neighbours on the curve that are compared at once
_WINDOW = 512  # with this number of searched patches
_PARALLEL = 1024  # number of chunks at once, except on CPU, where one chunk stays in the cache


class Rows(NamedTuple):
    """Short descriptors of all patches, in reading order, and the other data for their scores.

    Attributes:
        queries: (N, D), of the image.
        keys: (N', D), of the searched image.
        weights: (N, P), weights of the P pixels in the descriptors of the queries; None: all are 1.
        query_codes: (N, K), coordinates of the queries for the space-filling curve.
        key_codes: (N', K), coordinates of the keys.
        factor: (N',), factors of the distances to the keys; None if all are 1.
        free: Bool (N',), the keys that are allowed; None if all are.
        snap: int32 (N',), for each key one that is allowed; None if all are.
    """

    queries: Array
    keys: Array
    weights: Array | None
    query_codes: Array
    key_codes: Array
    factor: Array | None
    free: Array | None
    snap: Array | None


def rows_of(
    image: Array,
    searched: Array,
    *,
    patch: int,
    size: int,
    channels: Array | None,
    counts: Array | None,
    allowed: Array | None,
    factor: Array | None,
) -> Rows:
    """Describes all patches of two images.

    Args:
        image: (H, W, C), whose patches are the queries.
        searched: (H', W', C), whose patches are the keys.
        patch: Side of a patch in pixels.
        size: Number of cosine waves in a descriptor, if pixels have no weights.
        channels: (C,), see `nearest`.
        counts: (H, W), see `nearest`. With it, descriptors consist of some of the pixels.
        allowed: Bool (H', W'), see `nearest`.
        factor: (h', w'), see `nearest`.

    Returns:
        The rows, through which no gradients flow.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import candidates
        >>> options = {"patch": 7, "size": 40, "channels": None, "counts": None}
        >>> describe = lambda x: candidates.rows_of(x, x, allowed=None, factor=None, **options)
        >>> jax.eval_shape(describe, np.ones((8, 9, 3), np.float32)).queries.shape
        (6, 40)
    """
    root = 1 if channels is None else jnp.sqrt(jnp.asarray(channels, jnp.float32))
    offset = jnp.mean(searched, axis=(0, 1))
    a, b = (lax.stop_gradient((x - offset) * root) for x in (image, searched))
    depth = patch * patch * b.shape[-1]
    basis, weights = descriptors.waves(b, patch=patch, size=min(size, depth)), None
    if counts is not None:  # waves mix the pixels, so take some of the pixels themselves
        some = descriptors.some_pixels(patch, 1)
        pixels = jnp.asarray(counts, jnp.float32)[..., None]
        weights = descriptors.projected(pixels, some, patch=patch)
        some = descriptors.some_pixels(patch, b.shape[-1])
        basis = jnp.concatenate([basis[:, :_CODED], some], axis=1)
    queries, keys = (descriptors.projected(x, basis, patch=patch) for x in (a, b))
    first = 0 if counts is None else min(_CODED, depth)
    free = None if allowed is None else usable(allowed, patch).reshape(-1)
    return Rows(
        queries[:, first:],
        keys[:, first:],
        weights,
        queries[:, :_CODED],
        keys[:, :_CODED],
        None if factor is None else lax.stop_gradient(factor).reshape(-1),
        free,
        None if free is None else _allowed_instead(free),
    )


def _allowed_instead(free: Array) -> Array:
    """For each patch in reading order, the number of the last allowed one up to it, or the first."""
    last = lax.cummax(jnp.where(free, jnp.arange(free.size, dtype=jnp.int32), -1))
    return jnp.where(last < 0, jnp.argmax(free), last).astype(jnp.int32)


def candidate_scores(index: Array, rows: Rows) -> Array:
    """Returns the score of one candidate for each query.

    Args:
        index: int32 (N,), the numbers of the candidates among the keys.
        rows: The descriptors of N queries and of the keys.

    Returns:
        (N,).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import candidates
        >>> queries, keys = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
        >>> rows = candidates.Rows(queries, keys, None, queries, keys, None, None, None)
        >>> candidates.candidate_scores(np.array([0, 1]), rows).tolist()
        [3.0, 3.0]
    """
    squares = jnp.square(rows.queries - rows.keys[index])
    if rows.weights is not None:
        squares = squares.reshape(*rows.weights.shape, -1) * rows.weights[..., None]
        squares = squares.reshape(len(squares), -1)
    score = jnp.sum(squares, axis=1)
    return score if rows.factor is None else score * rows.factor[index]


def take_better(best: tuple[Array, Array], index: Array, rows: Rows) -> tuple[Array, Array]:
    """Replaces the best keys so far where candidates are better.

    Args:
        best: The scores (N,) and the keys, int32 (N,), so far.
        index: int32 (N,), the candidates.
        rows: The descriptors of N queries and of the keys.

    Returns:
        The scores and the keys, (N,) each.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import candidates
        >>> queries, keys = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
        >>> rows = candidates.Rows(queries, keys, None, queries, keys, None, None, None)
        >>> best = np.float32([1, 9]), np.array([0, 0])
        >>> [x.tolist() for x in candidates.take_better(best, np.array([1, 1]), rows)]
        [[1.0, 3.0], [0, 1]]
    """
    index = index if rows.snap is None else rows.snap[index]
    score = candidate_scores(index, rows)
    better = score < best[0]
    return jnp.where(better, score, best[0]), jnp.where(better, index, best[1])


def _codes(rows: Array, turn: Array, scale: Array) -> Array:
    """Numbers, uint32 (N,), whose order keeps similar rows together: the Morton order of the rows."""
    values = jnp.matmul(rows, turn, precision=lax.Precision.HIGHEST) / scale
    digits = jnp.int32(jnp.clip((1 + jnp.tanh(values)) * 2 ** (_BITS - 1), 0, 2**_BITS - 1))
    shifts = np.arange(_BITS)[::-1, None]
    bits = (digits[:, None] >> shifts) & 1  # (N, _BITS, _CODED)
    powers = np.uint32(2) ** np.arange(_BITS * _CODED, dtype=np.uint32)[::-1]
    return jnp.sum(bits.astype(jnp.uint32) * powers.reshape(_BITS, _CODED), axis=(1, 2))


def _directions(key: Array, number: Array) -> Array:
    """Random directions (_CODED, _CODED) in [-1, 1], by a hash, which compiles faster than a draw."""
    words = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    bits = (jnp.arange(_CODED**2) + _CODED**2 * number).astype(jnp.uint32) * np.uint32(0x9E3779B9)
    for word in words.reshape(-1):
        bits = (bits ^ word) * np.uint32(0x85EBCA6B)
        bits = (bits ^ (bits >> 15)) * np.uint32(0xC2B2AE35)
        bits ^= bits >> 13
    return (bits >> 8).astype(jnp.float32).reshape(_CODED, _CODED) * 2.0**-23 - 1


def _rank(values: Array, ordered: Array) -> Array:
    """How many of the ordered numbers are less than each value, by a search that divides by 16."""
    depth = -(-len(ordered).bit_length() // 4)
    lengths = jnp.asarray(16 ** np.arange(depth)[::-1], jnp.int32)

    def step(i, rank):
        further = rank[:, None] + np.arange(1, 16, dtype=np.int32) * lengths[i]
        less = ordered[jnp.minimum(further, len(ordered)) - 1] < values[:, None]
        steps = jnp.sum(less & (further <= len(ordered)), axis=1, dtype=jnp.int32)
        return rank + steps * lengths[i]

    return lax.fori_loop(0, depth, step, jnp.zeros(values.shape, jnp.int32))


def alike(key: Array, number: Array, rows: Rows) -> Array:
    """Finds a key for each query: the best of many that are near to it in a random order.

    Args:
        key: PRNG key.
        number: The number of the order.
        rows: The descriptors of N queries and of the keys.

    Returns:
        int32 (N,).

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import candidates
        >>> queries, keys = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
        >>> rows = candidates.Rows(queries, keys, None, queries, keys, None, None, None)
        >>> jax.eval_shape(candidates.alike, jax.random.key(0), 0, rows).shape
        (2,)
    """
    turn = _directions(key, number)[: rows.key_codes.shape[1]]
    values = jnp.matmul(rows.key_codes, turn, precision=lax.Precision.HIGHEST)
    scale = jnp.maximum(jnp.std(values, axis=0), 1e-12)
    numbers = (_codes(x, turn, scale) for x in (rows.query_codes, rows.key_codes))
    (of_queries, order), (of_keys, sorted_keys) = (
        lax.sort((x, jnp.arange(len(x), dtype=jnp.int32)), num_keys=1) for x in numbers
    )
    window, amount = min(_WINDOW, len(of_keys)), len(of_queries)
    count = -(-amount // _TOGETHER)
    batch = 1 if jax.default_backend() == "cpu" else min(count, _PARALLEL)
    count = -(-count // batch) * batch
    order = jnp.pad(order, (0, count * _TOGETHER - amount), mode="edge").reshape(count, _TOGETHER)
    middle = of_queries[np.minimum((np.arange(count) + 0.5) * _TOGETHER, amount - 1).astype(int)]
    start = jnp.clip(_rank(middle, of_keys) - window // 2, 0, len(of_keys) - window)
    pixels = None if rows.weights is None else rows.weights.shape[1]
    right, factor = right_of(rows.keys, pixels=pixels, free=rows.free)[sorted_keys], rows.factor
    if factor is not None:
        factor = (factor if rows.free is None else jnp.where(rows.free, factor, 1))[sorted_keys]

    def nearest_of(chunk):
        index, first = chunk
        weights = None if rows.weights is None else rows.weights[index]
        left, constant = left_of(rows.queries[index], weights=weights)
        part = lax.dynamic_slice_in_dim(right, first, window)
        score = jnp.matmul(left, part.T, precision=lax.Precision.DEFAULT)  # a guess
        if factor is not None:
            score = (score + constant[:, None]) * lax.dynamic_slice_in_dim(factor, first, window)
        return least(score)[1] + first

    batched = (x.reshape(-1, batch, *x.shape[1:]) for x in (order, start))
    found = lax.map(jax.vmap(nearest_of), tuple(batched)).reshape(-1)
    return jnp.zeros(amount, jnp.int32).at[order.reshape(-1)].set(sorted_keys[found])
