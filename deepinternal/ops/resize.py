"""Image resizing by the conventions of MATLAB's `imresize`.

Pixel centres are aligned: output pixel o looks at input position (o + 0.5) / scale - 0.5 (0-based).
When an axis shrinks, the kernel is stretched by 1 / scale (antialiasing, decided per axis). Weights
are normalised per output pixel and the border is mirrored with the edge pixel repeated (abc|cba).

As linear algebra that is one small matrix per axis, which depends on static shapes only. It is built
on the host in float64 and applied on the device at highest matmul precision: dense where the axis is
short, banded (a few weighted gathers) where it is long.
"""

import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.types import Array

DENSE_LIMIT = 512  # longest axis resized with a dense matrix; its cost grows with the cube


def cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5 (Keys 1981, eq. 15)."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _linear(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0.0)


def _box(x: np.ndarray) -> np.ndarray:
    return ((x >= -0.5) & (x < 0.5)).astype(np.float64)


def _lanczos(x: np.ndarray, lobes: int) -> np.ndarray:
    return np.where(np.abs(x) < lobes, np.sinc(x) * np.sinc(x / lobes), 0.0)


# Name -> (kernel, width of its support).
_KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "cubic": (cubic, 4.0),
    "linear": (_linear, 2.0),
    "box": (_box, 1.0),
    "lanczos2": (functools.partial(_lanczos, lobes=2), 4.0),
    "lanczos3": (functools.partial(_lanczos, lobes=3), 6.0),
}
METHODS = tuple(_KERNELS)


def mirror_index(index: np.ndarray, length: int) -> np.ndarray:
    """Folds any integer index into [0, length) with the edge repeated (abc|cba|abc).

    Args:
        index: integers of any shape, NumPy or JAX.
        length: of the axis.

    Returns:
        As `index`.
    """
    index = index % (2 * length)
    return index + (index >= length) * (2 * length - 1 - 2 * index)


