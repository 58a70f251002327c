"""Many small systems of linear equations at once."""

import functools

import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array

_BASE = 16  # size of the matrices that are not divided further


def _eliminated(matrix: Array, right: Array) -> Array:
    """Solves small positive definite systems (..., n, n) x = (..., n, m) by Gauss-Jordan steps."""
    n = matrix.shape[-1]

    def step(i, both):
        row = lax.dynamic_slice_in_dim(both, i, 1, axis=-2)
        column = lax.dynamic_slice_in_dim(both, i, 1, axis=-1)
        row = row / lax.dynamic_slice_in_dim(row, i, 1, axis=-1)
        here = (jnp.arange(n) == i)[:, None]
        return jnp.where(here, row, both - column * row)

    both = jnp.concatenate([matrix, right], axis=-1)
    return lax.fori_loop(0, n, step, both)[..., n:]


def solve(matrix: Array, right: Array) -> Array:
    """Solves positive definite systems by recursive division into blocks.

    Args:
        matrix: (..., n, n).
        right: (..., n, m).

    Returns:
        (..., n, m). Unlike LAPACK's solver, it consists of batched products.
    """
    product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    n = matrix.shape[-1]
    if n <= _BASE:
        eye = jnp.broadcast_to(jnp.eye(n), matrix.shape)
        return product(_eliminated(matrix, eye), right)
    h = -(-n // 2)
    a, b, d = matrix[..., :h, :h], matrix[..., :h, h:], matrix[..., h:, h:]
    below = jnp.swapaxes(b, -1, -2)
    both = solve(a, jnp.concatenate([b, right[..., :h, :]], axis=-1))
    factor, first = both[..., : n - h], both[..., n - h :]
    second = solve(d - product(below, factor), right[..., h:, :] - product(below, first))
    return jnp.concatenate([first - product(factor, second), second], axis=-2)
