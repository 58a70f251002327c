"""Building blocks of the nets: a convolution that trains fast on CPU as well.

Activations are (N, H, W, C), kernels (kh, kw, C_in, C_out), padding is zero 'SAME' or none. On
accelerators `conv2d` is `lax.conv_general_dilated`. On CPU that is as fast as the arithmetic allows as
long as XLA leaves it to Eigen (see `engine.compiling`), with exceptions, where other forms take
over:

* wide 3x3 layers: the minimal filtering algorithm, `ops.conv.minimal_filtering`.
* the kernel's gradient with padding: without, of an input that is framed by zeros beforehand.
* without padding: layers that reduce the channels as convolutions of rows; the kernel's gradient with
  a stride, and where there are few channels the input's, in cells (`ops.conv.polyphase`).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from deepinternal.ops.conv import batching as batches
from deepinternal.ops.conv import minimal_filtering, polyphase
from deepinternal.ops.conv.batching import dot
from deepinternal.types import Array, InputError

# Channels from which 16 matrix products replace a convolution. With fewer they are no faster, and take
# seconds longer to compile.
_WIDE = 64
_MIN_PIXELS = 32 * 32  # below this the copies cost more than they save
_CELL_CHANNELS = 32  # up to which the input's gradient is faster in cells


def conv2d(
    x: Array,
    w: Array,
    *,
    stride: int = 1,
    padding: str = "SAME",
    precision: lax.PrecisionLike = None,
    batching: str | None = None,
) -> Array:
    """Convolves (in fact correlates).

    The form is chosen while tracing, from the default backend and the shapes. The special forms
    agree with `lax.conv_general_dilated` up to float rounding; reverse mode only, also nested.

    Under `jax.vmap` images that share a kernel become one larger batch. Kernels that differ from image
    to image take one of these forms:

    * 'loop': one image after another, unrolled, each as it would be without `jax.vmap`.
    * 'grouped': the grouped convolution that JAX makes of `lax.conv_general_dilated`.
    * 'patches', 'taps': batched matrix products, see `ops.conv.batching`.

    Args:
        x: (N, H, W, C_in), any H, W >= 1; without padding at least as large as the kernel.
        w: (kh, kw, C_in, C_out).
        stride: 1 with padding, else any.
        padding: 'SAME' (zeros) or 'VALID' (none).
        precision: as in `lax.conv_general_dilated`.
        batching: one of them; None for the backend's, see `ops.conv.batching.form`.

    Returns:
        (N, H, W, C_out); without padding (N, (H - kh) // stride + 1, ..., C_out).

    Raises:
        InputError: `batching` is none of them, or `padding`, or a stride goes with padding.
    """
    if padding not in ("SAME", "VALID") or (padding == "SAME" and stride != 1):
        raise InputError(f"padding={padding!r}, stride={stride}: 'SAME' with stride 1, or 'VALID'")
    image = None if padding == "SAME" or w.shape[:2] == (1, 1) == (stride, stride) else x.shape[1:3]
    options = _Options(w.shape[:2], precision, batches.form(batching), image, stride)
    return _evaluate(options, x[None], w[None]).squeeze(0)


# Gradients and jax.vmap. Here arrays have a leading axis of A kernels: w is (A, kh, kw, C_in, C_out),
# x, g and y are (A, N, H, W, C), N images for each kernel.


@dataclasses.dataclass(frozen=True)
class _Options:
    size: tuple[int, int]  # (kh, kw)
    precision: lax.PrecisionLike
    batching: str
    image: tuple[int, int] | None = None  # (H, W) of x without padding; None with padding
    stride: int = 1


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
    if options.stride > 1:
        return _in_cells(_all, name, options, a, b, options.stride)
    if options.image:
        return _padded(_all, name, options, a, b)
    if name == "kernel_grad":
        return batches.kernel_grad(form, a, b, options.size, options.precision)
    if name == "input_grad":
        return batches.correlate(form, a, b.swapaxes(-2, -1), options.precision, sign=-1)
    return batches.correlate(form, a, b, options.precision)


# One kernel: x, g and y are (N, H, W, C), w is (kh, kw, C_in, C_out).


def _form(x: Array, w: Array) -> str:
    """Which of the forms is the fastest to train: 'plain', 'direct' or 'wide'."""
    pixels = x.shape[0] * x.shape[1] * x.shape[2]
    full = x.dtype == w.dtype and x.dtype in (jnp.float32, jnp.float64)
    if jax.default_backend() != "cpu" or not full or pixels < _MIN_PIXELS:
        return "plain"
    if w.shape[:2] == (3, 3) and min(w.shape[2:]) >= _WIDE:
        return "wide"
    return "direct"


def _fastest(name: str, options: _Options, a: Array, b: Array) -> Array:
    """The function `name` in the fastest form."""
    x, w = _shapes(name, options, a, b)
    form = _form(x, w)
    if form == "plain":
        return _plain(name, options, a, b)
    if options.image:
        return _fastest_unpadded(name, options, a, b)
    if form == "wide" and name != "evaluate":
        return getattr(minimal_filtering, name)(a, b, options.precision)
    if form == "wide":
        # Without gradients images are whole and large: the tiles' memory is not worth the time.
        even = minimal_filtering.pad_to_even(a)
        return _plain(name, options, even, b)[:, : a.shape[1], : a.shape[2]]
    if name != "kernel_grad":
        return _plain(name, options, a, b)
    if options.size == (1, 1):
        return dot(a, b, (0, 0), options.precision)[None, None]
    frame = [((k - 1) // 2, k // 2) for k in options.size]
    framed = jnp.pad(a, ((0, 0), *frame, (0, 0)))
    return _plain(name, dataclasses.replace(options, image=framed.shape[1:3]), framed, b)


def _plain(name: str, options: _Options, a: Array, b: Array) -> Array:
    """The function `name` as JAX has it."""
    x, w = _shapes(name, options, a, b)

    def conv(x: Array, w: Array) -> Array:
        dims, padding = ("NHWC", "HWIO", "NHWC"), "VALID" if options.image else "SAME"
        strides = (options.stride, options.stride)
        return lax.conv_general_dilated(
            x, w, strides, padding, dimension_numbers=dims, precision=options.precision
        )

    if name == "input_grad":
        return jax.linear_transpose(lambda x: conv(x, b), x)(a)[0]
    if name == "kernel_grad":
        return jax.linear_transpose(lambda w: conv(a, w), w)(b)[0]
    return conv(a, b)


def _shapes(name: str, options: _Options, a: Array, b: Array):
    """Shapes of x and w, of which `a` and `b` are the arguments of the function `name`."""
    if name == "input_grad":
        size = options.image or a.shape[1:3]
        return jax.ShapeDtypeStruct((a.shape[0], *size, b.shape[2]), a.dtype), b
    if name == "kernel_grad":
        return a, jax.ShapeDtypeStruct((*options.size, a.shape[-1], b.shape[-1]), a.dtype)
    return a, b


def _fastest_unpadded(name: str, options: _Options, a: Array, b: Array) -> Array:
    """The fastest form of a convolution without padding, on CPU."""
    x, w = _shapes(name, options, a, b)
    kh, _, c_in, c_out = w.shape
    if options.stride > 1:
        narrow = max(c_in, c_out) <= _CELL_CHANNELS
        if name == "kernel_grad" or (name == "input_grad" and narrow):
            return _in_cells(_plain, name, options, a, b, options.stride)
        return _plain(name, options, a, b)
    if _form(x, w) == "wide":
        return _padded(_fastest, name, options, a, b)
    if name in ("evaluate", "correlate") and c_in > c_out and kh > 1:
        rows = b.transpose(1, 2, 0, 3).reshape(1, -1, c_in, kh * c_out)
        products = jnp.split(_plain(name, options, a, rows), kh, -1)
        height = options.image[0] - kh + 1
        return sum(p[:, i : i + height] for i, p in enumerate(products))
    return _plain(name, options, a, b)


# Convolutions without padding by way of others; arrays may have the leading axis of A kernels.


def _in_cells(form, name: str, options: _Options, a: Array, b: Array, side: int) -> Array:
    """The function `name` as `form` does it with cells of that side, whose stride is 1."""
    cells = polyphase.Cells(side, options.stride, options.size, options.image)
    inner = dataclasses.replace(options, size=cells.cell_kernel, image=cells.cell_image, stride=1)
    maps = {
        "input_grad": (cells.of_output, cells.of_kernel, cells.of_input),
        "kernel_grad": (cells.of_input, cells.of_output, cells.of_kernel),
    }
    default = (cells.of_input, cells.of_kernel, cells.of_output)
    to_a, to_b, of_result = maps.get(name, default)
    return _back(name, options, a, b, of_result, form(name, inner, to_a(a), to_b(b)))


def _padded(form, name: str, options: _Options, a: Array, b: Array) -> Array:
    """The function `name` as `form` does it with 'SAME' padding: the frame is dropped, or zero."""
    frame = [((k - 1) // 2, k // 2, 0) for k in options.size]

    def widen(y: Array) -> Array:
        edges = [*[(0, 0, 0)] * (y.ndim - 3), *frame, (0, 0, 0)]
        return lax.pad(y, jnp.zeros((), y.dtype), edges)

    inner = dataclasses.replace(options, image=None)
    if name == "input_grad":
        return form(name, inner, widen(a), b)
    if name == "kernel_grad":
        return form(name, inner, a, widen(b))
    return _back(name, options, a, b, widen, form(name, inner, a, b))


def _back(name, options, a, b, linear, y: Array) -> Array:
    """The transpose of `linear`, from the result of the function `name`, applied to `y`."""
    plain = functools.partial(_plain, name, options)
    plain = jax.vmap(plain) if a.ndim > 4 or b.ndim > 4 else plain
    return jax.linear_transpose(linear, jax.eval_shape(plain, a, b))(y)[0]
