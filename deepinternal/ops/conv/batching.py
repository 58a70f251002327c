"""Convolutions of several images with a kernel of their own each, as batched matrix products.

x is (A, N, H, W, C_in), w (A, kh, kw, C_in, C_out), y and its gradient g (A, N, H, W, C_out): A
kernels, N images for each, stride 1, zero 'SAME' padding. JAX itself makes a grouped convolution of
that, which is slow on CPU and whose gradients are reported to be slow on GPUs (JAX issue 13800). Two
other forms:

* patches: all shifted copies of the side with fewer channels, and one batched matrix product. The
  copies are not kept for the backward pass.
* taps: a batched matrix product for each tap of the kernel, summed.
"""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array, InputError

FORMS = ("loop", "grouped", "patches", "taps")
_FASTEST = {"cpu": "loop"}  # as measured, benchmarks/README.md
_UNMEASURED = "patches"  # large matrix products are what accelerators are made for


def form(name: str | None) -> str:
    """`name`, or where that is None the default backend's form.

    On CPU the fastest as measured; on accelerators 'patches', which is not measured there yet.

    Raises:
        InputError: there is no such form.
    """
    if name is None:
        return _FASTEST.get(jax.default_backend(), _UNMEASURED)
    if name not in FORMS:
        raise InputError(f"batching={name!r}: choose one of {', '.join(FORMS)}, or None")
    return name


def shift(x: Array, offset: int, axis: int) -> Array:
    """`y[i] = x[i + offset]` along `axis`, zero outside."""
    size = x.shape[axis]
    offset = max(-size, min(offset, size))
    kept = lax.slice_in_dim(x, max(0, offset), size + min(0, offset), axis=axis)
    padding = [(0, 0)] * x.ndim
    padding[axis] = (max(0, -offset), max(0, offset))
    return jnp.pad(kept, padding)


def offsets(size: int) -> range:
    """Places of a kernel's taps relative to the output's place under 'SAME' padding."""
    return range(-((size - 1) // 2), size // 2 + 1)


def dot(a: Array, b: Array, axes: tuple[int, int], precision: lax.PrecisionLike) -> Array:
    """Matrix product of (..., C) arrays taken as matrices, contracting their `axes`."""
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    contracting = ((axes[0],), (axes[1],))
    return lax.dot_general(a, b, (contracting, ((), ())), precision=precision)


def correlate(
    form: str, x: Array, w: Array, precision: lax.PrecisionLike, *, sign: int = 1
) -> Array:
    """`y[p] = sum over taps o of x[p + sign o] w[o]`; form: 'patches' or 'taps'.

    With `sign` -1 and w's channels swapped it takes g to the gradient with respect to x.
    """
    *_, kh, kw, c_in, c_out = w.shape
    w = w.reshape(-1, kh * kw, c_in, c_out)
    looks = _looks((kh, kw), sign)
    if form == "taps":
        return sum(_products(look(x), w[:, i], (2, 1), precision) for i, look in enumerate(looks))
    if c_in <= c_out:
        return _products(
            _patches(x, looks), w.reshape(-1, kh * kw * c_in, c_out), (2, 1), precision
        )
    columns = w.transpose(0, 2, 1, 3).reshape(-1, c_in, kh * kw * c_out)
    products = jnp.split(_products(x, columns, (2, 1), precision), kh * kw, -1)
    return sum(look(product) for look, product in zip(looks, products, strict=True))


def kernel_grad(
    form: str, x: Array, g: Array, size: tuple[int, int], precision: lax.PrecisionLike
) -> Array:
    """`w[o] = sum over p of x[p + o] g[p]` for a kernel of `size`; form: 'patches' or 'taps'."""
    c_in, c_out = x.shape[-1], g.shape[-1]
    # What the output's gradient times a shifted input is, the input times a gradient shifted back is.
    of_input = c_in <= c_out
    looks = _looks(size, 1 if of_input else -1)
    if form == "taps":
        sides = [(look(x), g) if of_input else (x, look(g)) for look in looks]
        dw = jnp.stack([_products(*pair, (1, 1), precision) for pair in sides], 1)
    elif of_input:
        dw = _products(_patches(x, looks), g, (1, 1), precision)
    else:
        dw = _products(x, _patches(g, looks), (1, 1), precision)
        dw = dw.reshape(-1, c_in, len(looks), c_out).transpose(0, 2, 1, 3)
    return dw.reshape(-1, *size, c_in, c_out)


def _looks(size: tuple[int, int], sign: int) -> list[Callable[[Array], Array]]:
    """For each tap of a kernel the function that shifts (A, N, H, W, C) to where the tap looks."""
    taps = itertools.product(*map(offsets, size))
    return [lambda x, i=i, j=j: shift(shift(x, sign * i, 2), sign * j, 3) for i, j in taps]


def _patches(x: Array, looks: list[Callable[[Array], Array]]) -> Array:
    """(A, N, H, W, C) to (A, N, H, W, taps * C)."""
    return jnp.concatenate([look(x) for look in looks], -1)


def _products(a: Array, b: Array, axes: tuple[int, int], precision: lax.PrecisionLike) -> Array:
    """A matrix products of (A, ..., C) arrays, contracting their `axes`: 1 the pixels, 2 channels.

    Pixels that are not contracted keep their axes.
    """
    rows, columns = (side.reshape(side.shape[0], -1, side.shape[-1]) for side in (a, b))
    contracting = ((axes[0],), (axes[1],))
    dot = lax.dot_general(rows, columns, (contracting, ((0,), (0,))), precision=precision)
    return dot if axes[0] == 1 else dot.reshape(*a.shape[:-1], -1)
