"""Haze: its model, its removal, and the dark channel prior.

The model is I = t * J + (1 - t) * A, where J is the scene, t the transmission and A the airlight.
Images are (H, W, C) in [0, 1], C = 1 or 3.
"""

import jax.numpy as jnp

from deepinternal.ops.filters import minimum
from deepinternal.types import Array


def haze(image: Array, transmission: Array, airlight: Array) -> Array:
    """Adds haze to an image: I = t * J + (1 - t) * A.

    Args:
        image: (H, W, C) without haze.
        transmission: (H, W, 1), or an array that broadcasts to it.
        airlight: (C,) or (H, W, C).

    Returns:
        (H, W, C).
    """
    return transmission * image + (1 - transmission) * airlight


def dehaze(image: Array, transmission: Array, airlight: Array, *, floor: float = 0.1) -> Array:
    """Removes the haze from an image: J = (I - (1 - t) * A) / t.

    Args:
        image: (H, W, C) with haze.
        transmission: (H, W, 1), or an array that broadcasts to it.
        airlight: (C,) or (H, W, C).
        floor: The least transmission by which the image is divided.

    Returns:
        (H, W, C), clipped to [0, 1].
    """
    transmission = jnp.clip(transmission, floor, 1)
    return jnp.clip((image - (1 - transmission) * airlight) / transmission, 0, 1)


def dark_channel(image: Array, *, window: int = 15) -> Array:
    """Returns the least value of all channels in a window around each pixel.

    Args:
        image: (H, W, C).
        window: Side of the window in pixels, odd.

    Returns:
        (H, W).

    References:
        He, Sun, Tang: Single Image Haze Removal Using Dark Channel Prior. CVPR 2009, equation 5.
    """
    return minimum(jnp.min(image, axis=-1), window)


def airlight_dark_channel(image: Array, *, window: int = 15, fraction: float = 1e-4) -> Array:
    """Returns the maximum of each channel over the haziest pixels, those of the highest dark channel.

    Args:
        image: (H, W, C).
        window: See `dark_channel`.
        fraction: Fraction of the pixels that count as haziest; at least one pixel does.

    Returns:
        (C,).

    References:
        He, Sun, Tang (CVPR 2009), section 4.4, as in Double-DIP's public code.
    """
    dark = dark_channel(image, window=window).reshape(-1)
    haziest = jnp.argsort(-dark)[: max(int(fraction * dark.size), 1)]
    return jnp.max(image.reshape(-1, image.shape[-1])[haziest], axis=0)
