"""The luma of ITU-R BT.601 as MATLAB's `rgb2ycbcr` computes it."""

import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array

_WEIGHTS, _OFFSET = (65.481, 128.553, 24.966), 16.0  # of R, G, B in [0, 1], for Y in [16, 235]


def rgb_to_y(rgb: Array) -> Array:
    """Returns the luma in [16, 235] of RGB in [0, 1]: (..., 3) -> (...). Grey has shape (..., 1)."""
    rgb = jnp.broadcast_to(rgb, (*rgb.shape[:-1], 3))
    weights = jnp.asarray(_WEIGHTS, rgb.dtype)
    return _OFFSET + jnp.einsum("...c,c->...", rgb, weights, precision=lax.Precision.HIGHEST)
