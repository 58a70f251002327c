"""Pixel-wise losses."""

import jax.numpy as jnp

from deepinternal.types import Array


def l1(prediction: Array, target: Array) -> Array:
    """Mean absolute error of two arrays of one shape, a scalar."""
    return jnp.mean(jnp.abs(prediction - target))


def l2(prediction: Array, target: Array) -> Array:
    """Mean squared error of two arrays of one shape, a scalar."""
    return jnp.mean(jnp.square(prediction - target))