@functools.lru_cache(maxsize=256)
def _taps(
    out_length: int, scale: float, method: str, antialias: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The table of `_table` before mirroring, which alone depends on the input's length."""
    if method not in _KERNELS:
        raise ValueError(f"unknown resize method {method!r}; known: {', '.join(METHODS)}")
    kernel, width = _KERNELS[method]
    stretch = scale if antialias and scale < 1 else 1.0
    width /= stretch
    # MATLAB's own arithmetic (1-based), so that a box kernel's ties fall as they do there.
    centre = np.arange(1, out_length + 1) / scale + 0.5 * (1 - 1 / scale) - 1
    first = np.floor(centre - width / 2).astype(np.int64)
    indices = first[:, None] + np.arange(math.ceil(width) + 2)
    weights = stretch * kernel(stretch * (centre[:, None] - indices))
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.any(weights != 0, axis=0)
    return indices[:, used], weights[:, used]


@functools.lru_cache(maxsize=256)
def _table(
    in_length: int, out_length: int, scale: float, method: str, antialias: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Which input samples make each output sample, mirrored into [0, in_length), and their weights.

    int32 and float64 (out_length, taps); the weights' rows sum to 1.
    """
    indices, weights = _taps(out_length, scale, method, antialias)
    return mirror_index(indices, in_length).astype(np.int32), weights


@functools.lru_cache(maxsize=256)
def resize_matrix(
    in_length: int, out_length: int, scale: float, *, method: str = "cubic", antialias: bool = True
) -> np.ndarray:
    """What `resize` does along one axis, as a matrix.

    Args:
        in_length: samples of the input axis.
        out_length: samples of the output axis; need not be `in_length * scale`.
        scale: output samples per input sample.
        method: one of `METHODS`.
        antialias: whether the kernel is stretched when scale < 1.

    Returns:
        float64 (out_length, in_length), rows summing to 1; not to be written to.

    Raises:
        ValueError: unknown method.
    """
    indices, weights = _table(in_length, out_length, scale, method, antialias)
    matrix = np.zeros((out_length, in_length))
    np.add.at(matrix, (np.arange(out_length)[:, None], indices), weights)
    return matrix


def output_size(shape: tuple[int, int], scale: tuple[float, float]) -> tuple[int, int]:
    """The size of an image after scaling, ceil(shape * scale) as MATLAB does.

    Args:
        shape: (H, W).
        scale: (vertical, horizontal); a product that is a whole number up to rounding (100 * 1.1)
            counts as that number.

    Returns:
        (H', W').
    """
    return tuple(math.ceil(round(n * s, 6)) for n, s in zip(shape, scale))


def resize(
    image: Array,
    *,
    scale: float | tuple[float, float] | None = None,
    output_shape: tuple[int, int] | None = None,
    method: str = "cubic",
    antialias: bool = True,
    size: Array | tuple[int, int] | None = None,
) -> Array:
    """Resizes images as MATLAB's `imresize` does.

    Args:
        image: (..., H, W, C), any range.
        scale: factor, or (vertical, horizontal) factors. Default: output_shape / (H, W).
        output_shape: (H', W'). Default: ceil((H, W) * scale). Where both are given they need not
            agree: `scale` sets the sampling positions, `output_shape` how many samples are taken.
        method: 'cubic', 'linear', 'box', 'lanczos2' or 'lanczos3'.
        antialias: whether the kernel is stretched on an axis that shrinks.
        size: (H, W) of the image proper, maybe traced, in the upper left of a larger array; default:
            all of it. Needs `scale`. What lies beyond is not read, and what the result holds beyond
            the image proper's result means nothing.

    Returns:
        (..., H', W', C).

    Raises:
        ValueError: neither scale nor output_shape given, size without scale, or an unknown method.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.resize import resize
        >>> image = np.ones((5, 8, 3), np.float32)
        >>> resize(image, scale=2).shape
        (10, 16, 3)
        >>> resize(image, scale=(0.5, 1.5), method="linear").shape
        (3, 12, 3)
    """
    shape = image.shape[-3:-1]
    if scale is None and (output_shape is None or size is not None):
        raise ValueError("resize needs a scale or an output_shape; with a size, a scale")
    if scale is None:
        scale = tuple(o / n for o, n in zip(output_shape, shape))
    elif np.ndim(scale) == 0:
        scale = (scale, scale)
    output_shape = output_shape or output_size(shape, scale)
    lengths = (None, None) if size is None else size
    for axis, out, factor, length in zip((-3, -2), output_shape, scale, lengths):
        if length is not None:
            image = _mirrored(image, axis, length, int(out), float(factor), method, antialias)
        image = _resize_axis(image, axis, int(out), float(factor), method, antialias)
    return image


def _mirrored(
    x: Array, axis: int, length: Array, out_length: int, scale: float, method: str, antialias: bool
) -> Array:
    """As far of an axis as a resizing reads, what lies beyond `length` replaced by mirroring."""
    if scale == 1 and out_length == x.shape[axis]:
        return x
    reach = int(_taps(out_length, scale, method, antialias)[0].max()) + 1
    return jnp.take(x, mirror_index(jnp.arange(reach), length), axis=axis, mode="clip")


def _resize_axis(
    x: Array, axis: int, out_length: int, scale: float, method: str, antialias: bool
) -> Array:
    in_length = x.shape[axis]
    if out_length == in_length and scale == 1:
        return x
    if max(in_length, out_length) <= DENSE_LIMIT:
        matrix = resize_matrix(in_length, out_length, scale, method=method, antialias=antialias)
        matrix = jnp.asarray(matrix, x.dtype)
        spec = "oi,...iwc->...owc" if axis == -3 else "oi,...hic->...hoc"
        return jnp.einsum(spec, matrix, x, precision=lax.Precision.HIGHEST)
    indices, weights = _table(in_length, out_length, scale, method, antialias)
    weights = weights.reshape(out_length, -1, *(1,) * (-axis - 1)).astype(x.dtype)
    return sum(
        weights[:, t] * jnp.take(x, indices[:, t], axis=axis) for t in range(indices.shape[1])
    )
