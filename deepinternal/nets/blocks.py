"""Building blocks of the nets: a stride-1 convolution that trains fast on CPU as well.

Activations are (N, H, W, C), kernels (kh, kw, C_in, C_out), padding is zero 'SAME'. On accelerators
`conv2d` is `lax.conv_general_dilated`. On CPU XLA's gradient of a convolution with respect to its
kernel is several times slower than its forward pass, so there two special forms take over:

* wide 3x3 layers: the minimal filtering algorithm, `nets.minimal_filtering`.
* all others: the kernel's gradient is a few matrix products of shifted copies of the input and of
  the output's gradient; the rest is `lax.conv_general_dilated`.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from deepinternal.nets import batching as batches
from deepinternal.nets import minimal_filtering
from deepinternal.nets.batching import dot, offsets, shift
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


def conv2d(
    x: Array, w: Array, *, precision: lax.PrecisionLike = None, batching: str | None = None
) -> Array:
    """Convolves (in fact correlates) with stride 1 and zero 'SAME' padding.

    The form is chosen while tracing, from the default backend and the shapes. The special forms
    agree with `lax.conv_general_dilated` up to float rounding; reverse mode only, also nested.

    Under `jax.vmap` images that share a kernel become one larger batch. Kernels that differ from image
    to image take one of these forms:

    * 'loop': one image after another, unrolled, each as it would be without `jax.vmap`.
    * 'grouped': the grouped convolution that JAX makes of `lax.conv_general_dilated`.
    * 'patches', 'taps': batched matrix products, see `nets.batching`.

    Args:
        x: (N, H, W, C_in), any H, W >= 1.
        w: (kh, kw, C_in, C_out).
        precision: as in `lax.conv_general_dilated`.
        batching: one of them; None for the backend's, see `nets.batching.form`.

    Returns:
        (N, H, W, C_out).

    Raises:
        InputError: `batching` is none of them.
    """
    options = _Options(w.shape[:2], precision, batches.form(batching))
    return _evaluate(options, x[None], w[None]).squeeze(0)


# Gradients and jax.vmap. Here arrays have a leading axis of A kernels: w is (A, kh, kw, C_in, C_out),
# x, g and y are (A, N, H, W, C), N images for each kernel.


@dataclasses.dataclass(frozen=True)
class _Options:
    size: tuple[int, int]  # (kh, kw)
    precision: lax.PrecisionLike
    batching: str


# Each is a gradient of the others, so that they can be differentiated any number of times.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _evaluate(options: _Options, x: Array, w: Array) -> Array:
    return _mapped("evaluate", options, x, w)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _correlate(options: _Options, x: Array, w: Array) -> Array:
    return _mapped("correlate", options, x, w)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _input_grad(options: _Options, g: Array, w: Array) -> Array:
    return _mapped("input_grad", options, g, w)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _kernel_grad(options: _Options, x: Array, g: Array) -> Array:
    return _mapped("kernel_grad", options, x, g)


def _correlate_bwd(options, residuals, g):
    x, w = residuals
    return _input_grad(options, g, w), _kernel_grad(options, x, g)


def _input_grad_bwd(options, residuals, x):
    g, w = residuals
    return _correlate(options, x, w), _kernel_grad(options, x, g)


def _kernel_grad_bwd(options, residuals, w):
    x, g = residuals
    return _input_grad(options, g, w), _correlate(options, x, w)


# The forward passes are differentiable functions again, for the sake of nested gradients.
_evaluate.defvjp(lambda options, *xw: (_correlate(options, *xw), xw), _correlate_bwd)
_correlate.defvjp(lambda options, *xw: (_correlate(options, *xw), xw), _correlate_bwd)
_input_grad.defvjp(lambda options, *gw: (_input_grad(options, *gw), gw), _input_grad_bwd)
_kernel_grad.defvjp(lambda options, *xg: (_kernel_grad(options, *xg), xg), _kernel_grad_bwd)


def _mapped(name: str, options: _Options, a: Array, b: Array) -> Array:
    """The function `name` for all A kernels; under `jax.vmap` the new axis joins A, or N."""
    function = custom_vmap(functools.partial(_all, name, options))

    @function.def_vmap
    def rule(size: int, batched: list[bool], a: Array, b: Array):
        if name != "kernel_grad" and not batched[1]:  # one kernel for all: more images for it
            a = a.swapaxes(0, 1)
            y = _mapped(name, options, a.reshape(a.shape[0], -1, *a.shape[3:]), b)
            return y.reshape(*a.shape[:3], *y.shape[2:]).swapaxes(0, 1), True
        a, b = (
            (x if is_batched else jnp.broadcast_to(x, (size, *x.shape)))
            for x, is_batched in zip((a, b), batched, strict=True)
        )
        y = _mapped(name, options, *(x.reshape(-1, *x.shape[2:]) for x in (a, b)))
        return y.reshape(size, -1, *y.shape[1:]), True

    return function(a, b)


@functools.partial(jax.jit, static_argnums=(0, 1), inline=True)  # equal layers are traced once
def _all(name: str, options: _Options, a: Array, b: Array) -> Array:
    """The function `name` for all A kernels."""
    form = options.batching
    if form == "loop" or len(a) == 1:
        pairs = zip(jnp.unstack(a), jnp.unstack(b), strict=True)
        return jnp.stack([_fastest(name, options, *pair) for pair in pairs])
    if form == "grouped":
        return jax.vmap(functools.partial(_plain, name, options))(a, b)
    if name == "kernel_grad":
        return batches.kernel_grad(form, a, b, options.size, options.precision)
    if name == "input_grad":
        return batches.correlate(form, a, b.swapaxes(-2, -1), options.precision, sign=-1)
    return batches.correlate(form, a, b, options.precision)


# One kernel: x, g and y are (N, H, W, C), w is (kh, kw, C_in, C_out).


def _form(x: Array, w: Array) -> str:
    """Which of the forms is the fastest to train: 'plain', 'shifted' or 'wide'."""
    pixels = x.shape[0] * x.shape[1] * x.shape[2]
    full = x.dtype == w.dtype and x.dtype in (jnp.float32, jnp.float64)
    if jax.default_backend() != "cpu" or not full or pixels < _MIN_PIXELS:
        return "plain"
    if w.shape[:2] == (3, 3) and min(w.shape[2:]) >= _WIDE:
        return "wide"
    return "shifted"


def _fastest(name: str, options: _Options, a: Array, b: Array) -> Array:
    """The function `name` in the fastest form."""
    x, w = _shapes(name, options, a, b)
    form = _form(x, w)
    if form == "wide" and name != "evaluate":
        return getattr(minimal_filtering, name)(a, b, options.precision)
    if form == "wide":
        # Without gradients images are whole and large: the tiles' memory is not worth the time.
        even = minimal_filtering.pad_to_even(a)
        return _plain(name, options, even, b)[:, : a.shape[1], : a.shape[2]]
    if form == "shifted" and name == "kernel_grad":
        narrow = min(w.shape[2:]) <= _NARROW < max(w.shape[2:])
        return (_kernel_grad_narrow if narrow else _kernel_grad_shifted)(options, a, b)
    return _plain(name, options, a, b)


def _plain(name: str, options: _Options, a: Array, b: Array) -> Array:
    """The function `name` as JAX has it."""
    x, w = _shapes(name, options, a, b)

    def conv(x: Array, w: Array) -> Array:
        dims = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=dims, precision=options.precision
        )

    if name == "input_grad":
        return jax.linear_transpose(lambda x: conv(x, b), x)(a)[0]
    if name == "kernel_grad":
        return jax.linear_transpose(lambda w: conv(a, w), w)(b)[0]
    return conv(a, b)


def _shapes(name: str, options: _Options, a: Array, b: Array):
    """Shapes of x and w, of which `a` and `b` are the arguments of the function `name`."""
    if name == "input_grad":
        return jax.ShapeDtypeStruct((*a.shape[:-1], b.shape[2]), a.dtype), b
    if name == "kernel_grad":
        return a, jax.ShapeDtypeStruct((*options.size, a.shape[-1], b.shape[-1]), a.dtype)
    return a, b


def _kernel_grad_shifted(options: _Options, x: Array, g: Array) -> Array:
    """`dw[i, j] = sum over p of x[p + (0, j)] g[p - (i, 0)]`, one matrix product for each j."""
    (kh, kw), c_in, c_out = options.size, x.shape[-1], g.shape[-1]
    rows = jnp.concatenate([shift(g, -i, 1) for i in offsets(kh)], -1)
    products = [dot(shift(x, j, 2), rows, (0, 0), options.precision) for j in offsets(kw)]
    return jnp.stack(products).reshape(kw, c_in, kh, c_out).transpose(2, 0, 1, 3)


def _kernel_grad_narrow(options: _Options, x: Array, g: Array) -> Array:
    """The same as one product: all copies of the side with few channels by the other side."""
    (kh, kw), c_in, c_out = options.size, x.shape[-1], g.shape[-1]
    small, large, sign = (x, g, 1) if c_in <= c_out else (g, x, -1)
    # Channels first: the copies are then whole planes, which XLA writes several times faster.
    planes = small.transpose(3, 0, 1, 2)
    taps = itertools.product(offsets(kh), offsets(kw))
    copies = [shift(shift(planes, sign * i, 2), sign * j, 3) for i, j in taps]
    rows = jnp.stack(copies).reshape(kh * kw * small.shape[-1], -1)
    dw = dot(rows, large, (1, 0), options.precision).reshape(kh, kw, *sorted((c_in, c_out)))
    return dw if sign == 1 else dw.transpose(0, 1, 3, 2)
