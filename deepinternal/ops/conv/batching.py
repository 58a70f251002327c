"""Forms of convolution for several kernels, with N images for each kernel.

JAX itself turns this into a grouped convolution, which is slow on CPU and whose gradients are reported
to be slow on GPUs (JAX issue 13800). `patches` and `taps` are batched matrix products instead, with
stride 1 and padding.
"""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.ops.conv.forms import Form, Function, Spec, dot, shift
from deepinternal.types import Array

FORMS = ("loop", "grouped", "patches", "taps")  # the choices of `batching`

Look = Callable[[Array], Array]


def one_by_one(form: Form) -> Form:
    """Applies the form of one kernel to one kernel after another, unrolled."""

    def unrolled(function: Function) -> Function:
        def every(a: Array, b: Array) -> Array:
            pairs = zip(jnp.unstack(a), jnp.unstack(b), strict=True)
            return jnp.stack([function(*pair) for pair in pairs])

        return every

    return form.map(unrolled)


def patches(spec: Spec) -> Form:
    """Joins all shifted copies of the side with fewer channels in one batched matrix product."""
    kh, kw, c_in, c_out = spec.kernel
    taps = kh * kw

    def correlate(looks: list[Look], x: Array, w: Array) -> Array:
        *_, inputs, outputs = w.shape
        if inputs <= outputs:
            rows = w.reshape(-1, taps * inputs, outputs)
            return _products(_copies(x, looks), rows, (1, 0), spec.precision)
        columns = w.reshape(-1, taps, inputs, outputs).swapaxes(1, 2)
        products = _products(x, columns.reshape(-1, inputs, taps * outputs), (1, 0), spec.precision)
        parts = jnp.split(products, taps, -1)
        return sum(look(part) for look, part in zip(looks, parts, strict=True))

    def kernel_grad(x: Array, g: Array) -> Array:
        if c_in <= c_out:
            dw = _products(_copies(x, _looks(spec, 1)), g, (0, 0), spec.precision)
        else:
            dw = _products(x, _copies(g, _looks(spec, -1)), (0, 0), spec.precision)
            dw = dw.reshape(-1, c_in, taps, c_out).swapaxes(1, 2)
        return dw.reshape(-1, *spec.kernel)

    return _form(spec, correlate, kernel_grad)


def taps(spec: Spec) -> Form:
    """Sums one batched matrix product for each tap of the kernel."""
    *_, c_in, c_out = spec.kernel

    def correlate(looks: list[Look], x: Array, w: Array) -> Array:
        w = w.reshape(-1, len(looks), *w.shape[-2:])
        pairs = ((look(x), w[:, i]) for i, look in enumerate(looks))
        return sum(_products(*pair, (1, 0), spec.precision) for pair in pairs)

    def kernel_grad(x: Array, g: Array) -> Array:
        if c_in <= c_out:
            sides = [(look(x), g) for look in _looks(spec, 1)]
        else:
            sides = [(x, look(g)) for look in _looks(spec, -1)]
        dw = jnp.stack([_products(*pair, (0, 0), spec.precision) for pair in sides], 1)
        return dw.reshape(-1, *spec.kernel)

    return _form(spec, correlate, kernel_grad)


def _form(spec: Spec, correlate: Callable[..., Array], kernel_grad: Function) -> Form:
    """The form of `correlate(looks, x, w)`, which also maps g and w's transpose to x's gradient."""

    def forward(x: Array, w: Array) -> Array:
        return correlate(_looks(spec, 1), x, w)

    def input_grad(g: Array, w: Array) -> Array:
        return correlate(_looks(spec, -1), g, w.swapaxes(-2, -1))

    return Form(forward, forward, input_grad, kernel_grad)


def _looks(spec: Spec, sign: int) -> list[Look]:
    """For each tap, the function that shifts (A, N, H, W, C) to the tap's position, or back."""
    places = (range(-low, high + 1) for low, high in spec.frame)
    return [
        lambda x, i=i, j=j: shift(shift(x, sign * i, 2), sign * j, 3)
        for i, j in itertools.product(*places)
    ]


def _copies(x: Array, looks: list[Look]) -> Array:
    """Joins shifted copies: (A, N, H, W, C) to (A, N, H, W, taps * C)."""
    return jnp.concatenate([look(x) for look in looks], -1)


def _products(a: Array, b: Array, axes: tuple[int, int], precision: lax.PrecisionLike) -> Array:
    """Computes A matrix products of (A, ..., C) arrays, each as in `dot`."""
    return jax.vmap(lambda a, b: dot(a, b, axes, precision))(a, b)
