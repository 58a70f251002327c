"""Pixel-wise losses."""

import jax.numpy as jnp

from deepinternal.types import Array


def l1(prediction: Array, target: Array) -> Array:
    """Returns the mean absolute error of two arrays of one shape.

    Args:
        prediction: Of any shape.
        target: Of the same shape.

    Returns:
        A scalar.

    Example:
        >>> import jax.numpy as jnp, deepinternal as di
        >>> print(di.losses.l1(jnp.array([0.0, 1.0]), jnp.array([0.5, 0.5])))
        0.5
    """
    return jnp.mean(jnp.abs(prediction - target))


def l2(prediction: Array, target: Array) -> Array:
    """Returns the mean squared error of two arrays of one shape, a scalar.

    Example:
        >>> import jax.numpy as jnp, deepinternal as di
        >>> print(di.losses.l2(jnp.array([0.0, 1.0]), jnp.array([0.5, 0.5])))
        0.25
    """
    return jnp.mean(jnp.square(prediction - target))


def masked_l2(prediction: Array, target: Array, mask: Array) -> Array:
    """Returns the mean over all pixels of the squared error times the squared mask.

    Args:
        prediction: (..., H, W, C).
        target: Of the same shape.
        mask: (..., H, W, 1 or C), 1 where the target counts.

    Returns:
        A scalar.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> mask = np.float32([[[1], [0]], [[0], [0]]])  # one pixel of four
        >>> print(di.losses.masked_l2(np.zeros((2, 2, 3)), np.ones((2, 2, 3)), mask))
        0.25
    """
    return jnp.mean(jnp.square(mask * (prediction - target)))


def hinted_l1(prediction: Array, target: Array, hint: Array) -> Array:
    """Returns the mean absolute error within a hint: mean |h * a - h * b| / mean |h|.

    Args:
        prediction: (..., H, W, C).
        target: Of the same shape.
        hint: (..., H, W, 1 or C), 0 where nothing is known.

    Returns:
        A scalar. For an empty hint it is 0, with a gradient of 0.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> black, white = np.zeros((2, 2, 3)), np.ones((2, 2, 3))
        >>> hint = np.float32([[[1], [0]], [[0], [0]]])  # one pixel of four
        >>> print(di.losses.hinted_l1(black, white, hint))
        1.0

    References:
        Double-DIP's public code (Gandelsman, Shocher, Irani, CVPR 2019).
    """
    total = jnp.mean(jnp.abs(hint))
    error = jnp.mean(jnp.abs(hint * (prediction - target)))
    return jnp.where(total > 0, error / jnp.where(total > 0, total, 1), 0)
