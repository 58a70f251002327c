"""Reduction of images to the size of a fit, and enlargement of layers to the size of the image."""

import math

import jax.numpy as jnp
import numpy as np

from deepinternal.ops.resizing import resize
from deepinternal.types import Array


def reduced(image: np.ndarray, side: int) -> np.ndarray:
    """Reduces an image by the least whole factor for which no side exceeds `side`.

    Args:
        image: (H, W, C) in [0, 1].
        side: In pixels; 0: the image is not reduced.

    Returns:
        (ceil(H / factor), ceil(W / factor), C).
    """
    factor = math.ceil(max(image.shape[:2]) / side) if side else 1
    image = np.asarray(image, np.float32)
    if factor == 1:
        return image
    return np.asarray(shrunk(jnp.asarray(image), tuple(-(-n // factor) for n in image.shape[:2])))


def shrunk(image: Array, shape: tuple[int, int]) -> Array:
    """Reduces an image (H, W, C) to a smaller size; each pixel is the mean of the area it covers."""
    return jnp.clip(resize(image, output_shape=shape, method="box"), 0, 1)


def enlarged(x: Array, shape: tuple[int, int]) -> Array:
    """Enlarges a layer (h, w, C) to the image's size by cubic interpolation, clipped to [0, 1]."""
    if x.shape[:2] == tuple(shape):
        return x
    return jnp.clip(resize(x, output_shape=shape, method="cubic"), 0, 1)
