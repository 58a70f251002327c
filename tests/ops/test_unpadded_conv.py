"""conv2d without padding and with strides: value and gradients against float64, in every form."""

import jax
import numpy as np
import pytest

from deepinternal.ops.conv import batching
from deepinternal.ops.conv.convolution import conv2d
from deepinternal.types import InputError
from tests.convolving import convolved

# x, kernel, stride. On CPU: rows, cells for both gradients twice, minimal filtering, plain.
SHAPES = [
    ((1, 36, 41, 12), (5, 5, 12, 6), 1),
    ((2, 43, 40, 3), (5, 4, 3, 8), 2),
    ((1, 67, 66, 5), (3, 3, 5, 7), 2),
    ((1, 35, 38, 66), (3, 3, 66, 64), 1),
    ((1, 66, 70, 6), (3, 3, 6, 34), 2),  # cells for the kernel's gradient only
    ((1, 9, 8, 4), (3, 3, 4, 5), 3),
]


def arrays(x_shape, w_shape, stride, count=()):
    rng = np.random.default_rng(0)
    size = [(n - k) // stride + 1 for n, k in zip(x_shape[1:3], w_shape[:2], strict=True)]
    shapes = (x_shape, w_shape, (x_shape[0], *size, w_shape[-1]))
    return tuple(rng.standard_normal((*count, *s)).astype(np.float32) for s in shapes)


def value_and_gradients(stride, form=None):
    def function(x, w, g):
        conv = lambda x, w: conv2d(x, w, stride=stride, padding="VALID", batching=form)
        y, pull = jax.vjp(conv, x, w)
        return (y, *pull(g))

    return function


def assert_close(actual, desired):
    scale = 2e-5 * np.sqrt(np.mean(desired**2))
    np.testing.assert_allclose(np.asarray(actual), desired, rtol=0, atol=scale)


@pytest.mark.parametrize(("x_shape", "w_shape", "stride"), SHAPES)
def test_value_and_gradients_match_float64(x_shape, w_shape, stride):
    x, w, g = arrays(x_shape, w_shape, stride)
    made = jax.jit(value_and_gradients(stride))(x, w, g)
    for actual, desired in zip(made, convolved(x, w, g, stride=stride), strict=True):
        assert actual.shape == desired.shape
        assert_close(actual, desired)


@pytest.mark.parametrize("form", batching.FORMS)
@pytest.mark.parametrize("stride", [1, 2])
def test_kernels_that_differ_from_image_to_image(form, stride):
    many = arrays((1, 10, 11, 3), (5, 3, 3, 4), stride, count=(2,))
    made = jax.jit(jax.vmap(value_and_gradients(stride, form)))(*many)
    for i, one in enumerate(zip(*many, strict=True)):
        for actual, desired in zip(made, convolved(*one, stride=stride), strict=True):
            assert_close(actual[i], desired)


@pytest.mark.parametrize(("padding", "stride"), [("SAME", 2), ("reflect", 1)])
def test_unsupported_arguments_are_refused(padding, stride):
    x, w, _ = arrays((1, 5, 5, 1), (3, 3, 1, 1), 1)
    with pytest.raises(InputError, match=padding):
        conv2d(x, w, stride=stride, padding=padding)
