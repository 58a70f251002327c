"""Fields of approximately nearest patches, found by propagation from patch to patch.

A field is int32 (h, w, 2): for each patch of an image, the row and column of a patch of another image,
the searched one. Neighbouring patches of an image often match neighbouring patches of the other, so a
good match spreads to its surroundings. The functions consist of array operations only: they can be
compiled, batched by `jax.vmap`, and they run on every device.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.ops.patches import descriptors
from deepinternal.ops.patches.places import grid, usable
from deepinternal.ops.patches.scores import distances, least, left_of, right_of
from deepinternal.ops.patches.search import Matches, check
from deepinternal.types import Array

_JUMPS = (4, 2, 1)  # distances in pixels of the patches whose matches are tried
_CODED, _BITS = 8, 4  # dimensions of the space-filling curve, and bits of each
_TOGETHER = 64  # number of neighbours on the curve that are compared at once
_WINDOW = 512  # with this number of searched patches
_PARALLEL = 1024  # number of chunks at once, but on CPU, where one chunk stays in the cache


def enlarged(
    place: Array,
    size: tuple[int, int],
    searched_size: tuple[int, int],
    *,
    patch: int = 7,
    coarse_searched_size: tuple[int, int] | None = None,
) -> Array:
    """Brings the field of a coarser level of a pyramid to a finer one.

    Each patch takes the match of the coarse patch whose centre is nearest, and keeps its distance from
    that centre.

    Args:
        place: int32 (h, w, 2), the field of an image of (h + patch - 1, w + patch - 1) pixels.
        size: (H, W) of the finer image in pixels.
        searched_size: (H', W') of the finer searched image in pixels.
        patch: Side of a patch in pixels, at both levels.
        coarse_searched_size: Size in pixels of the searched image of the coarser level. Default: it is
            as much smaller as the image.

    Returns:
        int32 (H - patch + 1, W - patch + 1, 2).
    """
    found = []
    coarse = [n + patch - 1 for n in place.shape[:2]]
    indices = []
    for n, before in zip(size, coarse):
        centre = np.arange(n - patch + 1) + patch / 2
        index = np.clip(np.round(centre * before / n - patch / 2), 0, before - patch)
        indices.append((index.astype(np.int32), centre - (index + patch / 2) * n / before))
    field = place[indices[0][0][:, None], indices[1][0][None]]
    for axis, n in enumerate(searched_size):
        ratio = size[axis] / coarse[axis]
        if coarse_searched_size is not None:
            ratio = n / coarse_searched_size[axis]
        rest = indices[axis][1].astype(np.float32)
        rest = rest[:, None] if axis == 0 else rest[None]
        at = (field[..., axis] + patch / 2) * ratio + rest - patch / 2
        found.append(jnp.clip(jnp.round(at), 0, n - patch).astype(jnp.int32))
    return jnp.stack(found, axis=-1)


class _Rows(NamedTuple):
    """Short descriptors of all patches, in reading order, and what else decides their scores."""

    queries: Array  # (N, D)
    keys: Array  # (N', D)
    weights: Array | None  # (N, pixels): weights of the pixels in the descriptors of queries
    query_codes: Array  # (N, _CODED): coordinates by which similar patches are brought together
    key_codes: Array  # (N', _CODED)
    factor: Array | None  # (N',)
    free: Array | None  # bool (N',): patches that are allowed
    snap: Array | None  # int32 (N',): for each patch one that is allowed


def _rows(
    image: Array,
    searched: Array,
    *,
    patch: int,
    size: int,
    channels: Array | None,
    counts: Array | None,
    allowed: Array | None,
    factor: Array | None,
) -> _Rows:
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
    return _Rows(
        queries[:, first:],
        keys[:, first:],
        weights,
        queries[:, :_CODED],
        keys[:, :_CODED],
        None if factor is None else lax.stop_gradient(factor).reshape(-1),
        free,
        None if free is None else _snap(free),
    )


def _snap(free: Array) -> Array:
    """For each patch in reading order the number of the last one that is allowed, or of the first."""
    last = lax.cummax(jnp.where(free, jnp.arange(free.size, dtype=jnp.int32), -1))
    return jnp.where(last < 0, jnp.argmax(free), last).astype(jnp.int32)


def _score(index: Array, rows: _Rows) -> Array:
    """The score of a candidate for each query, (N,)."""
    squares = jnp.square(rows.queries - rows.keys[index])
    if rows.weights is not None:
        squares = squares.reshape(*rows.weights.shape, -1) * rows.weights[..., None]
        squares = squares.reshape(len(squares), -1)
    score = jnp.sum(squares, axis=1)
    return score if rows.factor is None else score * rows.factor[index]


def _considered(best: tuple[Array, Array], index: Array, rows: _Rows) -> tuple[Array, Array]:
    """Takes the candidates that are better than the best ones so far."""
    index = index if rows.snap is None else rows.snap[index]
    score = _score(index, rows)
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


def _alike(key: Array, number: Array, rows: _Rows) -> Array:
    """Finds for each query a key by comparing it with many that are near to it in a random order."""
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


def _some(number: int | Array) -> bool:
    """Whether there may be any; loops that are never run need not be compiled."""
    return isinstance(number, jax.Array) or number > 0


def propagated(
    image: Array,
    searched: Array,
    place: Array,
    *,
    key: Array,
    patch: int = 7,
    sweeps: int | Array = 1,
    orders: int | Array = 1,
    channels: Array | None = None,
    counts: Array | None = None,
    allowed: Array | None = None,
    factor: Array | None = None,
    size: int = 40,
) -> Matches:
    """Improves a field of matches, approximately, in a time that is linear in the number of patches.

    Candidates for a patch are first the best of many patches that are similar: all patches are sorted
    along a random space-filling curve, and parts of the curve are compared by matrix products. Then
    they are the matches of patches around it, moved by the distance; near and far ones, as in jump
    flooding. Candidates are compared by the cosine waves in which the patches vary most, and what is
    found by the patches themselves.

    Args:
        image: (H, W, C), whose patches are the queries.
        searched: (H', W', C).
        place: int32 (h, w, 2), h = H - patch + 1 and w = W - patch + 1: where to start. Places outside
            of `searched` are moved to its border.
        key: PRNG key of the orders.
        patch: Side of a patch in pixels.
        sweeps: Number of times that the matches around a patch are tried; may be traced.
        orders: Number of random orders of the patches; 0 for a field that is good already. It may be
            traced, so that one program can search more or less thoroughly.
        channels: (C,), see `nearest`.
        counts: (H, W), see `nearest`.
        allowed: Bool (H', W'), see `nearest`.
        factor: (h', w'), see `nearest`.
        size: Number of cosine waves by which candidates are compared.

    Returns:
        Matches (h, w). No patch has a larger score than at the start, unless its start is not allowed.

    Raises:
        ValueError: A side is shorter than a patch, or the numbers of channels differ.

    References:
        Barnes, Shechtman, Finkelstein, Goldman: PatchMatch: A Randomized Correspondence Algorithm for
        Structural Image Editing. SIGGRAPH 2009.
        Rong, Tan: Jump Flooding in GPU with Applications to Voronoi Diagram and Distance Transform. I3D
        2006.
    """
    check(image, searched)
    shape = tuple(map(len, grid(image.shape[:2], patch)))
    height, width = map(len, grid(searched.shape[:2], patch))
    options = {"patch": patch, "channels": channels, "counts": counts}
    rows = _rows(image, searched, size=size, allowed=allowed, factor=factor, **options)

    def flat(place):
        y, x = (jnp.clip(place[..., i], 0, n - 1) for i, n in enumerate((height, width)))
        return (y * width + x).reshape(-1)

    start = flat(place)
    start = start if rows.snap is None else rows.snap[start]
    around = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
    moves = np.asarray([(y * j, x * j) for j in _JUMPS for y, x in around], np.int32)
    # One neighbour after the other on CPU, and elsewhere, for few kernels, all of them at once.
    groups = moves.reshape(-1, 1 if jax.default_backend() == "cpu" else len(around), 2)

    def move(i, best):
        index, shifts = best[1].reshape(shape), jnp.asarray(groups)[i % len(groups)]
        here = jnp.stack([index // width, index % width], axis=-1)
        moved = lambda shift: flat(jnp.roll(here, shift, axis=(0, 1)) + shift)
        if len(shifts) == 1:
            return _considered(best, moved(shifts[0]), rows)
        candidates = jax.vmap(moved)(shifts)
        if rows.snap is not None:
            candidates = rows.snap[candidates]
        scores = jax.vmap(_score, (0, None))(candidates, rows)
        first = jnp.argmin(scores, axis=0)[None]
        lowest, found = (jnp.take_along_axis(x, first, axis=0)[0] for x in (scores, candidates))
        better = lowest < best[0]
        return jnp.where(better, lowest, best[0]), jnp.where(better, found, best[1])

    best = (_score(start, rows), start)
    draw = lambda i, best: _considered(best, _alike(key, i, rows), rows)
    best = lax.fori_loop(0, orders, draw, best) if _some(orders) else best
    best = lax.fori_loop(0, sweeps * len(groups), move, best) if _some(sweeps) else best
    index = jnp.stack([start, best[1]], axis=-1).reshape(*shape, 2)
    distance = distances(image, searched, index, **options)
    score = lax.stop_gradient(distance)
    if factor is not None:
        score *= rows.factor[index]
    better = score[..., 1] < score[..., 0]
    index = jnp.where(better, index[..., 1], index[..., 0])
    distance = jnp.where(better, distance[..., 1], distance[..., 0])
    return Matches(distance, jnp.stack([index // width, index % width], axis=-1))


def approximate(
    image: Array,
    searched: Array,
    *,
    key: Array,
    patch: int = 7,
    sweeps: int | Array = 1,
    orders: int | Array = 2,
    channels: Array | None = None,
    counts: Array | None = None,
    allowed: Array | None = None,
    factor: Array | None = None,
    size: int = 40,
) -> Matches:
    """Finds approximately nearest patches from nothing.

    Args:
        image: (H, W, C), whose patches are the queries.
        searched: (H', W', C).
        key: PRNG key.
        patch: Side of a patch in pixels.
        sweeps: See `propagated`.
        orders: See `propagated`; at least 1.
        channels: (C,), see `nearest`.
        counts: (H, W), see `nearest`.
        allowed: Bool (H', W'), see `nearest`.
        factor: (h', w'), see `nearest`.
        size: See `propagated`.

    Returns:
        Matches (h, w).

    Raises:
        ValueError: A side is shorter than a patch, or the numbers of channels differ.

    References:
        See `propagated`.
    """
    shape, others = ([n - patch + 1 for n in x.shape[:2]] for x in (image, searched))
    along = [np.arange(n) * m // n for n, m in zip(shape, others)]
    start = jnp.asarray(np.stack(np.meshgrid(*along, indexing="ij"), axis=-1), jnp.int32)
    options = {"channels": channels, "counts": counts, "allowed": allowed, "factor": factor}
    search = {"key": key, "patch": patch, "sweeps": sweeps, "orders": orders, "size": size}
    return propagated(image, searched, start, **search, **options)
