"""Images made smaller to be worked on, and layers brought back to the image's size."""

import math

import jax.numpy as jnp
import numpy as np

from deepinternal.ops.resize import resize
from deepinternal.types import Array


def reduced(image: np.ndarray, side: int) -> np.ndarray:
    """An image (H, W, C) shrunk by the least whole factor that makes no side exceed `side`.

    Args:
        image: in [0, 1].
        side: in pixels; 0: it is returned as it is.

    Returns:
        (ceil(H / factor), ceil(W / factor), C).
    """
    factor = math.ceil(max(image.shape[:2]) / side) if side else 1
    image = np.asarray(image, np.float32)
    if factor == 1:
        return image
    return np.asarray(shrunk(jnp.asarray(image), tuple(-(-n // factor) for n in image.shape[:2])))


def shrunk(image: Array, shape: tuple[int, int]) -> Array:
    """An image (H, W, C) at a smaller size, each pixel the mean of what it covers."""
    return jnp.clip(resize(image, output_shape=shape, method="box"), 0, 1)


def enlarged(x: Array, shape: tuple[int, int]) -> Array:
    """A layer (h, w, C) at the image's size."""
    if x.shape[:2] == tuple(shape):
        return x
    return jnp.clip(resize(x, output_shape=shape, method="cubic"), 0, 1)
