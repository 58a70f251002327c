"""Forms of convolution: their definition, JAX's own form, and forms that use another form.

A *form* is a way to compute a correlation y of x and w and both of its gradients. In a form of one
kernel, x is (N, H, W, C_in), w is (kh, kw, C_in, C_out), and y and its gradient g are (N, H', W',
C_out). In a form of several kernels, every array has one more leading axis, that of the kernels.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array

Function = Callable[[Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class Spec:
    """The static description of a convolution.

    Attributes:
        size: (H, W) of x.
        kernel: (kh, kw, C_in, C_out).
        padded: Whether there is zero 'SAME' padding, with stride 1.
        stride: Stride of both axes.
        precision: As in `lax.conv_general_dilated`.
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
        """The numbers of zeros that 'SAME' padding adds before and after each axis."""
        return [((k - 1) // 2, k // 2) for k in self.kernel[:2]]


@dataclasses.dataclass(frozen=True)
class Form:
    """How a convolution and its gradients are computed.

    Attributes:
        evaluate: Maps (x, w) to y if no gradients are taken.
        correlate: Maps (x, w) to y if gradients follow.
        input_grad: Maps (g, w) to the gradient with respect to x.
        kernel_grad: Maps (x, g) to the gradient with respect to w.
    """

    evaluate: Function
    correlate: Function
    input_grad: Function
    kernel_grad: Function

    def map(self, change: Callable[[Function], Function]) -> "Form":
        """Returns the form with `change` applied to each function."""
        parts = (self.evaluate, self.correlate, self.input_grad, self.kernel_grad)
        return Form(*map(change, parts))


def _itself(x: Array) -> Array:
    return x


def plain(spec: Spec) -> Form:
    """`lax.conv_general_dilated` and its transposes, for one kernel."""
    return from_correlation(functools.partial(convolve, spec), spec)


def convolve(spec: Spec, x: Array, w: Array, *, groups: int = 1) -> Array:
    """Applies `lax.conv_general_dilated` with `groups` groups of channels."""
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=(spec.stride, spec.stride),
        padding="SAME" if spec.padded else "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
        precision=spec.precision,
    )


def from_correlation(correlate: Function, spec: Spec) -> Form:
    """The form of a correlation and its transposes, for one kernel or several."""

    def input_grad(g: Array, w: Array) -> Array:
        shape = (*g.shape[:-3], *spec.size, spec.kernel[2])
        return transposed(lambda x: correlate(x, w), shape, g)

    def kernel_grad(x: Array, g: Array) -> Array:
        return transposed(lambda w: correlate(x, w), (*x.shape[:-4], *spec.kernel), g)

    return Form(correlate, correlate, input_grad, kernel_grad)


def transposed(linear: Callable[[Array], Array], shape: tuple[int, ...], y: Array) -> Array:
    """The transpose of a linear function of arrays of `shape`, applied to `y`."""
    return jax.linear_transpose(linear, jax.ShapeDtypeStruct(shape, y.dtype))(y)[0]


def dot(
    a: Array,
    b: Array,
    axes: tuple[int, int],
    precision: lax.PrecisionLike,
    *,
    dtype: jnp.dtype | None = None,
) -> Array:
    """Returns the matrix product of two arrays, all of whose axes but the last count as one.

    Args:
        a: (..., C).
        b: (..., D).
        axes: The axes of `a` and of `b` that are contracted: 0 for the leading axes, 1 for the last.
        precision: As in `lax.dot_general`.
        dtype: Dtype of the product. Default: that of the arrays.

    Returns:
        The product, with the leading axes of `a` if they are not contracted.
    """
    rows, columns = (side.reshape(-1, side.shape[-1]) for side in (a, b))
    contracting = ((axes[0],), (axes[1],))
    product = lax.dot_general(
        *(rows, columns, (contracting, ((), ()))),
        precision=precision,
        preferred_element_type=dtype,
    )
    return product if axes[0] == 0 else product.reshape(*a.shape[:-1], -1)


def shift(x: Array, offset: int, axis: int) -> Array:
    """Shifts an array: `y[i] = x[i + offset]` along `axis`, zero outside."""
    size = x.shape[axis]
    offset = max(-size, min(offset, size))
    kept = lax.slice_in_dim(x, max(0, offset), size + min(0, offset), axis=axis)
    padding = [(0, 0)] * x.ndim
    padding[axis] = (max(0, -offset), max(0, offset))
    return jnp.pad(kept, padding)


def framed_kernel_grad(spec: Spec) -> Function:
    """The kernel's gradient with padding, computed without padding from an input framed by zeros."""

    def kernel_grad(x: Array, g: Array) -> Array:
        if spec.kernel[:2] == (1, 1):
            return dot(x, g, (0, 0), spec.precision)[None, None]
        framed = jnp.pad(x, ((0, 0), *spec.frame, (0, 0)))
        unpadded = dataclasses.replace(spec, size=framed.shape[1:3], padded=False)
        return plain(unpadded).kernel_grad(framed, g)

    return kernel_grad


def correlate_rows(spec: Spec) -> Function:
    """The result without padding and with stride 1: the sum of the convolutions with kernel rows."""

    def correlate(x: Array, w: Array) -> Array:
        kh, kw, c_in, c_out = w.shape
        rows = w.transpose(1, 2, 0, 3).reshape(1, kw, c_in, kh * c_out)
        products = jnp.split(plain(spec).correlate(x, rows), kh, -1)
        return sum(p[:, i : i + spec.result[0]] for i, p in enumerate(products))

    return correlate


def without_padding(spec: Spec, make: Callable[[Spec], Form]) -> Form:
    """The form without padding from the form `make` with padding and stride 1, by cropping y."""

    def widen(y: Array) -> Array:
        edges = [*[(0, 0, 0)] * (y.ndim - 3), *((*ends, 0) for ends in spec.frame), (0, 0, 0)]
        return lax.pad(y, jnp.zeros((), y.dtype), edges)

    return by_way_of(make(dataclasses.replace(spec, padded=True)), spec, of_y=widen)


def by_way_of(form: Form, spec: Spec, *, of_x=_itself, of_w=_itself, of_y=_itself) -> Form:
    """The form of a convolution without padding that equals another one of linearly mapped arrays.

    Args:
        form: The form of the other convolution.
        spec: The convolution without padding.
        of_x: Maps its x to that of the other convolution.
        of_w: Maps its w to that of the other convolution.
        of_y: Maps its y, and the gradient of y, to those of the other convolution.

    Returns:
        A form whose results are those of `form`, mapped back by the transposes of the functions.
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
