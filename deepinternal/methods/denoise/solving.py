"""Many small systems of linear equations at once."""

import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array

_LEAF = 64  # size of the matrices that are not divided by recursion, which takes long to compile
_BLOCK = 8  # rows that are eliminated at once


def _inverse(matrix: Array) -> Array:
    """Inverts small positive definite matrices (..., n, n) by Gauss-Jordan steps."""
    n = matrix.shape[-1]
    eye = jnp.eye(n)

    def step(i, both):
        row = lax.dynamic_slice_in_dim(both, i, 1, axis=-2)
        column = lax.dynamic_slice_in_dim(both, i, 1, axis=-1)
        row = row / lax.dynamic_slice_in_dim(row, i, 1, axis=-1)
        here = (jnp.arange(n) == i)[:, None]
        return jnp.where(here, row, both - column * row)

    both = jnp.concatenate([matrix, jnp.broadcast_to(eye, matrix.shape)], axis=-1)
    return lax.fori_loop(0, n, step, both)[..., n:]


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _eliminated(matrix: Array, right: Array) -> Array:
    """Solves positive definite systems by Gauss-Jordan elimination of blocks of rows."""
    n = matrix.shape[-1]
    added = -n % _BLOCK  # unknowns, which are 0
    beside = jnp.broadcast_to(jnp.eye(n + added)[:, n:], (*matrix.shape[:-2], n + added, added))
    below = lambda x: jnp.pad(x, [*((0, 0),) * (x.ndim - 2), (0, added), (0, 0)])
    both = jnp.concatenate([below(matrix), beside, below(right)], axis=-1)

    def step(k, both):
        rows = lax.dynamic_slice_in_dim(both, k * _BLOCK, _BLOCK, axis=-2)
        block = lax.dynamic_slice_in_dim(rows, k * _BLOCK, _BLOCK, axis=-1)
        rows = _product(_inverse(block), rows)
        columns = lax.dynamic_slice_in_dim(both, k * _BLOCK, _BLOCK, axis=-1)
        both = both - _product(columns, rows)
        return lax.dynamic_update_slice_in_dim(both, rows, k * _BLOCK, axis=-2)

    both = lax.fori_loop(0, (n + added) // _BLOCK, step, both)
    return both[..., :n, n + added :]


def solve(matrix: Array, right: Array) -> Array:
    """Solves positive definite systems by recursive division into blocks.

    Args:
        matrix: (..., n, n).
        right: (..., n, m).

    Returns:
        (..., n, m). Unlike LAPACK's solver, it consists of batched products.
    """
    n = matrix.shape[-1]
    if n <= _LEAF:
        return _eliminated(matrix, right)
    h = -(-n // 2)
    a, b, d = matrix[..., :h, :h], matrix[..., :h, h:], matrix[..., h:, h:]
    below = jnp.swapaxes(b, -1, -2)
    both = solve(a, jnp.concatenate([b, right[..., :h, :]], axis=-1))
    factor, first = both[..., : n - h], both[..., n - h :]
    second = solve(d - _product(below, factor), right[..., h:, :] - _product(below, first))
    return jnp.concatenate([first - _product(factor, second), second], axis=-2)
