"""Layers of nets that normalise each image separately: normalisation with activation, and padding.

Activations are (N, H, W, C).
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def norm_and_relu(x: Array, scale: Array, shift: Array, epsilon: float, slope: float) -> Array:
    """Normalises the channels of each image over its pixels and applies a leaky ReLU.

    Args:
        x: (N, H, W, C).
        scale: (C,), the standard deviations after normalisation.
        shift: (C,), the means after normalisation.
        epsilon: Is added to the variances.
        slope: Slope of the leaky ReLU for negative values; 1: no activation.

    Returns:
        (N, H, W, C).
    """
    return _norm_fwd(x, scale, shift, epsilon, slope)[0]


def _norm_fwd(x, scale, shift, epsilon, slope):
    mean = x.mean((1, 2), keepdims=True)
    inverse = lax.rsqrt(jnp.square(x - mean).mean((1, 2), keepdims=True) + epsilon)
    y = (x - mean) * (inverse * scale) + shift
    return _leaky(y, y, slope), (x, mean, inverse, scale, shift)


def _norm_bwd(epsilon, slope, residuals, g):
    # Written out, so that it takes two passes over the pixels and keeps only the input.
    x, mean, inverse, scale, shift = residuals
    unit = (x - mean) * inverse
    g = _leaky(unit * scale + shift, g, slope)
    sums, products = (a.mean((1, 2), keepdims=True) for a in (g, g * unit))
    dx = (scale * inverse) * (g - sums - unit * products)
    count = x.shape[1] * x.shape[2]
    return dx, count * products.sum((0, 1, 2)), count * sums.sum((0, 1, 2))


def _leaky(x: Array, g: Array, slope: float) -> Array:
    return g if slope == 1 else jnp.where(x > 0, g, slope * g)


norm_and_relu.defvjp(_norm_fwd, _norm_bwd)


def variance(x: Array, frame: int) -> Array:
    """Returns the variance of each image's channels over the pixels inside a `frame`: (N, 1, 1, C)."""
    x = x[:, frame : x.shape[1] - frame, frame : x.shape[2] - frame]
    mean = lax.stop_gradient(x.mean((1, 2), keepdims=True))  # its gradient is zero
    return jnp.square(x - mean).mean((1, 2), keepdims=True)


def reflect(x: Array, count: int) -> Array:
    """Mirrors `count` pixels at all borders of (N, H, W, C) images, without repeating the border."""
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


def zeros_around(x: Array, count: int) -> Array:
    """Adds `count` zeros at all borders of (N, H, W, C) images."""
    return jnp.pad(x, ((0, 0), (count, count), (count, count), (0, 0)))


PADDING = {"reflect": reflect, "zero": zeros_around}
