"""Fields of approximately nearest patches, found by propagation from patch to patch.

A field is int32 (h, w, 2): for each patch of an image, the row and column of a patch of another image,
the searched one. Neighbouring patches of an image often match neighbouring patches of the other, so a
good match spreads to its surroundings. The functions consist of array operations only: they can be
compiled and batched by `jax.vmap`, and they run on every device.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.ops.patches.candidates import alike, candidate_scores, rows_of, take_better
from deepinternal.ops.patches.places import grid
from deepinternal.ops.patches.scores import distances
from deepinternal.ops.patches.search import Matches, check
from deepinternal.types import Array

_JUMPS = (4, 2, 1)  # distances in pixels of the patches whose matches are tried


def enlarged(
    place: Array,
    size: tuple[int, int],
    searched_size: tuple[int, int],
    *,
    patch: int = 7,
    coarse_searched_size: tuple[int, int] | None = None,
) -> Array:
    """Brings the field of a coarser level of a pyramid to a finer one.

    Each patch takes the match of the coarse patch whose centre is nearest, moved by its distance from
    that centre.

    Args:
        place: int32 (h, w, 2), the field of an image of (h + patch - 1, w + patch - 1) pixels.
        size: (H, W) of the finer image in pixels.
        searched_size: (H', W') of the finer searched image in pixels.
        patch: Side of a patch in pixels, at both levels.
        coarse_searched_size: Size in pixels of the searched image of the coarser level. Default: it
            was reduced by the same factors as the image.

    Returns:
        int32 (H - patch + 1, W - patch + 1, 2).
    """
    coarse = [n + patch - 1 for n in place.shape[:2]]
    index, rest = [], []
    for n, before in zip(size, coarse):
        centre = np.arange(n - patch + 1) + patch / 2
        nearest = np.clip(np.round(centre * before / n - patch / 2), 0, before - patch)
        index.append(nearest.astype(np.int32))
        rest.append((centre - (nearest + patch / 2) * n / before).astype(np.float32))
    ratios = [n / before for n, before in zip(size, coarse)]
    if coarse_searched_size is not None:
        ratios = [n / before for n, before in zip(searched_size, coarse_searched_size)]
    return from_coarser(place, index, rest, ratios, searched_size, patch=patch)


def from_coarser(
    place: Array,
    index: Sequence[Array],
    rest: Sequence[Array],
    ratios: Sequence[float],
    searched_size: Sequence[int],
    *,
    patch: int = 7,
) -> Array:
    """Brings a field to a finer level, with given correspondences of the patches.

    Args:
        place: int32 (h', w', 2), the field of the coarser level.
        index: Rows (h,) and columns (w,) of the coarse patches whose matches the patches take.
        rest: (h,) and (w,), the distance in pixels, along each axis, of a patch's centre from that of
            the coarse patch.
        ratios: The ratios, along each axis, of the sizes of the searched images of both levels.
        searched_size: (H, W) of the finer searched image in pixels.
        patch: Side of a patch in pixels, at both levels.

    Returns:
        int32 (h, w, 2).
    """
    field, found = place[index[0][:, None], index[1]], []
    for axis, (n, ratio) in enumerate(zip(searched_size, ratios, strict=True)):
        shift = rest[axis][:, None] if axis == 0 else rest[axis]
        at = (field[..., axis] + patch / 2) * ratio + shift - patch / 2
        found.append(jnp.clip(jnp.round(at), 0, n - patch).astype(jnp.int32))
    return jnp.stack(found, axis=-1)


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
    """Improves a field of matches approximately, in time linear in the number of patches.

    Candidates have two origins. First, the patches of both images are sorted along a random
    space-filling curve, and neighbours on the curve are compared by matrix products. Then each patch
    tries the matches of the patches around it, near and far ones as in jump flooding, moved by their
    distances from it. Candidates are ranked by the cosine waves in which the patches vary most. The
    best one replaces the start if it is better by the values of the patches.

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
    rows = rows_of(image, searched, size=size, allowed=allowed, factor=factor, **options)

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
            return take_better(best, moved(shifts[0]), rows)
        candidates = jax.vmap(moved)(shifts)
        if rows.snap is not None:
            candidates = rows.snap[candidates]
        scores = jax.vmap(candidate_scores, (0, None))(candidates, rows)
        first = jnp.argmin(scores, axis=0)[None]
        lowest, found = (jnp.take_along_axis(x, first, axis=0)[0] for x in (scores, candidates))
        better = lowest < best[0]
        return jnp.where(better, lowest, best[0]), jnp.where(better, found, best[1])

    best = (candidate_scores(start, rows), start)
    draw = lambda i, best: take_better(best, alike(key, i, rows), rows)
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
    orders: int | Array = 2,
    **options: Any,
) -> Matches:
    """Finds approximately nearest patches, without a field to start from.

    Args:
        image: (H, W, C), whose patches are the queries.
        searched: (H', W', C).
        key: PRNG key.
        patch: Side of a patch in pixels.
        orders: See `propagated`; at least 1.
        **options: Further options of `propagated`.

    Returns:
        Matches (h, w).

    Raises:
        ValueError: A side is shorter than a patch, or the numbers of channels differ.
    """
    shape, others = ([n - patch + 1 for n in x.shape[:2]] for x in (image, searched))
    along = [np.arange(n) * m // n for n, m in zip(shape, others)]
    start = jnp.asarray(np.stack(np.meshgrid(*along, indexing="ij"), axis=-1), jnp.int32)
    return propagated(image, searched, start, key=key, patch=patch, orders=orders, **options)
