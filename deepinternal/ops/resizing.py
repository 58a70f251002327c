"""Image resizing with the conventions of MATLAB's `imresize`.

Pixel centres are aligned: output pixel o is centred at input position (o + 0.5) / scale - 0.5
(0-based). When an axis shrinks, the kernel is stretched by 1 / scale (antialiasing, for each axis
separately). The weights of each output pixel are normalised, and the border is mirrored with the edge
pixel repeated (abc|cba).

Resizing is a product with one small matrix per axis, which depends only on static shapes. The matrix
is built on the host in float64 and applied on the device at highest matmul precision: as a dense matrix
to a short axis, as a few weighted gathers to a long one.
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.types import Array

DENSE_LIMIT = 512  # longest axis that is resized with a dense matrix; the cost grows with the cube


def cubic(x: np.ndarray) -> np.ndarray:
    """Returns Keys' cubic convolution kernel with a = -0.5.

    Args:
        x: Distances in pixels, of any shape.

    Returns:
        The weights at these distances, 0 beyond 2.

    References:
        Keys: Cubic Convolution Interpolation for Digital Image Processing. IEEE Transactions on
        Acoustics, Speech, and Signal Processing 1981, equation 15.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import resizing
        >>> resizing.cubic(np.array([0.0, 0.5, 1.5, 3.0])).tolist()
        [1.0, 0.5625, -0.0625, 0.0]
    """
    x = abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return near * (x <= 1) + far * ((x > 1) & (x <= 2))


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
        index: Integers of any shape, NumPy or JAX.
        length: Length of the axis.

    Returns:
        Integers of the shape of `index`.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import resizing
        >>> resizing.mirror_index(np.arange(-2, 5), 3).tolist()
        [1, 0, 0, 1, 2, 2, 1]
    """
    index = index % (2 * length)
    return index + (index >= length) * (2 * length - 1 - 2 * index)


