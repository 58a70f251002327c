"""The layers of two mixtures with known weights."""

import jax.numpy as jnp

from deepinternal.types import Array


def solve(
    first: Array,
    second: Array,
    alphas: Array,
    *,
    near: tuple[Array, Array] | None = None,
    trust: float = 0.0,
) -> tuple[Array, Array]:
    """Solves two mixtures for their layers by least squares.

    Args:
        first: (H, W, C), `a_1 * y1 + (1 - a_1) * y2`.
        second: (H, W, C), `a_2 * y1 + (1 - a_2) * y2`.
        alphas: (2,), a_1 and a_2, which must differ unless `trust` is positive.
        near: Two layers (H, W, C) near which the solution lies; None: zeros.
        trust: Weight of the squared distance to `near`, relative to the mixtures' squared errors.

    Returns:
        y1, y2, not clipped.
    """
    a, b = alphas, 1 - alphas
    near = near or (jnp.zeros_like(first),) * 2
    right1 = a[0] * first + a[1] * second + trust * near[0]
    right2 = b[0] * first + b[1] * second + trust * near[1]
    p, q, r = jnp.sum(a * a) + trust, jnp.sum(a * b), jnp.sum(b * b) + trust
    determinant = p * r - q * q
    return (r * right1 - q * right2) / determinant, (p * right2 - q * right1) / determinant
