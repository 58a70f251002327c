"""Building blocks of the nets: a stride-1 convolution that trains fast on CPU as well.

Activations are (N, H, W, C), kernels (kh, kw, C_in, C_out), padding is zero 'SAME'. On accelerators
`conv2d` is `lax.conv_general_dilated`. On CPU XLA's gradient of a convolution with respect to its
kernel is several times slower than its forward pass, so there two special forms take over:

* wide 3x3 layers: the minimal filtering algorithm F(2x2, 3x3), 2.25 times fewer multiplications.
  Four outputs of a 2x2 block are `A^T [(G w G^T) * (B^T d B)] A`, d the 4x4 inputs they see; the
  products over channels are 16 matrix products. Both gradients are transposes of this expression.
* all others: the kernel's gradient is a few matrix products of shifted copies of the input and of
  the output's gradient; the rest is `lax.conv_general_dilated`.

References:
    Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, Section 4.1.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array

_NARROW = 4  # channels up to which all shifted copies of one side are cheap to write out
# Channels from which 16 matrix products replace a convolution. From 16 on they are faster, but up to
# 32 so little that it takes about 1000 steps to win back the seconds of compiling.
_WIDE = 33
_MIN_PIXELS = 32 * 32  # below this the copies cost more than the products save


def scaled_normal(gain: float) -> Callable[..., Array]:
    """An initialiser: normal with variance gain / fan_in, fan_in the product of all axes but the last.

    As `nn.initializers.variance_scaling(gain, "fan_in", "normal")` of convolutions and dense layers,
    but it draws a flat vector: on CPU XLA takes seconds to compile a draw of four axes.
    """

    def init(key: Array, shape: Sequence[int], dtype=jnp.float32) -> Array:
        deviation = math.sqrt(gain / math.prod(shape[:-1]))
        return deviation * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)

    return init


def conv2d(x: Array, w: Array, *, precision: lax.PrecisionLike = None) -> Array:
    """Convolves (in fact correlates) with stride 1 and zero 'SAME' padding.

    The form is chosen while tracing, from the default backend and the shapes. The special forms
    agree with `lax.conv_general_dilated` up to float rounding; reverse mode only, also nested.

    Args:
        x: (N, H, W, C_in), any H, W >= 1.
        w: (kh, kw, C_in, C_out).
        precision: as in `lax.conv_general_dilated`.

    Returns:
        (N, H, W, C_out).
    """
    form = _form(x, w)
    if form == "plain":
        return _plain(x, w, precision)
    if form == "shifted":
        return _shifted(x, w, precision)
    height, width = x.shape[1:3]
    even = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    return _wide(even, w, precision)[:, :height, :width]


def _form(x: Array, w: Array) -> str:
    """Which of the forms is the fastest to train: 'plain', 'shifted' or 'wide'."""
    pixels = x.shape[0] * x.shape[1] * x.shape[2]
    full = x.dtype == w.dtype and x.dtype in (jnp.float32, jnp.float64)
    if jax.default_backend() != "cpu" or not full or pixels < _MIN_PIXELS:
        return "plain"
    if w.shape[:2] == (3, 3) and min(w.shape[2:]) >= _WIDE:
        return "wide"
    return "shifted"


def _plain(x: Array, w: Array, precision: lax.PrecisionLike) -> Array:
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=precision
    )


def _shift(x: Array, offset: int, axis: int) -> Array:
    """`y[i] = x[i + offset]` along `axis`, zero outside."""
    size = x.shape[axis]
    offset = max(-size, min(offset, size))
    kept = lax.slice_in_dim(x, max(0, offset), size + min(0, offset), axis=axis)
    padding = [(0, 0)] * x.ndim
    padding[axis] = (max(0, -offset), max(0, offset))
    return jnp.pad(kept, padding)


def _dot(a: Array, b: Array, axes: tuple[int, int], precision: lax.PrecisionLike) -> Array:
    """Matrix product of (..., C) arrays taken as matrices, contracting their `axes`."""
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    contracting = ((axes[0],), (axes[1],))
    return lax.dot_general(a, b, (contracting, ((), ())), precision=precision)


# Kernel gradients from shifted copies


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _shifted(x: Array, w: Array, precision: lax.PrecisionLike) -> Array:
    return _plain(x, w, precision)


def _shifted_fwd(x, w, precision):
    return _plain(x, w, precision), (x, w)


def _shifted_bwd(precision, residuals, g):
    x, w = residuals
    _, pull_x = jax.vjp(lambda x: _plain(x, w, precision), x)
    c_in, c_out = w.shape[2:]
    narrow = min(c_in, c_out) <= _NARROW < max(c_in, c_out)
    kernel_grad = _kernel_grad_narrow if narrow else _kernel_grad
    return pull_x(g)[0], kernel_grad(x, g, w.shape, precision)


def _offsets(size: int) -> range:
    """Places of a kernel's taps relative to the output's place under 'SAME' padding."""
    return range(-((size - 1) // 2), size // 2 + 1)


def _kernel_grad(x, g, shape, precision):
    """`dw[i, j] = sum over p of x[p + (0, j)] g[p - (i, 0)]`, one matrix product for each j."""
    kh, kw, c_in, c_out = shape
    rows = jnp.concatenate([_shift(g, -i, 1) for i in _offsets(kh)], -1)
    products = [_dot(_shift(x, j, 2), rows, (0, 0), precision) for j in _offsets(kw)]
    return jnp.stack(products).reshape(kw, c_in, kh, c_out).transpose(2, 0, 1, 3)


def _kernel_grad_narrow(x, g, shape, precision):
    """The same as one product: all copies of the side with few channels by the other side."""
    kh, kw, c_in, c_out = shape
    small, large, sign = (x, g, 1) if c_in <= c_out else (g, x, -1)
    # Channels first: the copies are then whole planes, which XLA writes several times faster.
    planes = small.transpose(3, 0, 1, 2)
    taps = itertools.product(_offsets(kh), _offsets(kw))
    copies = [_shift(_shift(planes, sign * i, 2), sign * j, 3) for i, j in taps]
    rows = jnp.stack(copies).reshape(kh * kw * small.shape[-1], -1)
    dw = _dot(rows, large, (1, 0), precision).reshape(kh, kw, *sorted((c_in, c_out)))
    return dw if sign == 1 else dw.transpose(0, 1, 3, 2)


_shifted.defvjp(_shifted_fwd, _shifted_bwd)


# Wide 3x3 layers. A 1-D transform takes an axis to four arrays of half its length (or back); 2-D
# transforms are lists of 16. Tile t of an axis makes outputs 2t, 2t + 1 from inputs 2t-1 .. 2t+2.


def _split(x: Array, axis: int) -> tuple[Array, Array]:
    """Even and odd places along `axis`."""
    pairs = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
    return tuple(lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in (0, 1))


def _interleave(even: Array, odd: Array, axis: int) -> Array:
    shape = (*even.shape[:axis], 2 * even.shape[axis], *even.shape[axis + 1 :])
    return jnp.stack([even, odd], axis + 1).reshape(shape)


def _input_to_tiles(x: Array, axis: int) -> list[Array]:
    """B^T d."""
    even, odd = _split(x, axis)
    return [_shift(odd, -1, axis) - odd, even + odd, odd - even, even - _shift(even, 1, axis)]


def _tiles_to_input(v: Sequence[Array], axis: int) -> Array:
    """Transpose of `_input_to_tiles`."""
    even = v[1] - v[2] + v[3] - _shift(v[3], -1, axis)
    odd = _shift(v[0], 1, axis) - v[0] + v[1] + v[2]
    return _interleave(even, odd, axis)


def _tiles_to_output(m: Sequence[Array], axis: int) -> Array:
    """A^T m."""
    return _interleave(m[0] + m[1] + m[2], m[1] - m[2] - m[3], axis)


def _output_to_tiles(g: Array, axis: int) -> list[Array]:
    """Transpose of `_tiles_to_output`."""
    even, odd = _split(g, axis)
    return [even, even + odd, even - odd, -odd]


def _kernel_to_tiles(w: Array) -> Array:
    """G w G^T: (3, 3, C_in, C_out) to (16, C_in, C_out)."""
    transform = jnp.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], w.dtype)
    tiles = jnp.einsum("ai,bj,ijkl->abkl", transform, transform, w, precision="highest")
    return tiles.reshape(16, *w.shape[2:])


def _to_tiles_2d(transform: Callable, x: Array) -> list[Array]:
    return [tile for row in transform(x, 1) for tile in transform(row, 2)]


def _from_tiles_2d(transform: Callable, tiles: Sequence[Array]) -> Array:
    return transform([transform(tiles[4 * i : 4 * i + 4], 2) for i in range(4)], 1)


def _tiles_dot(tiles, kernels, axes, precision):
    """(N, h, w, C) arrays times one (C, C') or (C', C) matrix each."""
    return [
        _dot(tile, kernel, axes, precision).reshape(*tile.shape[:-1], -1)
        for tile, kernel in zip(tiles, kernels, strict=True)
    ]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _wide(x: Array, w: Array, precision: lax.PrecisionLike) -> Array:
    # Without gradients images are whole and large: the tiles' memory is not worth the time.
    return _plain(x, w, precision)


def _wide_fwd(x, w, precision):
    tiles = _to_tiles_2d(_input_to_tiles, x)
    products = _tiles_dot(tiles, _kernel_to_tiles(w), (1, 0), precision)
    return _from_tiles_2d(_tiles_to_output, products), (x, w)


def _wide_bwd(precision, residuals, g):
    x, w = residuals
    x_tiles = _to_tiles_2d(_input_to_tiles, x)
    g_tiles = _to_tiles_2d(_output_to_tiles, g)
    kernels, pull_w = jax.vjp(_kernel_to_tiles, w)
    dk = [_dot(a, b, (0, 0), precision) for a, b in zip(x_tiles, g_tiles, strict=True)]
    dx = _from_tiles_2d(_tiles_to_input, _tiles_dot(g_tiles, kernels, (1, 1), precision))
    return dx, pull_w(jnp.stack(dk))[0]


_wide.defvjp(_wide_fwd, _wide_bwd)
