"""Forms of convolution for several kernels, with N images for each kernel.

* `one_by_one` unrolls a loop over the kernels.
* `grouped` is one convolution with a group of channels for each kernel. `jax.vmap` turns
  `lax.conv_general_dilated` into this as well, but turns the kernel's gradient into a forward
  convolution whose filters have the size of the image. Here, both gradients are transposes of the
  grouped convolution, for which cuDNN has functions of their own.
* `patches` is a batched matrix product of shifted copies.
* `hybrid` is `grouped`, with the kernel's gradient of `patches`.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from deepinternal.ops.conv import forms
from deepinternal.ops.conv.arrays import dot, shift
from deepinternal.ops.conv.cells import in_cells
from deepinternal.ops.conv.forms import Form, Function, Spec
from deepinternal.types import Array

FORMS = ("loop", "grouped", "hybrid", "patches")  # the choices of `batching`

# Which axes of the kernel are copied on the side of x, and which on the side of y.
_SPLITS = (((0, 1), ()), ((1,), (0,)), ((0,), (1,)), ((), (0, 1)))

# The number of values (images x pixels x channels) on the wider side of one kernel's convolution from
# which `best` is 'loop'. The loop moves the fewest bytes, but it has three more kernels for each image
# and layer. At about 4 us each, these take as long as 40 MB of memory traffic on an H100. The copies of
# 'hybrid' add 50 MB for an image of 128x128 pixels with 64 channels, and less for smaller ones.
_LARGE = 128 * 128 * 64


def best(spec: Spec, images: int) -> str:
    """Returns the form of several kernels for accelerators.

    | convolution | form | reason |
    | --- | --- | --- |
    | 1x1 kernel, stride 1 | patches | needs no copies |
    | large, see `_LARGE` | loop | the fewest bytes; one image occupies the device |
    | other | hybrid | kernels as for one image; needs no grouped kernel gradient |

    The reasons are counts of kernels and bytes from compiling for an H100. On an H200, steps of 16
    images of the preset `fast` of ZSSR took 1.26 times as long with 'grouped', which has fewer bytes
    (its kernel gradient is slow, see JAX issue 13800), and .95 times as long with 'patches'.

    Args:
        spec: The convolution.
        images: Number N of images for each kernel.

    Returns:
        One of `FORMS`.

    Example:
        >>> from deepinternal.ops.conv import batching
        >>> from deepinternal.ops.conv.forms import Spec
        >>> batching.best(Spec((64, 64), (1, 1, 16, 16)), images=1)
        'patches'
    """
    if spec.padded and spec.kernel[:2] == (1, 1):
        return "patches"
    values = images * math.prod(spec.size) * max(spec.kernel[2:])
    return "loop" if values >= _LARGE else "hybrid"


def one_by_one(form: Form) -> Form:
    """Applies the form of one kernel to one kernel after another, unrolled.

    Args:
        form: A form for arrays without a leading axis.

    Returns:
        A form for arrays with a leading axis of kernels.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import batching, forms
        >>> x, w = np.ones((2, 1, 4, 4, 2), np.float32), np.ones((2, 3, 3, 2, 5), np.float32)
        >>> form = batching.one_by_one(forms.plain(forms.Spec((4, 4), (3, 3, 2, 5))))
        >>> jax.eval_shape(form.evaluate, x, w).shape
        (2, 1, 4, 4, 5)
    """

    def unrolled(function: Function) -> Function:
        def every(a: Array, b: Array) -> Array:
            pairs = zip(jnp.unstack(a), jnp.unstack(b), strict=True)
            return jnp.stack([function(*pair) for pair in pairs])

        return every

    return form.map(unrolled)


def grouped(spec: Spec) -> Form:
    """Uses one convolution with a group of channels for each kernel.

    Args:
        spec: The convolution.

    Returns:
        A form for arrays with a leading axis of kernels.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import batching, forms
        >>> x, w = np.ones((2, 1, 4, 4, 2), np.float32), np.ones((2, 3, 3, 2, 5), np.float32)
        >>> form = batching.grouped(forms.Spec((4, 4), (3, 3, 2, 5)))
        >>> jax.eval_shape(form.evaluate, x, w).shape
        (2, 1, 4, 4, 5)
    """

    def correlate(x: Array, w: Array) -> Array:
        y = forms.convolve(spec, _channels(x), _channels(w), groups=len(w))
        return jnp.moveaxis(y.reshape(*y.shape[:-1], len(w), -1), -2, 0)

    return forms.from_correlation(correlate, spec)


def hybrid(spec: Spec) -> Form:
    """Uses `grouped`, but `patches` for the kernel's gradient.

    Layers whose numbers of channels are not multiples of 8, such as the first and the last one, use
    `patches` only: the fast functions of cuDNN need such multiples, and few channels are cheap to copy.

    Args:
        spec: The convolution.

    Returns:
        A form for arrays with a leading axis of kernels.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import batching, forms
        >>> x, w = np.ones((2, 1, 4, 4, 2), np.float32), np.ones((2, 3, 3, 2, 5), np.float32)
        >>> form = batching.hybrid(forms.Spec((4, 4), (3, 3, 2, 5)))
        >>> jax.eval_shape(form.evaluate, x, w).shape
        (2, 1, 4, 4, 5)
    """
    product = patches(spec)
    if any(channels % 8 for channels in spec.kernel[2:]):
        return product
    return dataclasses.replace(grouped(spec), kernel_grad=product.kernel_grad)


def patches(spec: Spec) -> Form:
    """Uses one batched matrix product of shifted copies of x, of y, or of both.

    The kernel's axes are split between the two sides so that the copies have the fewest channels. If a
    3x3 kernel has as many inputs as outputs, then three copies of x, shifted along the rows, make three
    summands of y, which are shifted along the columns. This is two thirds of the nine copies of one
    side.

    Args:
        spec: The convolution.

    Returns:
        A form for arrays with a leading axis of kernels.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import batching, forms
        >>> x, w = np.ones((2, 1, 4, 4, 2), np.float32), np.ones((2, 3, 3, 2, 5), np.float32)
        >>> form = batching.patches(forms.Spec((4, 4), (3, 3, 2, 5)))
        >>> jax.eval_shape(form.evaluate, x, w).shape
        (2, 1, 4, 4, 5)
    """
    return _any_stride(spec, _padded_patches)


def _any_stride(spec: Spec, padded: Callable[[Spec], Form]) -> Form:
    """The form for any padding and stride from that with padding and stride 1."""
    if spec.padded:
        return padded(spec)
    unpadded = lambda spec: forms.without_padding(spec, padded)
    return in_cells(spec, unpadded) if spec.stride > 1 else unpadded(spec)


def _padded_patches(spec: Spec) -> Form:
    *sizes, c_in, c_out = spec.kernel

    def channels(split: tuple[tuple[int, ...], ...]) -> int:
        x_copies, y_copies = (math.prod(sizes[axis] for axis in axes) for axes in split)
        return x_copies * c_in + y_copies * c_out

    split = min(_SPLITS, key=channels)

    def order(joined: tuple[int, ...], summed: tuple[int, ...]) -> tuple[int, ...]:
        """The axes of w as a matrix: those of its rows, then those of its columns."""
        return (0, *(1 + axis for axis in joined), 3, *(1 + axis for axis in summed), 4)

    def correlate(x: Array, w: Array, sign: int) -> Array:
        joined, summed = split[::sign]
        summands = list(_looks(spec, sign, summed))
        matrices = w.transpose(order(joined, summed))
        matrices = matrices.reshape(len(w), -1, len(summands) * w.shape[-1])
        copies = _copies(x, _looks(spec, sign, joined))
        if len(summands) == 1:
            return _products(copies, matrices, (1, 0), spec)
        wide = jnp.promote_types(x.dtype, jnp.float32)  # bfloat16 summands are not rounded
        products = _products(copies, matrices, (1, 0), spec, dtype=wide)
        parts = jnp.split(products, len(summands), -1)
        return sum(look(part) for look, part in zip(summands, parts, strict=True)).astype(x.dtype)

    def kernel_grad(x: Array, g: Array) -> Array:
        sides = zip((x, g), (1, -1), split, strict=True)
        copies = (_copies(a, _looks(spec, sign, axes)) for a, sign, axes in sides)
        dw = _products(*copies, (0, 0), spec)
        shape, axes = (len(x), *spec.kernel), order(*split)
        return dw.reshape([shape[i] for i in axes]).transpose([axes.index(i) for i in range(5)])

    return _form(correlate, kernel_grad)


def _form(correlate: Callable[[Array, Array, int], Array], kernel_grad: Function) -> Form:
    """The form of `correlate(x, w, sign)`, with sign -1 of g and of w's transpose."""

    def forward(x: Array, w: Array) -> Array:
        return correlate(x, w, 1)

    def input_grad(g: Array, w: Array) -> Array:
        return correlate(g, w.swapaxes(-2, -1), -1)

    return Form(forward, forward, input_grad, kernel_grad)


