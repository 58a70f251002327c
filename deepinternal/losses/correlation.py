"""Correlation of two layers' gradients."""

import jax.numpy as jnp

from deepinternal.types import Array

# NTSC's YIQ; rows Y, I, Q.
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def yiq_gradient_correlation(first: Array, second: Array, epsilon: float = 1e-8) -> Array:
    """Normalised correlation of the gradient magnitudes of two images in YIQ.

    In each of the three planes g is the squared gradient length (forward differences); the correlation
    is sum(g1 * g2) / sqrt(sum(g1^2) * sum(g2^2)), and the result its mean over planes: 1 for equal
    images, 0 for images without common edges.

    Args:
        first: (..., H, W, 3), sides of at least 2.
        second: likewise.
        epsilon: added to the sums of squares, for flat images.

    Returns:
        A scalar in [0, 1].

    References:
        In the manner of the YIQ correlation loss in Double-DIP's public code, unused there by default.
    """
    g1, g2 = (_squared_gradient(x @ jnp.asarray(_YIQ, x.dtype).T) for x in (first, second))
    product = jnp.sum(g1 * g2, axis=(-3, -2))
    norms = (jnp.sum(g * g, axis=(-3, -2)) + epsilon for g in (g1, g2))
    a, b = norms
    return jnp.mean(product / jnp.sqrt(a * b))


def _squared_gradient(x: Array) -> Array:
    down, across = jnp.diff(x, axis=-3), jnp.diff(x, axis=-2)
    return jnp.square(down[..., :, :-1, :]) + jnp.square(across[..., :-1, :, :])
