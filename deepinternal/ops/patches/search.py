"""The exact search for the nearest patches of another image."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.ops.patches.places import QUERIES, chunks, cut, grid, usable
from deepinternal.ops.patches.scores import (
    NOT_FREE,
    distances,
    in_parts,
    least,
    left_of,
    products,
    right_of,
)
from deepinternal.types import Array

_SEARCHED = 512  # on CPU: the distances of a chunk stay in the cache
_ELSEWHERE = (8192, 8192)
_BLOCK = 65536  # maximum number of searched patches that are cut out at once


class Matches(NamedTuple):
    """The patches of another image that a search found for each patch of an image.

    Attributes:
        distance: (h, w), the mean squared difference of the values of both patches; weighted, if
            channels or pixels have weights. With `count` > 1 (h, w, count), the nearest first.
        place: int32 (h, w, 2), the row and column of the upper left pixel of the patch that was found.
            With `count` > 1 (h, w, count, 2).
    """

    distance: Array
    place: Array


def normalized_factor(least: Array, alpha: float | Array) -> Array:
    """Returns the factors by which GPNN multiplies distances to favour neglected patches of the source.

    The score of source patch j for query i is D(i, j) / (alpha + min over i' of D(i', j)): a source
    patch that no query resembles gets a better score. The smaller alpha is, the more of the source is
    used; with a large alpha, scores are in the order of the distances.

    Args:
        least: (h', w'), for each patch of the searched image its distance to the nearest query:
            `nearest(searched, image).distance`, with the same weights of channels.
        alpha: Larger than 0, in the unit of the distances. The paper has 0.005 for images in [-1, 1],
            which corresponds to 0.00125 for images in [0, 1].

    Returns:
        (h', w'), 1 / (alpha + least), for the argument `factor` of `nearest`.

    References:
        Granot, Feinstein, Shocher, Bagon, Irani: Drop the GAN: In Defense of Patches Nearest Neighbors
        as Single Image Generative Models. CVPR 2022, section 4.2.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import search
        >>> search.normalized_factor(np.array([[0.5, 0.0]]), 0.5).tolist()
        [[1.0, 2.0]]
    """
    return 1 / (alpha + least)


def check(image: Array, searched: Array) -> None:
    """Checks that two images have the same number of channels.

    Args:
        image: (H, W, C).
        searched: (H', W', C).

    Returns:
        Nothing.

    Raises:
        ValueError: They differ.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import search
        >>> search.check(np.zeros((8, 8, 3)), np.zeros((9, 9, 3)))
    """
    if image.shape[-1] != searched.shape[-1]:
        raise ValueError(
            f"images of {image.shape[-1]} and {searched.shape[-1]} channels: must be equal"
        )


class _Block(NamedTuple):
    """Searched patches, (B,) each."""

    rows: Array
    columns: Array
    number: Array  # in reading order
    free: Array
    factor: Array | None


def _closer(best, chunk, *, left: Array, constant: Array):
    """Compares queries with a chunk of searched patches; the body of a scan."""
    (scores, numbers), (right, number, factor) = best, chunk
    score = products(left, right)
    if factor is not None:
        score = jnp.maximum(score + constant[:, None], 0) * factor
    count = scores.shape[1]
    if count > 1:
        merged = jnp.concatenate([scores, score], axis=1)
        lowest, order = lax.top_k(-merged, count)
        known = jnp.take_along_axis(numbers, jnp.minimum(order, count - 1), axis=1)
        new = number[jnp.maximum(order - count, 0)]
        return (-lowest, jnp.where(order < count, known, new)), None
    lowest, first = least(score)
    better = (lowest < scores[:, 0])[:, None]
    found = jnp.where(better, number[first][:, None], numbers)
    return (jnp.where(better, lowest[:, None], scores), found), None


def _centred(image: Array, searched: Array, channels: Array | None) -> list[Array]:
    """Returns both images without their common mean, times the roots of the channels' weights.

    Without the mean, squares are small and keep more of float32's digits.
    """
    offset = jnp.mean(searched, axis=(0, 1))
    root = 1 if channels is None else jnp.sqrt(jnp.asarray(channels, jnp.float32))
    return [lax.stop_gradient((x - offset) * root) for x in (image, searched)]


def _numbers(
    image: Array,
    searched: Array,
    queries: tuple[Array, Array],
    blocks: _Block,
    counts: Array | None,
    patch: int,
    count: int,
) -> Array:
    """Returns the numbers (chunks, N, count) of the patches that are nearest to the queries."""
    counts = None if counts is None else lax.stop_gradient(jnp.asarray(counts, jnp.float32))
    pixels = None if counts is None else patch * patch

    def in_block(best, block):
        parts = block.number.shape
        values = cut(searched, block.rows.reshape(-1), block.columns.reshape(-1), patch)
        right = right_of(values, pixels=pixels, free=block.free.reshape(-1))
        right = in_parts(right, right=True).reshape(*parts, -1)
        chunked = (right, block.number, block.factor)

        def of_chunk(chunk):
            *places, scores, numbers = chunk
            weights = None if counts is None else cut(counts[..., None], *places, patch)
            left, constant = left_of(cut(image, *places, patch), weights=weights)
            left = in_parts(left)
            step = lambda *x: _closer(*x, left=left, constant=constant)
            return lax.scan(step, (scores, numbers), chunked)[0]

        return lax.map(of_chunk, (*queries, *best)), None

    shape = (*queries[0].shape, count)
    start = (jnp.full(shape, jnp.inf, jnp.float32), jnp.zeros(shape, jnp.int32))
    (score, number), _ = lax.scan(in_block, start, blocks)
    # If fewer than `count` patches are free, the first is repeated.
    return jnp.where(score < NOT_FREE / 2, number, number[..., :1])


def nearest(
    image: Array,
    searched: Array,
    *,
    patch: int = 7,
    stride: int = 1,
    count: int = 1,
    channels: Array | None = None,
    counts: Array | None = None,
    allowed: Array | None = None,
    factor: Array | None = None,
    chunk: tuple[int, int] | None = None,
) -> Matches:
    """Finds the nearest patches of another image for each patch of an image, by matrix products.

    The search is exact. Gradients flow through the distances as if the places were fixed.

    Args:
        image: (H, W, C), whose patches are the queries.
        searched: (H', W', C), all of whose patches are searched.
        patch: Side of a patch in pixels.
        stride: Stride of the patches of `image`, see `grid`.
        count: Number of patches that are found for each patch of `image`.
        channels: (C,), at least 0: weights of the squared differences per channel.
        counts: (H, W), in [0, 1]: weights of the image's pixels in the distances; 0 for a pixel that
            does not count, such as one of a hole that is to be filled.
        allowed: Bool (H', W'), the pixels of `searched` that may be used. Patches with other pixels are
            not found. At least one patch must be left, see `check_allowed`.
        factor: (h', w'), at least 0, one for each patch of `searched`: the search minimises the
            distance times the factor, see `normalized_factor`; it returns the distance.
        chunk: Numbers of patches of `image` and of `searched` that are compared at once. Default: 1024
            and 512 on CPU, where such a product stays in the cache, and 8192 elsewhere.

    Returns:
        One match for each patch of `grid`, (h, w): the first one in reading order if several are
        equally near, up to rounding. If fewer than `count` are allowed, the first is repeated.

    Raises:
        ValueError: A side is shorter than a patch, the numbers of channels differ, or there are fewer
            than `count` patches.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import search
        >>> searched = np.float32([[0, 1, 4], [9, 16, 25]])[..., None]
        >>> found = jax.jit(lambda x, y: search.nearest(x, y, patch=2))(searched[:, 1:], searched)
        >>> found.place.tolist(), found.distance.tolist()
        ([[[0, 1]]], [[0.0]])
    """
    check(image, searched)
    at, others = grid(image.shape[:2], patch, stride=stride), grid(searched.shape[:2], patch)
    total = math.prod(map(len, others))
    if total < count:
        raise ValueError(f"{count} patches are asked for, and the searched image has only {total}")
    on_cpu = jax.default_backend() == "cpu"
    per_query, per_key = chunk or ((QUERIES, _SEARCHED) if on_cpu else _ELSEWHERE)
    blocks = _blocks(others, per_key, allowed, factor, patch)
    images = _centred(image, searched, channels)
    number = _numbers(*images, chunks(*at, per_query), blocks, counts, patch, count)
    shape = tuple(map(len, at))
    number = number.reshape(-1, count)[: math.prod(shape)].reshape(*shape, count)
    # Computed again from the original values, so that it is exactly 0 for equal patches.
    options = {"patch": patch, "stride": stride, "channels": channels, "counts": counts}
    distance = distances(image, searched, number, length=per_query, **options)
    place = jnp.stack([number // len(others[1]), number % len(others[1])], axis=-1)
    return Matches(distance, place) if count > 1 else Matches(distance[..., 0], place[..., 0, :])


def _blocks(
    others: tuple,
    length: int,
    allowed: Array | None,
    factor: Array | None,
    patch: int,
) -> _Block:
    """The searched patches, (blocks, parts, at most `length`) each."""
    rows, columns = chunks(*others, length)
    parts, length = rows.shape
    total = len(others[0]) * len(others[1])
    each = max(min(_BLOCK // length, parts), 1)
    blocks = -(-parts // each)
    each = -(-parts // blocks)

    def split(x):
        padded = jnp.pad(x, ((0, blocks * each - parts), (0, 0)), mode="edge")
        return padded.reshape(blocks, each, length)

    number = jnp.arange(blocks * each * length, dtype=jnp.int32)
    free = (number < total).reshape(blocks, each, length)
    rows, columns = split(rows), split(columns)
    if allowed is not None:
        free &= usable(allowed, patch)[rows, columns]
    if factor is not None:
        factor = jnp.where(free, lax.stop_gradient(factor)[rows, columns], 1)
    number = jnp.minimum(number, total - 1).reshape(free.shape)
    return _Block(rows, columns, number, free, factor)
