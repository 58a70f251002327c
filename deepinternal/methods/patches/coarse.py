"""The coarse scales of GPNN, whose patches are searched exactly, in one program for all sizes.

Images of different sizes lie in the upper left of canvases, and their sizes are traced numbers, so that
the many small scales need a single program. The loops of the search end at the current sizes.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.methods.patches.pyramid import Level
from deepinternal.ops.patches.places import covered, cut, usable
from deepinternal.ops.patches.voting import vote
from deepinternal.ops.resizing import resize_within
from deepinternal.types import Array

_LENGTH = 512  # number of patches in a chunk


class Schedule(NamedTuple):
    """What happens in each of S steps.

    Attributes:
        level: int32 (S,), the index of the scale.
        before: int32 (S, 2), the size of the guess before the step.
        after: int32 (S, 2), the size of the guess in the step, to which it is resized.
    """

    level: np.ndarray
    before: np.ndarray
    after: np.ndarray


def schedule(
    levels: Sequence[Level], sizes: Sequence[tuple[int, int]], start: tuple[int, int], repeats: int
) -> Schedule:
    """Plans the steps.

    Args:
        levels: The scales, the coarsest first.
        sizes: The sizes of the result at the coarsest scale, in order.
        start: The size of the first guess.
        repeats: The number of steps at each size.
    """
    path = [(0, size) for size in sizes] + [(n, x.result) for n, x in enumerate(levels) if n]
    path = [entry for entry in path for _ in range(repeats)]
    after = np.int32([size for _, size in path])
    before = np.concatenate([np.int32([start]), after[:-1]])
    return Schedule(np.int32([n for n, _ in path]), before, after)


def scaled(image: Array, before: Array, after: Array, canvas: tuple[int, int]) -> Array:
    """Resizes an image in the upper left of a canvas, cubic and antialiased, with traced sizes.

    Args:
        image: (H, W, C) in [0, 1].
        before: (2,), the size of the image.
        after: (2,), the new size.
        canvas: (H', W') of the new canvas.

    Returns:
        (H', W', C) in [0, 1]; what is outside of the new size has no meaning.
    """
    return jnp.clip(resize_within(image, before, after, output_shape=canvas), 0, 1)


class Found(NamedTuple):
    """The matches of the patches of a guess and of a searched image, each on a canvas.

    Attributes:
        place: int32 (h, w, 2), the match of each patch of the guess.
        back: int32 (h', w', 2), the match of each patch of the searched image; -1 for those
            that may not be used, and for all if not asked for.
        distance: The mean distance from the guess, a scalar.
        neglected: The mean distance from the searched image, a scalar; 0 if not asked for.
    """

    place: Array
    back: Array
    distance: Array
    neglected: Array


class _Rows(NamedTuple):
    """The patches of an image on a canvas, in chunks."""

    image: Array
    size: Array  # (2,), the numbers of patches
    usable: Array | None  # bool, the patches that may be used
    position: Array | None  # factor of the relative positions, which are two more values

    @property
    def chunks(self) -> Array:
        return (self.size[0] * self.size[1] + _LENGTH - 1) // _LENGTH

    def chunk(self, number: Array, patch: int) -> tuple[Array, Array, Array, Array]:
        """Rows and columns (L,) of a chunk's patches, whether they count, and their values (L, D)."""
        index = number * _LENGTH + jnp.arange(_LENGTH, dtype=jnp.int32)
        valid = index < self.size[0] * self.size[1]
        index = jnp.minimum(index, self.size[0] * self.size[1] - 1)
        y, x = index // self.size[1], index % self.size[1]
        values = cut(self.image, y, x, patch)
        if self.position is not None:
            places = (jnp.stack([y, x], axis=-1) + 0.5) / self.size
            values = jnp.concatenate([values, self.position * places], axis=1)
        return y, x, valid if self.usable is None else valid & self.usable[y, x], values


_Table = tuple[Array, Array, Array]


