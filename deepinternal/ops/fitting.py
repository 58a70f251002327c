"""Reduction of images to the size of a fit, and enlargement of layers to the size of the image."""

import math

import jax.numpy as jnp

from deepinternal.ops.filters import box
from deepinternal.ops.resizing import resize
from deepinternal.types import Array


def factor(shape: tuple[int, ...], *, side: int = 0, pixels: int = 0) -> int:
    """Returns the least whole factor that makes an image as small as asked.

    Args:
        shape: (H, W, ...) of the image.
        side: Greatest side of the reduced image; 0: no limit.
        pixels: Greatest number of pixels of the reduced image, before its sides are rounded up; 0: no
            limit.

    Returns:
        The factor, at least 1.

    Example:
        >>> from deepinternal.ops import fitting
        >>> fitting.factor((600, 800, 3), side=320)
        3
    """
    height, width = shape[:2]
    by_side = math.ceil(max(height, width) / side) if side else 1
    by_pixels = math.ceil(math.sqrt(height * width / pixels)) if pixels else 1
    return max(by_side, by_pixels, 1)


def reduced(image: Array, *, side: int = 0, pixels: int = 0) -> Array:
    """Reduces an image by the least whole factor for which it is not larger than asked.

    Args:
        image: (H, W, C) in [0, 1].
        side: Greatest side in pixels; 0: no limit.
        pixels: Greatest number of pixels; 0: no limit.

    Returns:
        (ceil(H / factor), ceil(W / factor), C); the image itself if it is small enough.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import fitting
        >>> fitting.reduced(np.ones((30, 40, 3), np.float32), side=16).shape
        (10, 14, 3)
    """
    by = factor(image.shape, side=side, pixels=pixels)
    return image if by == 1 else shrunk(image, tuple(-(-n // by) for n in image.shape[:2]))


def shrunk(image: Array, shape: tuple[int, int]) -> Array:
    """Reduces an image to a smaller size; each pixel is the mean of the area that it covers.

    Args:
        image: (H, W, C) in [0, 1].
        shape: (h, w).

    Returns:
        (h, w, C), clipped to [0, 1].

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import fitting
        >>> fitting.shrunk(np.float32([[[0], [1]]]), (1, 1)).tolist()
        [[[0.5]]]
    """
    return jnp.clip(resize(image, output_shape=shape, method="box"), 0, 1)


def split_details(first: Array, second: Array, full: Array) -> tuple[Array, Array]:
    """Enlarges two layers of a reduced image to layers that add up to the full one.

    The details that the enlarged layers lack are divided between them in proportion to the energy of
    the finest details of the layers.

    Args:
        first: (h, w, C), the first layer.
        second: (h, w, C), the second layer.
        full: (H, W, C), the image, in [0, 1].

    Returns:
        Two layers (H, W, C) between 0 and the image.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import fitting
        >>> small, full = np.full((2, 3, 1), 0.25, np.float32), np.full((4, 6, 1), 0.5, np.float32)
        >>> [x.shape for x in jax.eval_shape(fitting.split_details, small, small, full)]
        [(4, 6, 1), (4, 6, 1)]
    """
    energy = lambda x: box(jnp.mean(jnp.square(x - box(x, 1)), axis=-1, keepdims=True), 1) + 1e-9
    share = energy(first) / (energy(first) + energy(second))
    first, second, share = (enlarged(x, full.shape[:2]) for x in (first, second, share))
    first = jnp.clip(first + share * (full - first - second), 0, full)
    return first, full - first


def enlarged(x: Array, shape: tuple[int, int]) -> Array:
    """Enlarges a layer to the size of the image by cubic interpolation.

    Args:
        x: (h, w, C) in [0, 1], the layer.
        shape: (H, W).

    Returns:
        (H, W, C), clipped to [0, 1].

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import fitting
        >>> fitting.enlarged(np.ones((2, 3, 1), np.float32), (4, 6)).shape
        (4, 6, 1)
    """
    if x.shape[:2] == tuple(shape):
        return x
    return jnp.clip(resize(x, output_shape=shape, method="cubic"), 0, 1)
