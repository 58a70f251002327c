"""Layers of nets that normalise each image separately: normalisation with activation, and padding.

Activations are (N, H, W, C).
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.ops.precision import widened
from deepinternal.types import Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def norm_and_relu(x: Array, scale: Array, shift: Array, epsilon: float, slope: float) -> Array:
    """Normalises the channels of each image over its pixels and applies a leaky ReLU.

    If `x` is bfloat16, statistics and gradients are computed in float32.

    Args:
        x: (N, H, W, C).
        scale: (C,), the standard deviations after normalisation.
        shift: (C,), the means after normalisation.
        epsilon: A number that is added to the variances.
        slope: Slope of the leaky ReLU for negative values; 1: no activation.

    Returns:
        (N, H, W, C), of the dtype of `x`.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import layers
        >>> x, one, zero = np.float32([0, 2]).reshape(1, 1, 2, 1), np.ones(1), np.zeros(1)
        >>> print(layers.norm_and_relu(x, one, zero, 0.0, 0.5).round(3).ravel())
        [-0.5  1. ]
    """
    return _norm_fwd(x, scale, shift, epsilon, slope)[0]


def _norm_fwd(x, scale, shift, epsilon, slope):
    wide = widened(x)
    mean, var = _moments(wide)
    inverse = lax.rsqrt(var + epsilon)
    y = (wide - mean) * (inverse * scale) + shift
    return _leaky(y, y, slope).astype(x.dtype), (x, mean, inverse, scale, shift)


def _norm_bwd(epsilon, slope, residuals, g):
    # The gradient is written out, so that it takes two passes over the pixels and keeps only the input.
    x, mean, inverse, scale, shift = residuals
    unit = (widened(x) - mean) * inverse
    g = _leaky(unit * scale + shift, widened(g), slope)
    sums, products = _means(g, g * unit)
    dx = (scale * inverse) * (g - sums - unit * products)
    count = x.shape[1] * x.shape[2]
    return dx.astype(x.dtype), count * products.sum((0, 1, 2)), count * sums.sum((0, 1, 2))


def _leaky(x: Array, g: Array, slope: float) -> Array:
    return g if slope == 1 else jnp.where(x > 0, g, slope * g)


norm_and_relu.defvjp(_norm_fwd, _norm_bwd)


def norm_and_relu_within(
    x: Array, scale: Array, shift: Array, epsilon: float, slope: float, size: Sequence[Array]
) -> Array:
    """Computes `norm_and_relu` of images that lie in the upper left of a canvas.

    Args:
        x: (N, H, W, C), the canvas.
        scale: (C,), see `norm_and_relu`.
        shift: (C,), see `norm_and_relu`.
        epsilon: See `norm_and_relu`.
        slope: See `norm_and_relu`.
        size: (h, w) of the images, possibly traced.

    Returns:
        (N, H, W, C), of the dtype of `x`. The rest of the canvas has no meaning, but is finite.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import layers
        >>> canvas, one, zero = np.ones((1, 3, 4, 1), np.float32), np.ones(1), np.zeros(1)
        >>> norm = lambda canvas: layers.norm_and_relu_within(canvas, one, zero, 1e-5, 0.2, (2, 3))
        >>> jax.eval_shape(norm, canvas).shape
        (1, 3, 4, 1)
    """
    wide, (h, w) = widened(x), size
    rows, columns = (jnp.arange(n) for n in x.shape[1:3])
    share = ((rows < h)[:, None] & (columns < w))[..., None] / jnp.asarray(h * w, wide.dtype)
    mean = jnp.sum(share * wide, (1, 2), keepdims=True)
    var = jnp.sum(share * jnp.square(wide - mean), (1, 2), keepdims=True)
    y = (wide - mean) * (lax.rsqrt(var + epsilon) * scale) + shift
    return _leaky(y, y, slope).astype(x.dtype)


def variance(x: Array, frame: int) -> Array:
    """Returns the variances of the channels of each image over the pixels inside a frame.

    Args:
        x: (N, H, W, C).
        frame: Width in pixels of the border that is left out.

    Returns:
        (N, 1, 1, C).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import layers
        >>> layers.variance(np.float32([0, 2]).reshape(1, 1, 2, 1), 0).tolist()
        [[[[1.0]]]]
    """
    return _variance(widened(x[:, frame : x.shape[1] - frame, frame : x.shape[2] - frame]))


@jax.custom_vjp
def _variance(x: Array) -> Array:
    return _moments(x)[1]


def _variance_fwd(x):
    mean, var = _moments(x)
    return var, (x, mean)


def _variance_bwd(residuals, g):
    x, mean = residuals
    return (g / (x.shape[1] * x.shape[2]) * (2 * (x - mean)),)


_variance.defvjp(_variance_fwd, _variance_bwd)


def _moments(x: Array) -> tuple[Array, Array]:
    """Returns the means and the variances over the pixels, (N, 1, 1, C) each.

    On GPUs they take one pass over the pixels. A pixel is subtracted first, because the mean of squares
    is precise only for channels whose mean is not much greater than their standard deviation.
    """
    if jax.default_backend() != "gpu":
        mean = x.mean((1, 2), keepdims=True)
        return mean, jnp.square(x - mean).mean((1, 2), keepdims=True)
    pixel = x[:, :1, :1]
    mean, squares = _means(x - pixel, jnp.square(x - pixel))
    return pixel + mean, jnp.maximum(squares - jnp.square(mean), 0)


def _means(a: Array, b: Array) -> tuple[Array, Array]:
    """Returns the means of two arrays over the pixels, (N, 1, 1, C) each.

    On GPUs they are one reduction, which starts fewer kernels than two.
    """
    if jax.default_backend() != "gpu":
        return a.mean((1, 2), keepdims=True), b.mean((1, 2), keepdims=True)
    return tuple(jnp.stack([a, b]).mean((2, 3), keepdims=True))


def reflect(x: Array, count: int) -> Array:
    """Mirrors pixels at all borders of images, without repeating the border.

    Args:
        x: (N, H, W, C).
        count: Number of pixels that are added at each border.

    Returns:
        (N, H + 2 * count, W + 2 * count, C).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import layers
        >>> x = np.arange(9).reshape(1, 3, 3, 1)
        >>> layers.reflect(x, 1)[0, 1, :, 0].tolist()
        [1, 0, 1, 2, 1]
    """
    if min(x.shape[1:3]) < 2 * count + 2:  # the mirrored pixels of both borders may meet
        return jnp.pad(x, ((0, 0), (count, count), (count, count), (0, 0)), "reflect")
    return _reflect(_reflect(x, count, 1), count, 2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _reflect(x: Array, count: int, axis: int) -> Array:
    cut = functools.partial(lax.slice_in_dim, x, axis=axis)
    n = x.shape[axis]
    low = [cut(i, i + 1) for i in range(count, 0, -1)]
    high = [cut(i, i + 1) for i in range(n - 2, n - 2 - count, -1)]
    return jnp.concatenate([*low, x, *high], axis)


def _reflect_bwd(count, axis, _, g):
    # One concatenation takes one pass; the transpose of `_reflect` would take many.
    last = g.shape[axis] - 1

    def row(i: int) -> Array:
        return lax.slice_in_dim(g, i, i + 1, axis=axis)

    low = [row(count + i) + row(count - i) for i in range(1, count + 1)]
    high = [row(last - count - i) + row(last - count + i) for i in range(count, 0, -1)]
    middle = lax.slice_in_dim(g, 2 * count + 1, last - 2 * count, axis=axis)
    return (jnp.concatenate([row(count), *low, middle, *high, row(last - count)], axis),)


_reflect.defvjp(lambda x, count, axis: (_reflect(x, count, axis), None), _reflect_bwd)


def reflect_within(x: Array, count: int, size: Sequence[Array]) -> Array:
    """Mirrors the borders of images that lie in the upper left of a canvas.

    Args:
        x: (N, H, W, C), the canvas.
        count: Number of pixels that are added at all borders, less than the sides of the images.
        size: (h, w) of the images, possibly traced.

    Returns:
        (N, H + 2 * count, W + 2 * count, C), in whose upper left are the images and the mirrored pixels
        around them. The rest has no meaning.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import layers
        >>> canvas = np.arange(4).reshape(1, 1, 4, 1)  # the first three pixels are the image
        >>> made = jax.jit(layers.reflect_within, static_argnums=1)(canvas, 1, (1, 3))
        >>> made[0, 1, :5, 0].tolist()
        [1, 0, 1, 2, 1]
    """
    for axis, n in zip((1, 2), size):
        index = jnp.abs(jnp.arange(-count, x.shape[axis] + count))
        index = jnp.where(index >= n, 2 * (n - 1) - index, index)
        x = jnp.take(x, jnp.maximum(index, 0), axis=axis, mode="clip")
    return x


def zeros_around(x: Array, count: int) -> Array:
    """Adds zeros at all borders of images.

    Args:
        x: (N, H, W, C).
        count: Number of zeros that are added at each border.

    Returns:
        (N, H + 2 * count, W + 2 * count, C).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import layers
        >>> layers.zeros_around(np.ones((1, 3, 3, 1), np.float32), 2).shape
        (1, 7, 7, 1)
    """
    return jnp.pad(x, ((0, 0), (count, count), (count, count), (0, 0)))


PADDING = {"reflect": reflect, "zero": zeros_around}
