"""Color spaces: the luma of ITU-R BT.601 as MATLAB's `rgb2ycbcr` computes it, and opponent colors."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.types import Array

_WEIGHTS, _OFFSET = (65.481, 128.553, 24.966), 16.0  # of R, G, B in [0, 1], for Y in [16, 235]

# A rotation of RGB: its rows are luma and two chroma channels, which are 0 for grey.
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [0.5, -1, 0.5]])
OPPONENT = np.float32(OPPONENT / np.linalg.norm(OPPONENT, axis=1, keepdims=True))


def rgb_to_y(rgb: Array) -> Array:
    """Returns the luma in [16, 235] of RGB in [0, 1]: (..., 3) -> (...). Grey has shape (..., 1)."""
    rgb = jnp.broadcast_to(rgb, (*rgb.shape[:-1], 3))
    weights = jnp.asarray(_WEIGHTS, rgb.dtype)
    return _OFFSET + jnp.einsum("...c,c->...", rgb, weights, precision=lax.Precision.HIGHEST)


def rgb_to_opponent(image: Array) -> Array:
    """Rotates RGB into luma and two chroma channels.

    Args:
        image: (..., C), C = 3 or, for grey, 1.

    Returns:
        (..., C), luma first, times sqrt(3); grey is returned as it is.
    """
    if image.shape[-1] == 1:
        return image
    return jnp.matmul(image, OPPONENT.T, precision=lax.Precision.HIGHEST)


def opponent_to_rgb(image: Array) -> Array:
    """Inverts `rgb_to_opponent`.

    Args:
        image: (..., C), C = 3 or, for grey, 1.

    Returns:
        (..., C).
    """
    if image.shape[-1] == 1:
        return image
    return jnp.matmul(image, OPPONENT, precision=lax.Precision.HIGHEST)
