"""Haze: how it is made, how it is taken away, and what the dark channel says of it.

The model is I = t * J + (1 - t) * A: J the scene, t the transmission, A the airlight. Images are
(H, W, C) in [0, 1], C = 1 or 3.
"""

import jax.numpy as jnp

from deepinternal.ops.filters import minimum
from deepinternal.types import Array


def haze(image: Array, transmission: Array, airlight: Array) -> Array:
    """A hazy image.

    Args:
        image: (H, W, C) without haze.
        transmission: (H, W, 1), or what broadcasts to it.
        airlight: (C,) or (H, W, C).

    Returns:
        (H, W, C).
    """
    return transmission * image + (1 - transmission) * airlight


def dehaze(image: Array, transmission: Array, airlight: Array, *, floor: float = 0.1) -> Array:
    """The haze-free image: J = (I - (1 - t) * A) / t.

    Args:
        image: (H, W, C) with haze.
        transmission: (H, W, 1), or what broadcasts to it.
        airlight: (C,) or (H, W, C).
        floor: the least transmission that is divided by.

    Returns:
        (H, W, C), clipped to [0, 1].
    """
    transmission = jnp.clip(transmission, floor, 1)
    return jnp.clip((image - (1 - transmission) * airlight) / transmission, 0, 1)


def dark_channel(image: Array, *, window: int = 15) -> Array:
    """The least value of all channels in a window around each pixel.

    Args:
        image: (H, W, C).
        window: its side, odd.

    Returns:
        (H, W).

    References:
        He, Sun, Tang: Single Image Haze Removal Using Dark Channel Prior. CVPR 2009, equation 5.
    """
    return minimum(jnp.min(image, axis=-1), window)


def transmission_dark_channel(
    image: Array, airlight: Array, *, window: int = 15, omega: float = 0.95
) -> Array:
    """Transmission of a scene that has something dark in every window: 1 - omega * dark(I / A).

    With `omega` 1 no smooth transmission can be less, for it would leave negative colours.

    Args:
        image: (H, W, C) with haze.
        airlight: (C,) or (H, W, C).
        window: side of the window, odd.
        omega: share of the haze that is taken for haze; less leaves some of it to far objects.

    Returns:
        (H, W), in [0, 1].

    References:
        He, Sun, Tang: Single Image Haze Removal Using Dark Channel Prior. CVPR 2009, equation 12.
    """
    veil = dark_channel(image / jnp.maximum(airlight, 1e-3), window=window)
    return jnp.clip(1 - omega * veil, 0, 1)


def airlight_dark_channel(image: Array, *, window: int = 15, fraction: float = 1e-4) -> Array:
    """Airlight from the haziest pixels: each channel's maximum over those of the highest dark channel.

    Args:
        image: (H, W, C).
        window: see `dark_channel`.
        fraction: share of the pixels that counts; at least one.

    Returns:
        (C,).

    References:
        He, Sun, Tang (CVPR 2009), section 4.4, as in Double-DIP's public code.
    """
    dark = dark_channel(image, window=window).reshape(-1)
    haziest = jnp.argsort(-dark)[: max(int(fraction * dark.size), 1)]
    return jnp.max(image.reshape(-1, image.shape[-1])[haziest], axis=0)
