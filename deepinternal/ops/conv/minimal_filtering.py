"""Stride-1 3x3 convolutions by minimal filtering, F(2x2, 3x3): 2.25 times fewer multiplications.

The four outputs of a 2x2 block are `A^T [(G w G^T) * (B^T d B)] A`, where d are the 4x4 inputs on which
they depend; the products over channels are 16 matrix products. Both gradients are transposes of this
expression. Here x, y and its gradient g are (N, H, W, C), w is (3, 3, C_in, C_out), and the padding is
zero 'SAME'.

A 1-D transform maps an axis to four arrays of half its length (or back); 2-D transforms are lists of
16. Tile t of an axis makes outputs 2t, 2t + 1 from inputs 2t-1 .. 2t+2.

References:
    Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, Section 4.1.
"""

import functools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import lax

from deepinternal.ops.conv.arrays import dot, shift, transposed
from deepinternal.ops.conv.forms import Form, Spec, plain
from deepinternal.types import Array


def form(spec: Spec) -> Form:
    """The form of a convolution with padding and one 3x3 kernel.

    Args:
        spec: The convolution.

    Returns:
        A form for arrays without a leading axis.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import forms, minimal_filtering
        >>> x, w = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 2, 5), np.float32)
        >>> form = minimal_filtering.form(forms.Spec((4, 4), (3, 3, 2, 5)))
        >>> jax.eval_shape(form.correlate, x, w).shape
        (1, 4, 4, 5)
    """

    def evaluate(x: Array, w: Array) -> Array:
        # Without gradients images are whole and large, and the memory for tiles does not pay off.
        return plain(spec).evaluate(_pad_to_even(x), w)[:, : x.shape[1], : x.shape[2]]

    functions = (correlate, input_grad, kernel_grad)
    return Form(evaluate, *(functools.partial(f, precision=spec.precision) for f in functions))


def correlate(x: Array, w: Array, precision: lax.PrecisionLike) -> Array:
    """Computes the convolution y.

    Args:
        x: (N, H, W, C_in).
        w: (3, 3, C_in, C_out).
        precision: As in `lax.dot_general`.

    Returns:
        (N, H, W, C_out).

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import minimal_filtering
        >>> x, w = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 2, 5), np.float32)
        >>> jax.eval_shape(lambda x, w: minimal_filtering.correlate(x, w, None), x, w).shape
        (1, 4, 4, 5)
    """
    tiles = _to_tiles_2d(_input_to_tiles, _pad_to_even(x))
    products = _tiles_dot(tiles, _kernel_to_tiles(w), (1, 0), precision)
    return _from_tiles_2d(_tiles_to_output, products)[:, : x.shape[1], : x.shape[2]]


def input_grad(g: Array, w: Array, precision: lax.PrecisionLike) -> Array:
    """Computes the gradient with respect to x.

    Args:
        g: (N, H, W, C_out), the gradient with respect to y.
        w: (3, 3, C_in, C_out).
        precision: As in `lax.dot_general`.

    Returns:
        (N, H, W, C_in).

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import minimal_filtering
        >>> g, w = np.ones((1, 4, 4, 5), np.float32), np.ones((3, 3, 2, 5), np.float32)
        >>> jax.eval_shape(lambda g, w: minimal_filtering.input_grad(g, w, None), g, w).shape
        (1, 4, 4, 2)
    """
    tiles = _to_tiles_2d(_output_to_tiles, _pad_to_even(g))
    products = _tiles_dot(tiles, _kernel_to_tiles(w), (1, 1), precision)
    return _from_tiles_2d(_tiles_to_input, products)[:, : g.shape[1], : g.shape[2]]


def kernel_grad(x: Array, g: Array, precision: lax.PrecisionLike) -> Array:
    """Computes the gradient with respect to w.

    Args:
        x: (N, H, W, C_in).
        g: (N, H, W, C_out), the gradient with respect to y.
        precision: As in `lax.dot_general`.

    Returns:
        (3, 3, C_in, C_out).

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.conv import minimal_filtering
        >>> x, g = np.ones((1, 4, 4, 2), np.float32), np.ones((1, 4, 4, 5), np.float32)
        >>> jax.eval_shape(lambda x, g: minimal_filtering.kernel_grad(x, g, None), x, g).shape
        (3, 3, 2, 5)
    """
    x_tiles = _to_tiles_2d(_input_to_tiles, _pad_to_even(x))
    g_tiles = _to_tiles_2d(_output_to_tiles, _pad_to_even(g))
    products = jnp.stack(_tiles_dot(x_tiles, g_tiles, (0, 0), precision))
    return transposed(_kernel_to_tiles, (3, 3, x.shape[-1], g.shape[-1]), products)


def _pad_to_even(x: Array) -> Array:
    """Adds a row of zeros if the number of rows is odd, and a column likewise."""
    return jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))


def _split(x: Array, axis: int) -> tuple[Array, Array]:
    """Returns the even and the odd positions along `axis`."""
    pairs = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
    return tuple(lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in (0, 1))


def _interleave(even: Array, odd: Array, axis: int) -> Array:
    shape = (*even.shape[:axis], 2 * even.shape[axis], *even.shape[axis + 1 :])
    return jnp.stack([even, odd], axis + 1).reshape(shape)


def _input_to_tiles(x: Array, axis: int) -> list[Array]:
    """B^T d."""
    even, odd = _split(x, axis)
    return [shift(odd, -1, axis) - odd, even + odd, odd - even, even - shift(even, 1, axis)]


def _tiles_to_input(v: Sequence[Array], axis: int) -> Array:
    """Transpose of `_input_to_tiles`."""
    even = v[1] - v[2] + v[3] - shift(v[3], -1, axis)
    odd = shift(v[0], 1, axis) - v[0] + v[1] + v[2]
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
    """Returns the product of each pair, contracted over their `axes`."""
    return [dot(*pair, axes, precision) for pair in zip(tiles, kernels, strict=True)]
