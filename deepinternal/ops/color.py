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
