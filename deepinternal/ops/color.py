"""Colour conversions of ITU-R BT.601 as MATLAB's `rgb2ycbcr` computes them."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.types import Array

# RGB in [0, 1] -> Y'CbCr in the 8-bit studio range: Y in [16, 235], Cb and Cr in [16, 240].
_MATRIX = np.array(
    [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]
)
_OFFSET = np.array([16.0, 128.0, 128.0])


def rgb_to_y(rgb: Array) -> Array:
    """Luma Y in [16, 235] of RGB in [0, 1]: (..., 3) -> (...). Grey (..., 1) counts as R = G = B."""
    rgb = jnp.broadcast_to(rgb, (*rgb.shape[:-1], 3))
    weights = jnp.asarray(_MATRIX[0], rgb.dtype)
    return _OFFSET[0] + jnp.einsum("...c,c->...", rgb, weights, precision=lax.Precision.HIGHEST)


def rgb_to_ycbcr(rgb: Array) -> Array:
    """(..., 3) RGB in [0, 1] -> (..., 3) Y, Cb, Cr in the 8-bit studio range."""
    matrix, offset = jnp.asarray(_MATRIX, rgb.dtype), jnp.asarray(_OFFSET, rgb.dtype)
    return offset + jnp.einsum("...c,yc->...y", rgb, matrix, precision=lax.Precision.HIGHEST)


def ycbcr_to_rgb(ycbcr: Array) -> Array:
    """The inverse of `rgb_to_ycbcr`; nothing is clipped."""
    inverse = jnp.asarray(np.linalg.inv(_MATRIX), ycbcr.dtype)
    offset = jnp.asarray(_OFFSET, ycbcr.dtype)
    return jnp.einsum("...y,cy->...c", ycbcr - offset, inverse, precision=lax.Precision.HIGHEST)
