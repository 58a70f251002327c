"""Discrete cosine transform (DCT-II, orthonormal) of the windows of images."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.types import Array


def dct_matrix(size: int) -> np.ndarray:
    """Returns the orthonormal transform of a number of samples.

    Args:
        size: Number of samples.

    Returns:
        float32 (size, size), one frequency per row.

    Example:
        >>> from deepinternal.ops import dct
        >>> print(dct.dct_matrix(2).round(3))
        [[ 0.707  0.707]
         [ 0.707 -0.707]]
    """
    places = np.arange(size)
    matrix = np.cos(np.pi * (places + 0.5) * places[:, None] / size) * np.sqrt(2 / size)
    matrix[0] = np.sqrt(1 / size)
    return matrix.astype(np.float32)


def dct_orders(size: int) -> np.ndarray:
    """Returns the sums of the vertical and the horizontal frequency of each coefficient.

    Args:
        size: Side of the windows in pixels.

    Returns:
        int (size, size), from 0 to 2 * size - 2.

    Example:
        >>> from deepinternal.ops import dct
        >>> dct.dct_orders(2).tolist()
        [[0, 1], [1, 2]]
    """
    return np.add.outer(np.arange(size), np.arange(size))


def dct_windows(planes: Array, size: int, *, stride: int = 1) -> Array:
    """Returns the coefficients of every square window that lies in the image.

    Args:
        planes: (N, H, W), both sides at least `size`.
        size: Side of the windows in pixels.
        stride: Distance between windows in pixels.

    Returns:
        (N, size, size, H', W'), with the vertical before the horizontal frequency, and
        H' = (H - size) // stride + 1.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import dct
        >>> dct.dct_windows(np.ones((1, 4, 5), np.float32), 2).shape
        (1, 2, 2, 3, 4)
    """
    matrix = dct_matrix(size)
    basis = jnp.asarray(np.einsum("iy,jx->ijyx", matrix, matrix).reshape(-1, 1, size, size))
    found = lax.conv_general_dilated(
        planes[:, None], basis, (stride, stride), "VALID", precision=lax.Precision.HIGHEST
    )
    return found.reshape(len(planes), size, size, *found.shape[-2:])
