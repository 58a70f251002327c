"""Adversarial losses."""

import jax.numpy as jnp

from deepinternal.types import Array


def least_squares(judged: Array, target: float) -> Array:
    """Returns the mean squared distance between a discriminator's map and its target.

    Args:
        judged: The map, of any shape.
        target: 1 for real images, 0 for generated ones; 1 in the loss of a generator.

    Returns:
        A scalar.

    Example:
        >>> import jax.numpy as jnp, deepinternal as di
        >>> print(di.losses.least_squares(jnp.array([0.5, 1.0]), 1.0))
        0.125

    References:
        Mao et al.: Least Squares Generative Adversarial Networks. ICCV 2017, equation 2.
    """
    return jnp.mean(jnp.square(judged - target))


def absolute(judged: Array, target: float) -> Array:
    """Returns the mean absolute distance between a discriminator's map and its target.

    Args:
        judged: The map, of any shape.
        target: 1 for real images, 0 for generated ones; 1 in the loss of a generator.

    Returns:
        A scalar.

    Example:
        >>> import jax.numpy as jnp, deepinternal as di
        >>> print(di.losses.absolute(jnp.array([0.5, 1.0]), 1.0))
        0.25

    References:
        Bell-Kligler, Shocher, Irani: Blind Super-Resolution Kernel Estimation using an Internal-GAN.
        NeurIPS 2019, equation 2.
    """
    return jnp.mean(jnp.abs(judged - target))
