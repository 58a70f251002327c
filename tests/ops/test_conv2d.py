"""conv2d and its gradients against scipy in float64, and against lax.conv under transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from scipy import signal

from deepinternal.ops.conv.convolution import conv2d
from tests.convolving import convolved

# The last column is the form of the kernel's gradient on CPU. There are odd and tiny sizes, even
# kernels and N > 1.
SHAPES = [
    ((1, 33, 40, 66), (3, 3, 66, 65), "tiles"),
    ((1100, 1, 1, 64), (3, 3, 64, 64), "tiles"),
    ((1, 37, 35, 3), (3, 3, 3, 16), "unpadded"),
    ((3, 20, 23, 12), (3, 3, 12, 2), "unpadded"),
    ((1, 2, 600, 7), (5, 4, 7, 6), "unpadded"),
    ((1, 40, 36, 7), (1, 1, 7, 5), "product"),
    ((1, 5, 4, 3), (3, 3, 3, 16), "padded"),
]

# The numbers of shapes, and the kernel's axis.
VMAPPED = [(0, 0), (3, 0), (3, None), (4, None)]


def _lax_conv(x, w):
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _arrays(x_shape, w_shape, seed=0):
    rng = np.random.default_rng(seed)
    g_shape = (*x_shape[:-1], w_shape[-1])
    return tuple(rng.standard_normal(s).astype(np.float32) for s in (x_shape, w_shape, g_shape))


def _assert_close(actual, desired, tol=2e-6):
    desired = np.asarray(desired)
    scale = np.sqrt(np.mean(desired**2))
    np.testing.assert_allclose(np.asarray(actual), desired, rtol=0, atol=10 * tol * scale)


def _kernel_gradient(x, w, g):
    """The form of the kernel's gradient, according to its program."""
    gradient = lambda x, w, g: jax.vjp(lambda w: conv2d(x, w), w)[1](g)[0]
    text = jax.jit(gradient).lower(x, w, g).as_text()
    if "stablehlo.convolution" in text:
        return "unpadded" if "pad = [[0, 0], [0, 0]]" in text else "padded"
    return "tiles" if text.count("stablehlo.dot_general") >= 16 else "product"


@pytest.mark.parametrize(("x_shape", "w_shape", "form"), SHAPES)
def test_value_and_gradients_match_float64(x_shape, w_shape, form):
    x, w, g = _arrays(x_shape, w_shape)
    if jax.default_backend() == "cpu":
        assert _kernel_gradient(x, w, g) == form
    y, dx, dw = convolved(x, w, g, padded=True)

    @jax.jit
    def value_and_gradients(x, w, g):
        out, pull = jax.vjp(conv2d, x, w)
        return (out, *pull(g))

    for actual, desired in zip(value_and_gradients(x, w, g), (y, dx, dw), strict=True):
        _assert_close(actual, desired)
    _assert_close(jax.jit(conv2d)(x, w), y)


def test_the_reference_equals_scipy():
    x, w, g = _arrays((1, 6, 7, 3), (3, 4, 3, 2))
    framed = np.pad(x[0], [(1, 1), (1, 2), (0, 0)]).astype(np.float64)
    for channel in range(2):
        desired = signal.correlate(framed, w[..., channel].astype(np.float64), mode="valid")
        actual = convolved(x, w, g, padded=True)[0][0, ..., channel]
        np.testing.assert_allclose(actual, desired[..., 0], atol=1e-12)


@pytest.mark.parametrize(("shapes", "w_axis"), [(SHAPES[i][:2], axis) for i, axis in VMAPPED])
def test_vmapped_gradients_match_lax_conv(shapes, w_axis):
    x, w, g = (np.stack(a) for a in zip(*(_arrays(*shapes, seed=s) for s in (1, 2)), strict=True))
    w = w if w_axis == 0 else w[0]

    def grads(conv, x, w, g):
        return jax.grad(lambda x, w: jnp.vdot(jnp.tanh(conv(x, w) / 10), g), (0, 1))(x, w)

    actual = jax.jit(jax.vmap(lambda *a: grads(conv2d, *a), (0, w_axis, 0)))(x, w, g)
    plain = jax.jit(lambda *a: grads(_lax_conv, *a))
    desired = [plain(x[i], w[i] if w_axis == 0 else w, g[i]) for i in (0, 1)]
    for a, *d in zip(actual, *desired, strict=True):
        _assert_close(a, np.stack(d))


def test_eval_shape_and_other_dtypes():
    x, w = jnp.ones((1, 40, 40, 32), jnp.bfloat16), jnp.ones((3, 3, 32, 32), jnp.bfloat16)
    assert jax.eval_shape(conv2d, x, w).shape == (1, 40, 40, 32)
    assert jax.eval_shape(jax.grad(lambda w: conv2d(x, w).sum()), w).dtype == jnp.bfloat16
    f32 = jax.eval_shape(conv2d, x.astype(jnp.float32), w.astype(jnp.float32))
    assert (f32.shape, f32.dtype) == ((1, 40, 40, 32), jnp.float32)
