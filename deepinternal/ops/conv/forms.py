"""What a form of convolution is, JAX's own form, and forms made of another one.

A *form* is a way of computing a correlation y of x and w, and both of its gradients. In a form of one
kernel x is (N, H, W, C_in), w (kh, kw, C_in, C_out), y and its gradient g (N, H', W', C_out). In a form
of several kernels every array has one more leading axis, that of the kernels.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array

Function = Callable[[Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class Spec:
    """A convolution without its numbers.

    Attributes:
        size: (H, W) of x.
        kernel: (kh, kw, C_in, C_out).
        padded: whether there is zero 'SAME' padding, with stride 1, or none.
        stride: of both axes.
        precision: as in `lax.conv_general_dilated`.
    """

    size: tuple[int, int]
    kernel: tuple[int, int, int, int]
    padded: bool = True
    stride: int = 1
    precision: lax.PrecisionLike = None

    @property
    def result(self) -> tuple[int, ...]:
        """(H', W', C_out) of y without padding."""
        sides = zip(self.size, self.kernel[:2], strict=True)
        return (*((n - k) // self.stride + 1 for n, k in sides), self.kernel[3])

    @property
    def frame(self) -> list[tuple[int, int]]:
        """Zeros that 'SAME' padding adds before and behind each axis."""
        return [((k - 1) // 2, k // 2) for k in self.kernel[:2]]


@dataclasses.dataclass(frozen=True)
class Form:
    """How a convolution and its gradients are computed.

    Attributes:
        evaluate: (x, w) to y where no gradients are taken.
        correlate: (x, w) to y where gradients follow.
        input_grad: (g, w) to the gradient with respect to x.
        kernel_grad: (x, g) to the gradient with respect to w.
    """

    evaluate: Function
    correlate: Function
    input_grad: Function
    kernel_grad: Function

    def map(self, change: Callable[[Function], Function]) -> "Form":
        """The form whose functions are `change` of these."""
        parts = (self.evaluate, self.correlate, self.input_grad, self.kernel_grad)
        return Form(*map(change, parts))


def _itself(x: Array) -> Array:
    return x


def plain(spec: Spec) -> Form:
    """`lax.conv_general_dilated` and its transposes, for one kernel."""

    def conv(x: Array, w: Array) -> Array:
        dims, padding = ("NHWC", "HWIO", "NHWC"), "SAME" if spec.padded else "VALID"
        strides = (spec.stride, spec.stride)
        return lax.conv_general_dilated(
            x, w, strides, padding, dimension_numbers=dims, precision=spec.precision
        )

    def input_grad(g: Array, w: Array) -> Array:
        return transposed(lambda x: conv(x, w), (len(g), *spec.size, spec.kernel[2]), g)

    def kernel_grad(x: Array, g: Array) -> Array:
        return transposed(lambda w: conv(x, w), spec.kernel, g)

    return Form(conv, conv, input_grad, kernel_grad)


def transposed(linear: Callable[[Array], Array], shape: tuple[int, ...], y: Array) -> Array:
    """The transpose of a linear function of arrays of `shape`, applied to `y`."""
    return jax.linear_transpose(linear, jax.ShapeDtypeStruct(shape, y.dtype))(y)[0]


def dot(a: Array, b: Array, axes: tuple[int, int], precision: lax.PrecisionLike) -> Array:
    """Matrix product of two arrays, all axes but the last taken as one.

    Args:
        a: (..., C).
        b: (..., D).
        axes: what of `a` and of `b` is contracted: 0 the leading axes, 1 the last one.
        precision: as in `lax.dot_general`.

    Returns:
        The product; leading axes of `a` that are not contracted are as they were.
    """
    rows, columns = (side.reshape(-1, side.shape[-1]) for side in (a, b))
    contracting = ((axes[0],), (axes[1],))
    product = lax.dot_general(rows, columns, (contracting, ((), ())), precision=precision)
    return product if axes[0] == 0 else product.reshape(*a.shape[:-1], -1)


def shift(x: Array, offset: int, axis: int) -> Array:
    """`y[i] = x[i + offset]` along `axis`, zero outside."""
    size = x.shape[axis]
    offset = max(-size, min(offset, size))
    kept = lax.slice_in_dim(x, max(0, offset), size + min(0, offset), axis=axis)
    padding = [(0, 0)] * x.ndim
    padding[axis] = (max(0, -offset), max(0, offset))
    return jnp.pad(kept, padding)


def framed_kernel_grad(spec: Spec) -> Function:
    """The kernel's gradient with padding, as that without of an input which zeros frame."""

    def kernel_grad(x: Array, g: Array) -> Array:
        if spec.kernel[:2] == (1, 1):
            return dot(x, g, (0, 0), spec.precision)[None, None]
        framed = jnp.pad(x, ((0, 0), *spec.frame, (0, 0)))
        unpadded = dataclasses.replace(spec, size=framed.shape[1:3], padded=False)
        return plain(unpadded).kernel_grad(framed, g)

    return kernel_grad


def correlate_rows(spec: Spec) -> Function:
    """The result without padding, stride 1: a convolution with each kernel row, and their sum."""

    def correlate(x: Array, w: Array) -> Array:
        kh, kw, c_in, c_out = w.shape
        rows = w.transpose(1, 2, 0, 3).reshape(1, kw, c_in, kh * c_out)
        products = jnp.split(plain(spec).correlate(x, rows), kh, -1)
        return sum(p[:, i : i + spec.result[0]] for i, p in enumerate(products))

    return correlate


def without_padding(spec: Spec, make: Callable[[Spec], Form]) -> Form:
    """By `make`'s form with padding, stride 1: the frame of y is dropped, that of g is zero."""

    def widen(y: Array) -> Array:
        edges = [*[(0, 0, 0)] * (y.ndim - 3), *((*ends, 0) for ends in spec.frame), (0, 0, 0)]
        return lax.pad(y, jnp.zeros((), y.dtype), edges)

    return by_way_of(make(dataclasses.replace(spec, padded=True)), spec, of_y=widen)


def by_way_of(form: Form, spec: Spec, *, of_x=_itself, of_w=_itself, of_y=_itself) -> Form:
    """The form of a convolution without padding that is another one of linear functions of its arrays.

    Args:
        form: of the other convolution.
        spec: of this one.
        of_x: makes the other one's x of this one's; so do `of_w` and `of_y` w, and y and its gradient.
        of_w: see `of_x`.
        of_y: see `of_x`.

    Returns:
        A form whose results are those of `form`, taken back by the functions' transposes.
    """

    def forward(function: Function) -> Function:
        return lambda x, w: transposed(
            of_y, (*x.shape[:-3], *spec.result), function(of_x(x), of_w(w))
        )

    def input_grad(g: Array, w: Array) -> Array:
        shape = (*g.shape[:-3], *spec.size, spec.kernel[2])
        return transposed(of_x, shape, form.input_grad(of_y(g), of_w(w)))

    def kernel_grad(x: Array, g: Array) -> Array:
        shape = (*x.shape[:-4], *spec.kernel)
        return transposed(of_w, shape, form.kernel_grad(of_x(x), of_y(g)))

    return Form(forward(form.evaluate), forward(form.correlate), input_grad, kernel_grad)
