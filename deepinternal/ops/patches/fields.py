"""Fields of approximately nearest patches, found by propagation from patch to patch.

A field is int32 (h, w, 2): for each patch of an image, the row and column of a patch of another image,
the searched one. Neighbouring patches of an image often match neighbouring patches of the other, so a
good match spreads to its surroundings. The functions consist of array operations only: they can be
compiled and batched by `jax.vmap`, and they run on every device.

Candidates for better matches have two origins. First, the patches of both images are sorted along a
random space-filling curve, and neighbours on the curve are compared by matrix products. Then each patch
tries the matches of the patches around it, near and far ones as in jump flooding, moved by their
distances from it.

References:
    Barnes, Shechtman, Finkelstein, Goldman: PatchMatch: A Randomized Correspondence Algorithm for
    Structural Image Editing. SIGGRAPH 2009.
    Rong, Tan: Jump Flooding in GPU with Applications to Voronoi Diagram and Distance Transform. I3D
    2006.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.ops.patches.candidates import (
    Rows,
    alike,
    candidate_scores,
    rows_of,
    take_better,
)
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

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import fields
        >>> place = np.zeros((4, 5, 2), np.int32)  # the field of an image of 10 x 11 pixels
        >>> fields.enlarged(place, (20, 22), (16, 16)).shape
        (14, 16, 2)
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

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import fields
        >>> place, index = np.zeros((1, 1, 2), np.int32), [np.zeros(2, int)] * 2
        >>> fields.from_coarser(place, index, [np.arange(2.0)] * 2, (1, 1), (8, 8)).tolist()
        [[[0, 0], [0, 1]], [[1, 0], [1, 1]]]
    """
    field, found = place[index[0][:, None], index[1]], []
    for axis, (n, ratio) in enumerate(zip(searched_size, ratios, strict=True)):
        shift = rest[axis][:, None] if axis == 0 else rest[axis]
        at = (field[..., axis] + patch / 2) * ratio + shift - patch / 2
        found.append(jnp.clip(jnp.round(at), 0, n - patch).astype(jnp.int32))
    return jnp.stack(found, axis=-1)


def _some(number: int | Array) -> bool:
    """Whether a loop may run at all, as far as is known while tracing; if not, it is not compiled."""
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

    Candidates are ranked by the cosine waves in which the patches vary most. The best one replaces a
    match if it is better by the values of the patches.

    Args:
        image: (H, W, C), whose patches are the queries.
        searched: (H', W', C).
        place: int32 (h, w, 2), h = H - patch + 1 and w = W - patch + 1: where to start. Places outside
            of `searched` are moved to its border.
        key: PRNG key of the orders.
        patch: Side of a patch in pixels.
        sweeps: Number of times that the matches around a patch are tried; may be traced.
        orders: Number of random orders of the patches, 0 for a good field; may be traced.
        channels: (C,), see `nearest`.
        counts: (H, W), see `nearest`.
        allowed: Bool (H', W'), see `nearest`.
        factor: (h', w'), see `nearest`.
        size: Number of cosine waves by which candidates are compared.

    Returns:
        Matches (h, w). No patch has a larger score than at the start, unless its start is not allowed.

    Raises:
        ValueError: A side is shorter than a patch, or the numbers of channels differ.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import fields
        >>> image, start = np.ones((10, 11, 3), np.float32), np.zeros((4, 5, 2), np.int32)
        >>> search = lambda key: fields.propagated(image, image, start, key=key)
        >>> jax.eval_shape(search, jax.random.key(0)).place.shape
        (4, 5, 2)
    """
    check(image, searched)
    shape, others = (tuple(map(len, grid(x.shape[:2], patch))) for x in (image, searched))
    options = {"patch": patch, "channels": channels, "counts": counts}
    rows = rows_of(image, searched, size=size, allowed=allowed, factor=factor, **options)
    start = _numbers(place, others)
    start = start if rows.snap is None else rows.snap[start]
    best = (candidate_scores(start, rows), start)
    draw = lambda i, best: take_better(best, alike(key, i, rows), rows)
    best = lax.fori_loop(0, orders, draw, best) if _some(orders) else best
    best = _swept(best, rows, sweeps, shape, others) if _some(sweeps) else best
    index = jnp.stack([start, best[1]], axis=-1).reshape(*shape, 2)
    return _better(distances(image, searched, index, **options), index, rows.factor, others[1])


def _numbers(place: Array, others: tuple[int, int]) -> Array:
    """The numbers (N,), in reading order, of the patches at places (..., 2), moved inside `others`."""
    y, x = (jnp.clip(place[..., i], 0, n - 1) for i, n in enumerate(others))
    return (y * others[1] + x).reshape(-1)


def _swept(
    best: tuple[Array, Array],
    rows: Rows,
    sweeps: int | Array,
    shape: tuple[int, int],
    others: tuple[int, int],
) -> tuple[Array, Array]:
    """Improves scores (N,) and keys (N,) by the matches of the patches around each patch.

    The queries lie on a grid of `shape`, the keys on one of `others`.
    """
    width = others[1]
    around = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
    moves = np.asarray([(y * j, x * j) for j in _JUMPS for y, x in around], np.int32)
    # One neighbour after the other on CPU, and elsewhere, for few kernels, all of them at once.
    groups = moves.reshape(-1, 1 if jax.default_backend() == "cpu" else len(around), 2)

    def move(i, best):
        index, shifts = best[1].reshape(shape), jnp.asarray(groups)[i % len(groups)]
        here = jnp.stack([index // width, index % width], axis=-1)
        moved = lambda shift: _numbers(jnp.roll(here, shift, axis=(0, 1)) + shift, others)
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

    return lax.fori_loop(0, sweeps * len(groups), move, best)


def _better(distance: Array, index: Array, factor: Array | None, width: int) -> Matches:
    """The better one of two matches (h, w, 2), the first one in case of doubt."""
    score = lax.stop_gradient(distance)
    if factor is not None:
        score *= factor[index]
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

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import fields
        >>> image = np.ones((10, 11, 3), np.float32)
        >>> search = lambda key: fields.approximate(image, image, key=key)
        >>> jax.eval_shape(search, jax.random.key(0)).distance.shape
        (4, 5)
    """
    shape, others = ([n - patch + 1 for n in x.shape[:2]] for x in (image, searched))
    along = [np.arange(n) * m // n for n, m in zip(shape, others)]
    start = jnp.asarray(np.stack(np.meshgrid(*along, indexing="ij"), axis=-1), jnp.int32)
    return propagated(image, searched, start, key=key, patch=patch, orders=orders, **options)
