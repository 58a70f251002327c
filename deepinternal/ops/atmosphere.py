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

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import atmosphere
        >>> scene = np.zeros((1, 2, 1))
        >>> atmosphere.haze(scene, np.array([[[0.5], [1.0]]]), np.array([0.8])).tolist()
        [[[0.4], [0.0]]]
    """
    return transmission * image + (1 - transmission) * airlight


def dehaze(image: Array, transmission: Array, airlight: Array, *, floor: float = 0.1) -> Array:
    """Removes the haze from an image: J = (I - (1 - t) * A) / t.

    Args:
        image: (H, W, C) with haze.
        transmission: (H, W, 1), or an array that broadcasts to it.
        airlight: (C,) or (H, W, C).
        floor: Lower bound of the transmission.

    Returns:
        (H, W, C), clipped to [0, 1].

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import atmosphere
        >>> hazy = np.float32([[[0.5], [0.75]]])
        >>> atmosphere.dehaze(hazy, np.float32(0.5), np.float32([0.5])).tolist()
        [[[0.5], [1.0]]]
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

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import atmosphere
        >>> image = np.float32([[[1.0, 0.25], [0.5, 0.75], [0.75, 1.0]]])
        >>> atmosphere.dark_channel(image, window=3).tolist()
        [[0.25, 0.25, 0.5]]
    """
    return minimum(jnp.min(image, axis=-1), window)


def airlight_dark_channel(image: Array, *, window: int = 15, fraction: float = 1e-4) -> Array:
    """Returns the maximum of each channel over the haziest pixels, those of the highest dark channel.

    Args:
        image: (H, W, C).
        window: See `dark_channel`.
        fraction: Fraction of the pixels that count as haziest, at least one pixel.

    Returns:
        (C,).

    References:
        He, Sun, Tang (CVPR 2009), section 4.4, as in Double-DIP's public code.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import atmosphere
        >>> image = np.float32([[[1.0, 0.25], [0.5, 0.75], [0.75, 1.0]]])
        >>> atmosphere.airlight_dark_channel(image, window=1).tolist()
        [0.75, 1.0]
    """
    dark = dark_channel(image, window=window).reshape(-1)
    haziest = jnp.argsort(-dark)[: max(int(fraction * dark.size), 1)]
    return jnp.max(image.reshape(-1, image.shape[-1])[haziest], axis=0)
