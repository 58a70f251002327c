"""Images made sharp by the patches of a source, from coarse to fine, starting from a rough picture.

The sizes of the results may be traced: a result then lies in the upper left of a canvas, and one
program makes results of many sizes. Fields of matches can be handed from one result to the next, so
that the frames of a video do not flicker.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.ops.patches.fields import from_coarser, propagated
from deepinternal.ops.patches.places import covered
from deepinternal.ops.patches.scores import distances
from deepinternal.ops.patches.search import Matches, nearest, normalized_factor
from deepinternal.ops.patches.voting import vote
from deepinternal.types import Array

_EXACT = 2**27  # greatest number of pairs of patches up to which a scale is searched exactly
_ALPHA = 0.005  # of the normalised score
_CLOSE = 0.002  # distance of patches up to which matches have nearly the same weight in a vote
_PATIENCE = 1.2  # greatest ratio to the best score at which a match of the previous result is kept


class Scale(NamedTuple):
    """One of the scales at which patches are matched.

    Attributes:
        source: (h', w', C), the source at this scale.
        canvas: (H, W) of the array that holds the result.
        size: (h, w) of the result in its upper left, possibly traced.
        inside: Bool (H, W), the pixels of the result that count; None: all of `size`.
    """

    source: Array
    canvas: tuple[int, int]
    size: Sequence[Array | int]
    inside: Array | None = None


class Before(NamedTuple):
    """The result that precedes another one, such as the previous frame of a video.

    Attributes:
        places: Its fields of matches, one for each scale, as `sharpened` returns them.
        sizes: (S, 2), its size at each scale.
        matrix: 3x3, from coordinates (x, y) in [-1, 1] of the new result to those of the previous one.
        used: Whether there is a previous result; if not, the other values have no meaning.
    """

    places: tuple[Array, ...]
    sizes: Array
    matrix: Array
    used: Array


def scale_factors(count: int, coarsest: float) -> tuple[float, ...]:
    """Returns the factors of the scales relative to the full size, from `coarsest` to 1.

    Args:
        count: Least number of scales, at least 1. There are more if the ratio of two successive factors
            would exceed 2.
        coarsest: The first factor, in (0, 1]; 1: a single scale.

    Returns:
        Increasing factors, with a constant ratio.

    Example:
        >>> from deepinternal.ops.patches import synthesis
        >>> synthesis.scale_factors(3, 0.25)
        (0.25, 0.5, 1.0)
    """
    if coarsest >= 1:
        return (1.0,)
    count = max(count, math.ceil(math.log2(1 / coarsest) - 1e-6) + 1, 2)
    return tuple(coarsest ** (1 - i / (count - 1)) for i in range(count))


def sharpened(
    guess: Array,
    scales: Sequence[Scale],
    *,
    patch: int = 7,
    iterations: Sequence[int] = (20, 10, 4, 2),
    before: Before | None = None,
) -> tuple[Array, tuple[Array, ...]]:
    """Recreates a rough picture from the patches of a source.

    At each scale, every patch is replaced by the nearest patch of the source, overlapping patches are
    averaged, with more weight for close matches, and this is repeated. Coarse scales are searched
    exactly, with a normalised score, which favours results that use all of the source. At finer scales,
    the field of the coarser scale is refined.

    Args:
        guess: (H, W, C), the picture, on the canvas of the coarsest scale.
        scales: From coarse to fine.
        patch: Side of a patch in pixels.
        iterations: Numbers of iterations at the scales; the last one holds for all further scales.
        before: The result that precedes this one. Its matches are kept where they are nearly as good as
            the best ones, and only a third of the iterations are run.

    Returns:
        The result (H', W', C) on the canvas of the finest scale, and the fields, one for each scale.

    Raises:
        ValueError: A side is shorter than a patch.

    References:
        Granot, Feinstein, Shocher, Bagon, Irani: Drop the GAN: In Defense of Patches Nearest Neighbors
        as Single Image Generative Models. CVPR 2022.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import synthesis
        >>> source, guess = np.ones((9, 9, 3), np.float32), np.ones((9, 12, 3), np.float32)
        >>> scale = synthesis.Scale(source, (9, 12), (9, 12))
        >>> image, places = jax.eval_shape(lambda guess: synthesis.sharpened(guess, [scale]), guess)
        >>> image.shape, [x.shape for x in places]
        ((9, 12, 3), [(3, 6, 2)])
    """
    places: list[Array] = []
    kept = None  # where the coarser field is that of the previous result
    for number, scale in enumerate(scales):
        weights = _weights(scale, patch)
        place = jnp.zeros((*(n - patch + 1 for n in scale.canvas), 2), jnp.int32)
        if number:
            place, index = _refined(places[-1], scales[number - 1], scale, patch)
        if before is not None:
            old = _carried(before, number, scale, patch)
            use = before.used if kept is None else before.used & kept[index[0][:, None], index[1]]
            place = jnp.where(use[..., None], old, place)
        if number:
            guess = vote(place, jnp.asarray(scale.source), patch=patch, weights=weights)
        count = iterations[min(number, len(iterations) - 1)]
        place, guess = _iterated(place, guess, scale, weights, patch, count, before)
        if before is not None:
            kept = jnp.all(place == old, axis=-1)
        places.append(place)
    return guess, tuple(places)


def _refined(place: Array, coarse: Scale, fine: Scale, patch: int) -> tuple[Array, list[Array]]:
    """Brings a field to a finer scale; also returns the rows and columns of the coarse patches."""
    index, rest = _coarse(coarse, fine, patch)
    now, before = (x.source.shape[:2] for x in (fine, coarse))
    ratios = [a / b for a, b in zip(now, before)]
    return from_coarser(place, index, rest, ratios, now, patch=patch), index


def _iterated(
    place: Array,
    guess: Array,
    scale: Scale,
    weights: Array,
    patch: int,
    count: int,
    before: Before | None,
) -> tuple[Array, Array]:
    """Matches and votes `count` times at one scale, or less often after another result."""
    patience = None
    if before is not None:
        patience = jnp.where(before.used, _PATIENCE, 1.0)
        count = jnp.where(before.used, max(count // 3, 1), count)
    source = jnp.asarray(scale.source)

    def iteration(_, state):
        place, guess = state
        found = _matched(guess, scale=scale, place=place, patch=patch, patience=patience)
        by_distance = weights / (_CLOSE + found.distance)
        return found.place, vote(found.place, source, patch=patch, weights=by_distance)

    return lax.fori_loop(0, count, iteration, (place, guess))


def _whole(scale: Scale) -> bool:
    """Whether the result fills the canvas and all of it counts, as far as is known while tracing."""
    known = all(isinstance(n, int) for n in scale.size)
    return scale.inside is None and known and tuple(scale.size) == tuple(scale.canvas)


def _weights(scale: Scale, patch: int) -> Array:
    """The weights (h, w) of the patches of the canvas: 0 for those that leave the result."""
    shape, size = ([n - patch + 1 for n in x] for x in (scale.canvas, scale.size))
    weights = covered(shape, size).astype(jnp.float32)
    if scale.inside is None:
        return weights
    window = (patch, patch)
    counted = lax.reduce_window(
        scale.inside.astype(jnp.float32), 0.0, lax.add, window, (1, 1), "VALID"
    )
    return weights * counted / patch**2


def _seen(scale: Scale) -> Array | None:
    """Bool (H, W), the pixels of the canvas that belong to the result and count; None: all."""
    if _whole(scale):
        return None
    seen = covered(scale.canvas, scale.size)
    return seen if scale.inside is None else seen & scale.inside


def _matched(
    guess: Array,
    *,
    scale: Scale,
    place: Array,
    patch: int,
    patience: Array | None,
) -> Matches:
    """Returns better matches for a guess (H, W, C), and keeps good ones of `place`."""
    source = scale.source
    counts = None if scale.inside is None else _seen(scale).astype(jnp.float32)
    pairs = math.prod(n - patch + 1 for n in (*source.shape[:2], *scale.canvas))
    factor = None
    if pairs <= _EXACT:
        least = nearest(source, guess, patch=patch, allowed=_seen(scale)).distance
        factor = normalized_factor(least, _ALPHA)
        found = nearest(guess, source, patch=patch, counts=counts, factor=factor)
    else:
        options = {"patch": patch, "counts": counts, "orders": 0}  # and no draws
        found = propagated(guess, source, place, key=jax.random.key(0), **options)
    if patience is None:
        return found
    at = lambda where: 1.0 if factor is None else factor[where[..., 0], where[..., 1]]
    number = place[..., 0] * (source.shape[1] - patch + 1) + place[..., 1]
    now = distances(guess, source, number[..., None], patch=patch, counts=counts)[..., 0]
    stays = now * at(place) <= patience * found.distance * at(found.place)
    distance = jnp.where(stays, now, found.distance)
    return Matches(distance, jnp.where(stays[..., None], place, found.place))


def _coarse(coarse: Scale, fine: Scale, patch: int) -> tuple[list[Array], list[Array]]:
    """The coarse rows and columns for those of the patches, and the remaining distances in pixels."""
    indices, rests = [], []
    for length, n, before in zip(fine.canvas, fine.size, coarse.size):
        centre = jnp.arange(length - patch + 1) + patch / 2
        ratio = jnp.asarray(n, jnp.float32) / before
        index = jnp.clip(jnp.round(centre / ratio - patch / 2), 0, before - patch)
        indices.append(index.astype(jnp.int32))
        rests.append(centre - (index + patch / 2) * ratio)
    return indices, rests


def _carried(before: Before, number: int, scale: Scale, patch: int) -> Array:
    """Transfers the field of the previous result to the patches of the new one, at one scale."""
    y, x = (
        2 * (jnp.arange(n - patch + 1) + patch / 2) / m - 1
        for n, m in zip(scale.canvas, scale.size)
    )
    y, x = jnp.meshgrid(y, x, indexing="ij")
    u, v, depth = (m[0] * x + m[1] * y + m[2] for m in before.matrix)
    index, rest = [], []
    for unit, n in zip((v / depth, u / depth), before.sizes[number]):
        at = (unit + 1) / 2 * n - patch / 2
        index.append(jnp.clip(jnp.round(at), 0, n - patch).astype(jnp.int32))
        rest.append(jnp.round(at - index[-1]).astype(jnp.int32))
    found = before.places[number][index[0], index[1]] + jnp.stack(rest, axis=-1)
    last = jnp.asarray([n - patch for n in scale.source.shape[:2]])
    return jnp.clip(found, 0, last)
