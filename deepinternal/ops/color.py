"""Color spaces: luma of ITU-R BT.601 as MATLAB's `rgb2ycbcr` computes it, opponent colors, CIELAB."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.types import Array

_WEIGHTS, _OFFSET = (65.481, 128.553, 24.966), 16.0  # of R, G, B in [0, 1], for Y in [16, 235]

# A rotation of RGB: its rows are luma and two chroma channels, which are 0 for grey.
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [0.5, -1, 0.5]])
OPPONENT = np.float32(OPPONENT / np.linalg.norm(OPPONENT, axis=1, keepdims=True))

# From linear sRGB to X, Y, Z relative to those of white (IEC 61966-2-1).
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_XYZ = np.float32(_XYZ / _XYZ.sum(axis=1, keepdims=True))


def rgb_to_y(rgb: Array) -> Array:
    """Returns the luma of RGB.

    Args:
        rgb: (..., 3) in [0, 1], or (..., 1), which is grey.

    Returns:
        (...), in [16, 235].

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import color
        >>> white = np.ones(3, np.float32)
        >>> round(float(color.rgb_to_y(white)), 2)
        235.0
    """
    rgb = jnp.broadcast_to(rgb, (*rgb.shape[:-1], 3))
    weights = jnp.asarray(_WEIGHTS, rgb.dtype)
    return _OFFSET + jnp.einsum("...c,c->...", rgb, weights, precision=lax.Precision.HIGHEST)


def rgb_to_lab(image: Array) -> Array:
    """Converts sRGB to CIELAB, where distances correspond to perceived differences of colours.

    Args:
        image: (..., 3) in [0, 1], or (..., 1), which is grey.

    Returns:
        (..., 3): lightness in [0, 100], and two axes of colour, which are 0 for grey. The white point
        is D65.

    References:
        IEC 61966-2-1:1999 (sRGB); ISO/CIE 11664-4:2019 (CIELAB).

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import color
        >>> white = np.ones(3, np.float32)
        >>> round(float(jax.jit(color.rgb_to_lab)(white)[0]), 2)
        100.0
    """
    image = jnp.broadcast_to(image, (*image.shape[:-1], 3))
    bent = ((jnp.maximum(image, 0.04045) + 0.055) / 1.055) ** 2.4
    linear = jnp.where(image > 0.04045, bent, image / 12.92)
    xyz = jnp.einsum("...c,dc->...d", linear, jnp.asarray(_XYZ), precision="highest")
    root = jnp.cbrt(jnp.maximum(xyz, 0.008856))
    x, y, z = jnp.moveaxis(jnp.where(xyz > 0.008856, root, 7.787 * xyz + 16 / 116), -1, 0)
    return jnp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def rgb_to_opponent(image: Array) -> Array:
    """Rotates RGB into luma and two chroma channels.

    Args:
        image: (..., C), C = 3 or, for grey, 1.

    Returns:
        (..., C): the sum of the channels divided by sqrt(3), then the chroma; grey images are returned
        unchanged.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import color
        >>> red = np.float32([1, 0, 0])
        >>> print(np.asarray(color.rgb_to_opponent(red)).round(3))
        [0.577 0.707 0.408]
    """
    if image.shape[-1] == 1:
        return image
    return jnp.matmul(image, OPPONENT.T, precision=lax.Precision.HIGHEST)


def opponent_to_rgb(image: Array) -> Array:
    """Inverts `rgb_to_opponent`.

    Args:
        image: (..., C), C = 3 or, for grey, 1.

    Returns:
        (..., C).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import color
        >>> grey = np.float32([1, 0, 0])
        >>> print(np.asarray(color.opponent_to_rgb(grey)).round(3))
        [0.577 0.577 0.577]
    """
    if image.shape[-1] == 1:
        return image
    return jnp.matmul(image, OPPONENT, precision=lax.Precision.HIGHEST)