def _channels(x: Array) -> Array:
    """Joins the kernels' axis with the channels: (A, ..., C) to (..., A * C)."""
    return jnp.moveaxis(x, 0, -2).reshape(*x.shape[1:-1], -1)


def _looks(spec: Spec, sign: int, axes: tuple[int, ...]) -> Iterator[Callable[[Array], Array]]:
    """For each tap along `axes`, the function that shifts (A, N, H, W, C) to its position, or back."""
    ends = [(-low, high) if axis in axes else (0, 0) for axis, (low, high) in enumerate(spec.frame)]
    for i, j in itertools.product(*(range(low, high + 1) for low, high in ends)):
        yield lambda x, i=i, j=j: shift(shift(x, sign * i, 2), sign * j, 3)


def _copies(x: Array, looks: Iterator[Callable[[Array], Array]]) -> Array:
    """Joins shifted copies: (A, N, H, W, C) to (A, N, H, W, copies * C)."""
    return jnp.concatenate([look(x) for look in looks], -1)


def _products(
    a: Array, b: Array, axes: tuple[int, int], spec: Spec, *, dtype: jnp.dtype | None = None
) -> Array:
    """Computes A matrix products of (A, ..., C) arrays, each as in `dot`."""
    return jax.vmap(lambda a, b: dot(a, b, axes, spec.precision, dtype=dtype))(a, b)
