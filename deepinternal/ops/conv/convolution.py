"""A convolution that also trains fast on CPU, computed in a form chosen for its shapes and backend.

On accelerators `conv2d` is `lax.conv_general_dilated`. On CPU that function is as fast as the
arithmetic allows if XLA uses Eigen for it (see `engine.compiling`), with the exceptions in `fastest`.
Only `choose` chooses a form; `ops.conv.forms` defines forms.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from deepinternal.ops.conv import batching as several
from deepinternal.ops.conv import forms, minimal_filtering
from deepinternal.ops.conv.cells import in_cells
from deepinternal.ops.conv.forms import Form, Function, Spec, plain
from deepinternal.types import Array, InputError

# Least number of channels at which 16 matrix products replace a convolution. With fewer channels they
# are no faster, and they take seconds longer to compile.
_WIDE = 64
_MIN_PIXELS = 32 * 32  # with fewer pixels the copies cost more than they save
_CELL_CHANNELS = 32  # greatest number of channels at which the input's gradient is faster in cells


def conv2d(
    x: Array,
    w: Array,
    *,
    stride: int = 1,
    padding: str = "SAME",
    precision: lax.PrecisionLike = None,
    batching: str | None = None,
) -> Array:
    """Convolves images with a kernel (more exactly, correlates them).

    The form is chosen while tracing, from the default backend and the shapes. The special forms agree
    with `lax.conv_general_dilated` up to float rounding. Only reverse-mode differentiation is
    supported; it may be nested.

    Under `jax.vmap`, images that share a kernel become one larger batch. Kernels that differ from image
    to image use one of these forms:

    * 'loop': one image after another, unrolled, each as without `jax.vmap`.
    * 'grouped': a grouped convolution, whose gradients are grouped, too.
    * 'patches': batched matrix products.
    * 'hybrid': 'grouped', with the matrix product for the kernel's gradient.

    bfloat16 arrays give bfloat16 results and gradients. Products are summed in float32.

    Args:
        x: (N, H, W, C_in), H, W >= 1; without padding at least as large as the kernel.
        w: (kh, kw, C_in, C_out), of the dtype of `x`.
        stride: Stride of both axes; must be 1 with padding.
        padding: 'SAME' (zeros) or 'VALID' (none).
        precision: As in `lax.conv_general_dilated`.
        batching: One of the forms above. None: 'loop' on CPU, which is the fastest in measurements, and
            that of `ops.conv.batching.best` on accelerators.

    Returns:
        (N, H, W, C_out); without padding (N, (H - kh) // stride + 1, ..., C_out).

    Raises:
        InputError: `batching` or `padding` is unknown, or there is a stride with padding.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.conv import conv2d
        >>> x, w = np.ones((1, 4, 5, 2), np.float32), np.ones((3, 3, 2, 3), np.float32)
        >>> conv2d(x, w).shape, conv2d(x, w, padding="VALID").shape
        ((1, 4, 5, 3), (1, 2, 3, 3))
    """
    if padding not in ("SAME", "VALID") or (padding == "SAME" and stride != 1):
        raise InputError(
            f"padding={padding!r}, stride={stride}: must be 'SAME' with stride 1, or 'VALID'"
        )
    if batching not in (None, *several.FORMS):
        raise InputError(
            f"batching={batching!r}: choose one of {', '.join(several.FORMS)}, or None"
        )
    padded = padding == "SAME" or w.shape[:2] == (1, 1) == (stride, stride)
    spec = Spec(x.shape[1:3], w.shape, padded, stride, precision)
    return _evaluate((spec, batching), x[None], w[None]).squeeze(0)


def choose(spec: Spec, batching: str | None, *, kernels: int, images: int, dtype) -> Form:
    """Chooses the form of several kernels for the default backend.

    Args:
        spec: The convolution.
        batching: As in `conv2d`.
        kernels: Number A of kernels.
        images: Number N of images for each kernel.
        dtype: Dtype of the arrays.

    Returns:
        A form for arrays with a leading axis of size A.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import convolution, forms
        >>> x, w = np.ones((2, 1, 4, 4, 2), np.float32), np.ones((2, 3, 3, 2, 5), np.float32)
        >>> spec = forms.Spec((4, 4), (3, 3, 2, 5))
        >>> form = convolution.choose(spec, "patches", kernels=2, images=1, dtype=np.float32)
        >>> jax.eval_shape(form.evaluate, x, w).shape
        (2, 1, 4, 4, 5)
    """
    on_cpu = jax.default_backend() == "cpu"
    if on_cpu and dtype == jnp.bfloat16:  # converted once; XLA would convert the sums as well
        wide = choose(spec, batching, kernels=kernels, images=images, dtype=jnp.float32)
        return wide.map(_in_float32)
    if batching is None:
        batching = "loop" if on_cpu else several.best(spec, images)
    if batching == "loop" or kernels == 1:
        return several.one_by_one(fastest(spec, images))
    return getattr(several, batching)(spec)


def _in_float32(function: Function) -> Function:
    return lambda a, b: function(a.astype(jnp.float32), b.astype(jnp.float32)).astype(a.dtype)


def fastest(spec: Spec, images: int) -> Form:
    """Returns the form of one kernel that trains fastest on the default backend.

    On CPU there are exceptions to JAX's own form:

    * Wide 3x3 layers use the minimal filtering algorithm.
    * With padding, the kernel's gradient is that without padding of an input framed by zeros.
    * Without padding, layers that reduce the channels are convolutions of rows. With a stride, the
      kernel's gradient, and with few channels also the input's, is computed in cells.

    Args:
        spec: The convolution.
        images: Number N of images.

    Returns:
        A form for arrays without a leading axis.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import convolution, forms
        >>> x, w = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 2, 5), np.float32)
        >>> form = convolution.fastest(forms.Spec((4, 4), (3, 3, 2, 5)), images=1)
        >>> jax.eval_shape(form.evaluate, x, w).shape
        (1, 4, 4, 5)
    """
    form, (kh, kw, c_in, c_out) = plain(spec), spec.kernel
    pixels = images * spec.size[0] * spec.size[1]
    if jax.default_backend() != "cpu" or pixels < _MIN_PIXELS:
        return form
    if spec.stride > 1:
        cells = in_cells(spec, plain)
        form = dataclasses.replace(form, kernel_grad=cells.kernel_grad)
        few = max(c_in, c_out) <= _CELL_CHANNELS
        return dataclasses.replace(form, input_grad=cells.input_grad) if few else form
    if (kh, kw) == (3, 3) and min(c_in, c_out) >= _WIDE:
        wide = minimal_filtering.form
        return wide(spec) if spec.padded else forms.without_padding(spec, wide)
    if spec.padded:
        return dataclasses.replace(form, kernel_grad=forms.framed_kernel_grad(spec))
    if c_in > c_out and kh > 1:
        rows = forms.correlate_rows(spec)
        return dataclasses.replace(form, evaluate=rows, correlate=rows)
    return form


# Gradients and jax.vmap. From here on, all arrays have the leading axis of the A kernels.


def _of_all(part: Callable[[Form], Function], *, second_is_kernel: bool = True) -> Callable:
    """The function `part` of a form for all A kernels; under `jax.vmap` the new axis joins A or N.

    Its first argument is (spec, batching), which is not differentiated.
    """

    @functools.partial(jax.jit, static_argnums=0, inline=True)  # equal layers are traced once
    def chosen(options: tuple[Spec, str | None], a: Array, b: Array) -> Array:
        form = choose(*options, kernels=len(a), images=a.shape[1], dtype=a.dtype)
        return part(form)(a, b)

    def mapped(options: tuple[Spec, str | None], a: Array, b: Array) -> Array:
        function = custom_vmap(functools.partial(chosen, options))

        @function.def_vmap
        def rule(size: int, batched: list[bool], a: Array, b: Array):
            if second_is_kernel and not batched[1]:  # one kernel for all: more images for it
                a = a.swapaxes(0, 1)
                y = mapped(options, a.reshape(a.shape[0], -1, *a.shape[3:]), b)
                return y.reshape(*a.shape[:3], *y.shape[2:]).swapaxes(0, 1), True
            a, b = (
                (x if is_batched else jnp.broadcast_to(x, (size, *x.shape)))
                for x, is_batched in zip((a, b), batched, strict=True)
            )
            y = mapped(options, *(x.reshape(-1, *x.shape[2:]) for x in (a, b)))
            return y.reshape(size, -1, *y.shape[1:]), True

        return function(a, b)

    return jax.custom_vjp(mapped, nondiff_argnums=(0,))


_evaluate = _of_all(lambda form: form.evaluate)
_correlate = _of_all(lambda form: form.correlate)
_input_grad = _of_all(lambda form: form.input_grad)
_kernel_grad = _of_all(lambda form: form.kernel_grad, second_is_kernel=False)


def _correlate_bwd(options, residuals, g):
    x, w = residuals
    return _input_grad(options, g, w), _kernel_grad(options, x, g)


def _input_grad_bwd(options, residuals, x):
    g, w = residuals
    return _correlate(options, x, w), _kernel_grad(options, x, g)


def _kernel_grad_bwd(options, residuals, w):
    x, g = residuals
    return _input_grad(options, g, w), _correlate(options, x, w)


# Each function is a gradient of the others, and the forward passes are again differentiable functions,
# so that gradients can be nested.
_evaluate.defvjp(lambda options, *xw: (_correlate(options, *xw), xw), _correlate_bwd)
_correlate.defvjp(lambda options, *xw: (_correlate(options, *xw), xw), _correlate_bwd)
_input_grad.defvjp(lambda options, *gw: (_input_grad(options, *gw), gw), _input_grad_bwd)
_kernel_grad.defvjp(lambda options, *xg: (_kernel_grad(options, *xg), xg), _kernel_grad_bwd)
