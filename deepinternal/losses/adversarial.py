"""Adversarial losses."""

import jax.numpy as jnp

from deepinternal.types import Array


def least_squares(judged: Array, target: float) -> Array:
    """Mean squared distance of a discriminator's map from what it should say.

    Args:
        judged: of any shape.
        target: 1 for real, 0 for made; what a generator wants is 1.

    Returns:
        A scalar.

    References:
        Mao et al.: Least Squares Generative Adversarial Networks. ICCV 2017, equation 2.
    """
    return jnp.mean(jnp.square(judged - target))


def absolute(judged: Array, target: float) -> Array:
    """Mean absolute distance of a discriminator's map from what it should say.

    Args:
        judged: of any shape.
        target: 1 for real, 0 for made; what a generator wants is 1.

    Returns:
        A scalar.

    References:
        Bell-Kligler, Shocher, Irani: Blind Super-Resolution Kernel Estimation using an Internal-GAN.
        NeurIPS 2019, equation 2.
    """
    return jnp.mean(jnp.abs(judged - target))