@functools.lru_cache(maxsize=256)
def _taps(
    out_length: int, scale: float, method: str, antialias: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the table of `_table` before mirroring, which does not depend on the input's length."""
    if method not in _KERNELS:
        raise ValueError(f"unknown resize method {method!r}; known: {', '.join(METHODS)}")
    kernel, width = _KERNELS[method]
    stretch = scale if antialias and scale < 1 else 1.0
    width /= stretch
    # MATLAB's own arithmetic (1-based), so that ties of a box kernel are resolved as in MATLAB.
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
    """Returns the input samples of each output sample, mirrored into [0, in_length), and their weights.

    Both are (out_length, taps), int32 and float64; the rows of the weights sum to 1.
    """
    indices, weights = _taps(out_length, scale, method, antialias)
    return mirror_index(indices, in_length).astype(np.int32), weights


@functools.lru_cache(maxsize=256)
def resize_matrix(
    in_length: int, out_length: int, scale: float, *, method: str = "cubic", antialias: bool = True
) -> np.ndarray:
    """Returns the matrix with which `resize` is a product along one axis.

    Args:
        in_length: Number of samples of the input axis.
        out_length: Number of samples of the output axis; it may differ from `in_length * scale`.
        scale: Output samples per input sample.
        method: One of `METHODS`.
        antialias: Whether the kernel is stretched if scale < 1.

    Returns:
        float64 (out_length, in_length) with rows that sum to 1. The array is cached: do not modify it.

    Raises:
        ValueError: The method is unknown.

    Example:
        >>> from deepinternal.ops import resizing
        >>> resizing.resize_matrix(4, 2, 0.5, method="box").tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    indices, weights = _table(in_length, out_length, scale, method, antialias)
    matrix = np.zeros((out_length, in_length))
    np.add.at(matrix, (np.arange(out_length)[:, None], indices), weights)
    return matrix


def output_size(shape: tuple[int, int], scale: tuple[float, float]) -> tuple[int, int]:
    """Returns the size of an image after scaling, ceil(shape * scale) as in MATLAB.

    Args:
        shape: (H, W).
        scale: (vertical, horizontal). A product that is a whole number up to rounding (100 * 1.1)
            counts as that number.

    Returns:
        (H', W').

    Example:
        >>> from deepinternal.ops import resizing
        >>> resizing.output_size((100, 7), (1.1, 0.5))
        (110, 4)
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

    On GPU and TPU the result does not depend on the default matmul precision.

    Args:
        image: (..., H, W, C), floating point, of any range.
        scale: A factor, or (vertical, horizontal) factors. Default: output_shape / (H, W).
        output_shape: (H', W'). Default: ceil((H, W) * scale). If both are given they need not agree:
            `scale` sets the sampling positions, `output_shape` the number of samples.
        method: 'cubic', 'linear', 'box', 'lanczos2' or 'lanczos3'.
        antialias: Whether the kernel is stretched along an axis that shrinks.
        size: (H, W) of an image, possibly traced, in the upper left of a canvas; needs `scale`.
            Default: the whole array. The rest of the canvas is not read, and the rest of the result
            has no meaning.

    Returns:
        (..., H', W', C).

    Raises:
        ValueError: The image is not in floating point, `scale` and `output_shape` are missing, `size`
            is given without `scale`, or the method is unknown.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.resizing import resize
        >>> image = np.ones((5, 8, 3), np.float32)
        >>> resize(image, scale=2).shape
        (10, 16, 3)
        >>> resize(image, scale=(0.5, 1.5), method="linear").shape
        (3, 12, 3)
    """
    if not jnp.issubdtype(image.dtype, jnp.inexact):
        raise ValueError(f"resize needs an image of floats, not {image.dtype}; convert it first")
    shape = image.shape[-3:-1]
    if scale is None and (output_shape is None or size is not None):
        raise ValueError("resize needs a scale or an output_shape; with a size it needs a scale")
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


def resize_within(
    image: Array,
    size: Sequence[Array | int],
    output_size: Sequence[Array | int],
    *,
    output_shape: tuple[int, int],
) -> Array:
    """Resizes an image, cubic and antialiased as `resize`, with sizes that may be traced.

    Args:
        image: (H, W, C), with the image in its upper left.
        size: (h, w) of the image.
        output_size: (h', w') of the result.
        output_shape: (H', W') of the array that holds the result.

    Returns:
        (H', W', C), with the result in its upper left. The rest has no meaning.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import resizing
        >>> resized = jax.jit(lambda x, n: resizing.resize_within(x, (5, 6), n, output_shape=(12, 16)))
        >>> jax.eval_shape(resized, np.ones((6, 8, 3), np.float32), (10, 9)).shape
        (12, 16, 3)
    """
    for axis, n, m, out in zip((-3, -2), size, output_size, output_shape):
        image = _along(image, _matrix_within(n, m, image.shape[axis], out), axis)
    return image


def _matrix_within(n: Array | int, m: Array | int, columns: int, rows: int) -> Array:
    """Returns the matrix (rows, columns) that resizes n samples, mirrored at both ends, to m."""
    scale = jnp.asarray(m, jnp.float32) / n
    stretch = jnp.minimum(scale, 1)
    centre = (jnp.arange(rows)[:, None] + 0.5) / scale - 0.5
    index = jnp.arange(columns)
    images = (index, -1 - index, 2 * n - 1 - index)
    weights = sum(cubic(stretch * (centre - i)) for i in images) * (index < n)
    total = jnp.sum(weights, axis=1, keepdims=True)
    return weights / jnp.where(jnp.abs(total) > 1e-6, total, 1)


def _mirrored(
    x: Array, axis: int, length: Array, out_length: int, scale: float, method: str, antialias: bool
) -> Array:
    """Returns the part of an axis that a resizing reads, mirrored beyond `length`."""
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
        return _along(x, jnp.asarray(matrix, x.dtype), axis)
    indices, weights = _table(in_length, out_length, scale, method, antialias)
    weights = weights.reshape(out_length, -1, *(1,) * (-axis - 1)).astype(x.dtype)
    return sum(
        weights[:, t] * jnp.take(x, indices[:, t], axis=axis) for t in range(indices.shape[1])
    )


def _along(x: Array, matrix: Array, axis: int) -> Array:
    """Applies a matrix (out, in) along axis -3 or -2 of (..., H, W, C)."""
    product = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)
    if jax.default_backend() == "cpu":
        spec = "oi,...iwc->...owc" if axis == -3 else "oi,...hic->...hoc"
        return product(spec, matrix, x)
    # On GPU, XLA may fuse the product with a transpose of its operand into one Triton kernel. Without
    # autotuning, it then fails to find tiles if the rows of the product are pixels and three channels
    # (JAX 0.10 and 0.11). Therefore the channels are columns here, or an axis of batches.
    if axis == -3:
        y = product("oi,...ix->...ox", matrix, x.reshape(*x.shape[:-2], -1))
        return y.reshape(*y.shape[:-1], *x.shape[-2:])
    matrices = jnp.broadcast_to(matrix, (x.shape[-1], *matrix.shape))
    return product("coi,...hic->...hoc", matrices, x)
