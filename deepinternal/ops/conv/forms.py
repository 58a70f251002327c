"""Forms of convolution: their definition, JAX's own form, and forms that use another form.

A *form* is a way to compute a correlation y of x and w and both of its gradients. In a form of one
kernel, x is (N, H, W, C_in), w is (kh, kw, C_in, C_out), and y and its gradient g are (N, H', W',
C_out). In a form of several kernels, every array has one more leading axis, that of the kernels.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from deepinternal.ops.conv.arrays import dot, transposed
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
    """The form of `lax.conv_general_dilated` and its transposes, for one kernel.

    Args:
        spec: The convolution.

    Returns:
        A form for arrays without a leading axis.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import forms
        >>> x, w = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 2, 5), np.float32)
        >>> form = forms.plain(forms.Spec((4, 4), (3, 3, 2, 5)))
        >>> jax.eval_shape(form.evaluate, x, w).shape
        (1, 4, 4, 5)
    """
    return from_correlation(functools.partial(convolve, spec), spec)


def convolve(spec: Spec, x: Array, w: Array, *, groups: int = 1) -> Array:
    """Applies `lax.conv_general_dilated` with groups of channels.

    Args:
        spec: The convolution of one group.
        x: (N, H, W, groups * C_in).
        w: (kh, kw, C_in, groups * C_out).
        groups: Number of groups of channels.

    Returns:
        (N, H', W', groups * C_out).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.conv import forms
        >>> x, w = np.ones((1, 4, 4, 4), np.float32), np.ones((3, 3, 2, 6), np.float32)
        >>> forms.convolve(forms.Spec((4, 4), (3, 3, 2, 3)), x, w, groups=2).shape
        (1, 4, 4, 6)
    """
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
    """The form of a correlation and its transposes, for one kernel or several.

    Args:
        correlate: Maps (x, w) to y, linear in both.
        spec: The convolution.

    Returns:
        A form for the arrays that `correlate` takes.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import forms
        >>> spec = forms.Spec((4, 4), (3, 3, 2, 5))
        >>> form = forms.from_correlation(lambda x, w: forms.convolve(spec, x, w), spec)
        >>> y, w = np.ones((1, 4, 4, 5), np.float32), np.ones((3, 3, 2, 5), np.float32)
        >>> jax.eval_shape(form.input_grad, y, w).shape
        (1, 4, 4, 2)
    """

    def input_grad(g: Array, w: Array) -> Array:
        shape = (*g.shape[:-3], *spec.size, spec.kernel[2])
        return transposed(lambda x: correlate(x, w), shape, g)

    def kernel_grad(x: Array, g: Array) -> Array:
        return transposed(lambda w: correlate(x, w), (*x.shape[:-4], *spec.kernel), g)

    return Form(correlate, correlate, input_grad, kernel_grad)


def framed_kernel_grad(spec: Spec) -> Function:
    """The kernel's gradient with padding, computed without padding from an input framed by zeros.

    Args:
        spec: The convolution, with padding.

    Returns:
        A function that maps (x, g) to the gradient with respect to w.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import forms
        >>> x, g = np.ones((1, 4, 4, 2), np.float32), np.ones((1, 4, 4, 5), np.float32)
        >>> gradient = forms.framed_kernel_grad(forms.Spec((4, 4), (3, 3, 2, 5)))
        >>> jax.eval_shape(gradient, x, g).shape
        (3, 3, 2, 5)
    """

    def kernel_grad(x: Array, g: Array) -> Array:
        if spec.kernel[:2] == (1, 1):
            return dot(x, g, (0, 0), spec.precision)[None, None]
        framed = jnp.pad(x, ((0, 0), *spec.frame, (0, 0)))
        unpadded = dataclasses.replace(spec, size=framed.shape[1:3], padded=False)
        return plain(unpadded).kernel_grad(framed, g)

    return kernel_grad


def correlate_rows(spec: Spec) -> Function:
    """The result without padding and with stride 1: the sum of the convolutions with kernel rows.

    Args:
        spec: The convolution, without padding and with stride 1.

    Returns:
        A function that maps (x, w) to y.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import forms
        >>> x, w = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 2, 5), np.float32)
        >>> correlate = forms.correlate_rows(forms.Spec((4, 4), (3, 3, 2, 5), padded=False))
        >>> jax.eval_shape(correlate, x, w).shape
        (1, 2, 2, 5)
    """

    def correlate(x: Array, w: Array) -> Array:
        kh, kw, c_in, c_out = w.shape
        rows = w.transpose(1, 2, 0, 3).reshape(1, kw, c_in, kh * c_out)
        products = jnp.split(plain(spec).correlate(x, rows), kh, -1)
        return sum(p[:, i : i + spec.result[0]] for i, p in enumerate(products))

    return correlate


def without_padding(spec: Spec, make: Callable[[Spec], Form]) -> Form:
    """The form without padding from a form with padding and stride 1, by cropping y.

    Args:
        spec: The convolution, without padding and with stride 1.
        make: Makes the form of a convolution with padding.

    Returns:
        A form for the arrays of the form that `make` makes.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import forms
        >>> x, w = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 2, 5), np.float32)
        >>> spec = forms.Spec((4, 4), (3, 3, 2, 5), padded=False)
        >>> jax.eval_shape(forms.without_padding(spec, forms.plain).evaluate, x, w).shape
        (1, 2, 2, 5)
    """

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

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import forms
        >>> x, w = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 2, 5), np.float32)
        >>> spec = forms.Spec((4, 4), (3, 3, 2, 5), padded=False)
        >>> form = forms.by_way_of(forms.plain(spec), spec)
        >>> jax.eval_shape(form.evaluate, x, w).shape
        (1, 2, 2, 5)
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
