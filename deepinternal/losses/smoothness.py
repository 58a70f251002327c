"""Regularisers of a single layer: its smoothness, and the binarity of a mask."""

import jax.numpy as jnp

from deepinternal.types import Array

_LEAST = 1e-3  # the least mean distance from one half in `binarity`


def gradient_l1(image: Array, *, weight: Array | float = 1.0) -> Array:
    """Returns the anisotropic total variation: the mean absolute vertical plus horizontal difference.

    Args:
        image: (..., H, W, C), with sides of at least 2.
        weight: (..., H, W, 1) or a number, by which the forward differences are multiplied.

    Returns:
        A scalar.

    Example:
        >>> import jax, numpy as np, deepinternal as di
        >>> ramp = np.tile(np.linspace(0, 1, 5)[:, None, None], (1, 4, 1))  # steps of 0.25
        >>> print(jax.jit(di.losses.gradient_l1)(ramp))
        0.25
    """
    down, across = (jnp.abs(jnp.diff(image, axis=axis)) for axis in (-3, -2))
    weight = jnp.broadcast_to(weight, (*image.shape[:-1], 1))
    return jnp.mean(weight[..., :-1, :, :] * down) + jnp.mean(weight[..., :, :-1, :] * across)


def std_blur(image: Array, *, size: int = 5) -> Array:
    """Returns the mean squared difference between the grey image and its box blur; borders reflect.

    Args:
        image: (..., H, W, C), with sides greater than size / 2; grey is the mean of the channels.
        size: Side of the box in pixels, odd.

    Returns:
        A scalar.

    Example:
        >>> import jax, numpy as np, deepinternal as di
        >>> stripes = np.tile([[[0.0]], [[1.0]]], (4, 8, 1))
        >>> print(jax.jit(di.losses.std_blur)(stripes).round(2))
        0.16

    References:
        The "Std" loss of Double-DIP's public code (Gandelsman, Shocher, Irani, CVPR 2019).
    """
    grey, reach = jnp.mean(image, axis=-1), size // 2
    widths = [(0, 0)] * (grey.ndim - 2) + [(reach, reach)] * 2
    blurred, (h, w) = jnp.pad(grey, widths, mode="reflect"), grey.shape[-2:]
    blurred = sum(blurred[..., i : i + h, :] for i in range(size)) / size
    blurred = sum(blurred[..., i : i + w] for i in range(size)) / size
    return jnp.mean(jnp.square(grey - blurred))


def binarity(mask: Array) -> Array:
    """Returns 1 / mean |m - 0.5|, which is 2 for a mask of zeros and ones and large for a grey mask.

    Args:
        mask: Of any shape, in [0, 1].

    Returns:
        A scalar in [2, 1000]. If the mean is less than 0.001, it is 1000 with a gradient of 0.

    Example:
        >>> import jax.numpy as jnp, deepinternal as di
        >>> print(di.losses.binarity(jnp.array([0.0, 1.0, 0.5, 0.5])))
        4.0

    References:
        The "gray" loss of Double-DIP's public code.
    """
    return 1 / jnp.maximum(jnp.mean(jnp.abs(mask - 0.5)), _LEAST)