@dataclasses.dataclass(frozen=True)
class _Search:
    """An exact search for the matches of the queries among the keys, chunk by chunk.

    Attributes:
        patch: Side of a patch in pixels.
        queries: The patches of the guess.
        keys: The patches of the searched image.
        counts: (H, W), the weights of the guess's pixels in distances; None: they are equal.
    """

    patch: int
    queries: _Rows
    keys: _Rows
    counts: Array | None

    @property
    def dimension(self) -> int:
        """The number of values of a patch, without those of its position."""
        return self.patch**2 * self.queries.image.shape[-1]

    def table(self) -> _Table:
        """The keys in N chunks: values (N, L, D), squared norms (N, L), and places (N, L, 2)."""
        height, width = (n - self.patch + 1 for n in self.keys.image.shape[:2])
        most, dimension, area = -(-height * width // _LENGTH), self.dimension, self.patch**2
        positioned, weighted = self.keys.position is not None, self.counts is not None

        def fill(b, table):
            y, x, valid, values = self.keys.chunk(b, self.patch)
            squares = jnp.sum(jnp.square(values), axis=1) / dimension
            if weighted:  # squares are summed with the weights of each query
                squares = jnp.zeros_like(squares)
                pixels = jnp.square(values[:, :dimension]).reshape(_LENGTH, area, -1)
                values = jnp.concatenate([values, jnp.sum(pixels, axis=2)], axis=1)
            rows = values, jnp.where(valid, squares, jnp.inf), jnp.stack([y, x], axis=-1)
            return tuple(t.at[b].set(r) for t, r in zip(table, rows))

        empty = (
            jnp.zeros((most, _LENGTH, dimension + 2 * positioned + area * weighted)),
            jnp.zeros((most, _LENGTH)),
            jnp.zeros((most, _LENGTH, 2), jnp.int32),
        )
        return lax.fori_loop(0, self.keys.chunks, fill, empty)

    def compared(self, y: Array, x: Array, values: Array) -> tuple[Array, Array, Array | float]:
        """Rows (L, D) of queries for products, their squared norms, and the factor of distances."""
        if self.counts is None:
            return values, jnp.sum(jnp.square(values), axis=1), 1 / self.dimension
        channels = self.queries.image.shape[-1]
        weights = cut(self.counts[..., None], y, x, self.patch)
        each = jnp.repeat(weights, channels, axis=1)
        missing = values.shape[1] - self.dimension
        each = jnp.pad(each, ((0, 0), (0, missing)), constant_values=1)
        rows = jnp.concatenate([values * each, -weights / 2], axis=1)
        total = jnp.sum(weights, axis=1) * channels
        return rows, jnp.sum(jnp.square(values) * each, axis=1), 1 / total[:, None]

    def backward(self, table: _Table) -> tuple[Array, Array]:
        """The distance (N, L) of each key from its nearest query, and that query's place (N, L, 2)."""

        def of_queries(a, carry):
            y, x, valid, values = self.queries.chunk(a, self.patch)
            query = self.compared(y, x, values)

            def of_keys(b, carry):
                least, who = carry
                apart = jnp.where(valid[:, None], _distances(query, table, b), jnp.inf)
                found = jnp.min(apart, axis=0)
                order = jnp.arange(_LENGTH, dtype=jnp.int32)[:, None]
                first = jnp.min(jnp.where(apart <= found, order, _LENGTH - 1), axis=0)
                at = jnp.stack([y[first], x[first]], axis=-1)
                nearer = (found < least[b])[:, None]
                return least.at[b].min(found), who.at[b].set(jnp.where(nearer, at, who[b]))

            return lax.fori_loop(0, self.keys.chunks, of_keys, carry)

        shape = table[1].shape
        start = jnp.full(shape, jnp.inf), jnp.zeros((*shape, 2), jnp.int32)
        return lax.fori_loop(0, self.queries.chunks, of_queries, start)

    def forward(self, table: _Table, factor: Array) -> tuple[Array, Array]:
        """The match (h, w, 2) of each query, and the sum of the distances.

        Args:
            table: The keys.
            factor: (N, L), by which the distances from each key are multiplied.
        """

        def of_queries(a, carry):
            place, total = carry
            y, x, valid, values = self.queries.chunk(a, self.patch)
            query = self.compared(y, x, values)

            def of_keys(b, best):
                apart = _distances(query, table, b)
                score = apart * factor[b]
                least = jnp.min(score, axis=1)
                # Not argmin, which XLA does not vectorise on CPU.
                order = jnp.arange(_LENGTH, dtype=jnp.int32)
                first = jnp.min(jnp.where(score <= least[:, None], order, _LENGTH - 1), axis=1)
                better = least < best[0]
                found = table[2][b][first]
                plain = least / factor[b][first]
                return (
                    jnp.where(better, least, best[0]),
                    jnp.where(better, plain, best[1]),
                    jnp.where(better[:, None], found, best[2]),
                )

            zeros = jnp.zeros(_LENGTH), jnp.zeros((_LENGTH, 2), jnp.int32)
            start = jnp.full(_LENGTH, jnp.inf), *zeros
            _, apart, found = lax.fori_loop(0, self.keys.chunks, of_keys, start)
            # Places outside of the guess are dropped.
            place = place.at[jnp.where(valid, y, place.shape[0]), x].set(found, mode="drop")
            return place, total + jnp.sum(jnp.where(valid, apart, 0))

        shape = [n - self.patch + 1 for n in self.queries.image.shape[:2]]
        start = jnp.zeros((*shape, 2), jnp.int32), jnp.zeros(())
        return lax.fori_loop(0, self.queries.chunks, of_queries, start)


def _distances(query: tuple[Array, Array, Array | float], table: _Table, b: Array) -> Array:
    """The distances (L, L) of queries, see `_Search.compared`, from chunk `b` of the keys."""
    rows, squares, share = query
    products = jnp.matmul(rows, table[0][b].T, precision=lax.Precision.HIGHEST)
    return jnp.maximum((squares[:, None] - 2 * products) * share + table[1][b], 0)


def matched(
    guess: Array,
    size: Array,
    searched: Array,
    searched_size: Array,
    *,
    patch: int,
    alpha: float,
    position: Array | float | None = None,
    counts: Array | None = None,
    allowed: Array | None = None,
    both: bool = False,
) -> Found:
    """Finds the patch of the searched image with the least score for each patch of a guess, exactly.

    Args:
        guess: (H, W, C), with the guess in the upper left.
        size: (2,), the size of the guess, possibly traced.
        searched: (H', W', C), with the searched image in the upper left.
        searched_size: (2,), the size of the searched image, possibly traced.
        patch: Side of a patch in pixels.
        alpha: See `ops.patches.search.normalized_factor`; 0: the score is the distance.
        position: Weight, possibly traced, of the squared difference of relative positions, which is
            added to distances; None: 0.
        counts: (H, W), larger than 0: weights of the guess's pixels in distances.
        allowed: Bool (H', W'), the pixels of `searched` that may be used.
        both: Whether to find the matches of the patches of `searched`, too.

    Returns:
        The matches, which have no meaning outside of the images.
    """
    offset = jnp.mean(searched)  # without a common mean, squares keep more of float32's digits
    position = None if position is None else jnp.sqrt(position * patch**2 * guess.shape[-1])
    free = None if allowed is None else usable(allowed, patch)
    queries = _Rows(guess - offset, size - patch + 1, None, position)
    keys = _Rows(searched - offset, searched_size - patch + 1, free, position)
    search = _Search(patch, queries, keys, counts)
    table = search.table()
    factor, neglected = jnp.ones(table[1].shape), jnp.zeros(())
    back = jnp.full([n - patch + 1 for n in searched.shape[:2]] + [2], -1, jnp.int32)
    if alpha or both:
        least, who = search.backward(table)
        # Patches that may not be used have infinite distances.
        found = jnp.isfinite(least)
        neglected = jnp.sum(jnp.where(found, least, 0)) / jnp.sum(found)
        factor = jnp.where(found & (alpha > 0), 1 / (alpha + least), 1)
        rows = jnp.where(found, table[2][..., 0], back.shape[0])
        back = back.at[rows, table[2][..., 1]].set(who, mode="drop")
    place, total = search.forward(table, factor)
    return Found(place, back, total / (queries.size[0] * queries.size[1]), neglected)


def voted(place: Array, size: Array, values: Array, *, patch: int) -> Array:
    """Averages overlapping patches like `ops.patches.voting.vote`, for a guess on a canvas.

    Args:
        place: int32 (H - patch + 1, W - patch + 1, 2).
        size: (2,), the size of the guess, possibly traced.
        values: (H', W', C).
        patch: Side of a patch in pixels.

    Returns:
        (H, W, C), 0 outside of the guess.
    """
    weights = jnp.float32(covered(place.shape[:2], size - patch + 1))
    return vote(place, values, patch=patch, weights=weights)


def stacked(image: Array, sizes: Sequence[tuple[int, int]], canvas: tuple[int, int]) -> Array:
    """Resizes an image (H, W, C) to several sizes, each on a canvas: (L, H', W', C)."""
    before = jnp.asarray(image.shape[:2])
    return jax.vmap(lambda after: scaled(image, before, after, canvas))(jnp.asarray(sizes))
