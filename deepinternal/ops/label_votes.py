"""Votes of similar pixels in a window, which transfer labels from frames whose labels are known."""

import functools
import math

import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array

_TILE = 12  # side in pixels of the square of queries that share one window
_FAR = 1e6  # squared distance of keys that do not count


def window_votes(
    queries: Array,
    keys: Array,
    labels: Array,
    known: Array,
    *,
    reach: int,
    temperature: float,
    place: float = 0.0,
) -> tuple[Array, Array]:
    """Averages the labels of the most similar pixels around each pixel, in all the given frames.

    For a pixel with features q, the label of a pixel with features k has the weight
    exp(-(|q - k|^2 + place * distance^2) / temperature) if it is at most about `reach` away. Squares of
    pixels whose windows have no label above zero are skipped.

    Args:
        queries: (h, w, n), the features of one frame.
        keys: (K, h, w, n), the features of the frames whose labels are known.
        labels: (K, h, w), in [0, 1].
        known: Bool (K, h, w), the pixels that have labels.
        reach: Least distance in pixels, along each axis, up to which pixels are compared.
        temperature: Difference of the squared distances at which a weight falls by 1 / e.
        place: Weight of the squared distance in pixels.

    Returns:
        The averages (h, w) in [0, 1], and the smallest squared distances (h, w), infinite where no
        pixel was compared.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import label_votes
        >>> queries, keys = np.zeros((1, 2, 1), np.float32), np.zeros((1, 1, 2, 1), np.float32)
        >>> labels, known = np.float32([[[1, 0]]]), np.ones((1, 1, 2), bool)
        >>> vote = lambda *x: label_votes.window_votes(*x, reach=1, temperature=0.1)
        >>> jax.jit(vote)(queries, keys, labels, known)[0].tolist()
        [[0.5, 0.5]]
    """
    h, w, channels = queries.shape
    down, across = -(-h // _TILE), -(-w // _TILE)
    side = _TILE + 2 * reach
    rest = (down * _TILE - h, across * _TILE - w)
    edges = [(reach, reach + extra) for extra in rest]
    queries = jnp.pad(queries, ((0, rest[0]), (0, rest[1]), (0, 0)))
    pad = lambda x: jnp.pad(x, ((0, 0), *edges, (0, 0))[: x.ndim])
    keys, labels, known = map(pad, (keys, labels, known))
    apart = jnp.tile(place * _squares(reach), (1, len(keys)))

    def of_tile(number):
        corner = (number // across * _TILE, number % across * _TILE)
        window = (len(keys), side, side)
        label = lax.dynamic_slice(labels, (0, *corner), window).reshape(-1)
        free = lax.dynamic_slice(known, (0, *corner), window).reshape(-1)

        def compare():
            query = lax.dynamic_slice(queries, (*corner, 0), (_TILE, _TILE, channels))
            key = lax.dynamic_slice(keys, (0, *corner, 0), (*window, channels))
            query, key = (x.reshape(-1, channels) for x in (query, key))
            return _compared(query, key, label, free, apart, temperature)

        nothing = lambda: (jnp.zeros(_TILE**2), jnp.full(_TILE**2, jnp.inf))
        return lax.cond(jnp.any(free & (label > 0)), compare, nothing)

    votes, least = lax.map(of_tile, jnp.arange(math.prod((down, across))))
    whole = functools.partial(_joined, down=down, across=across)
    return whole(votes)[:h, :w], whole(least)[:h, :w]


def _squares(reach: int) -> Array:
    """Squared distances in pixels of the queries in a tile from the keys in its window."""
    side = _TILE + 2 * reach
    within = jnp.arange(_TILE) + reach
    square = lambda x: (x[:, None] - jnp.arange(side)) ** 2
    apart = square(within)[:, None, :, None] + square(within)[None, :, None, :]
    return apart.reshape(_TILE**2, side**2)


def _compared(
    query: Array, key: Array, label: Array, free: Array, apart: Array, temperature: float
) -> tuple[Array, Array]:
    """The averages (N,) of labels (M,) for queries (N, n), and the smallest squared distances (N,).

    `free` (M,) tells which keys (M, n) have labels; `apart` (N, M) is added to the squared distances.
    """
    square = lambda x: jnp.sum(x * x, axis=1)
    product = jnp.matmul(query, key.T, precision=lax.Precision.HIGHEST)
    distance = jnp.maximum(square(query)[:, None] + square(key) - 2 * product, 0)
    distance += apart + jnp.where(free, 0.0, _FAR)
    least = jnp.min(distance, axis=1)
    weight = jnp.exp((least[:, None] - distance) / temperature)
    votes = jnp.matmul(weight, label * free, precision=lax.Precision.HIGHEST)
    return votes / jnp.sum(weight, axis=1), jnp.where(least < _FAR, least, jnp.inf)


def _joined(x: Array, *, down: int, across: int) -> Array:
    """Joins tiles (down * across, _TILE**2) to one array."""
    x = x.reshape(down, across, _TILE, _TILE).transpose(0, 2, 1, 3)
    return x.reshape(down * _TILE, across * _TILE)
