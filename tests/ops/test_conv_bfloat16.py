"""conv2d of bfloat16 arrays: the result is the exact one, rounded to bfloat16."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.ops.conv.batching import FORMS
from deepinternal.ops.conv.convolution import conv2d
from tests.convolving import convolved

ROUNDING = 2.0**-8  # half of the distance between neighbouring numbers with 8 bits


@pytest.fixture
def for_accelerators(monkeypatch):
    """Lets conv2d choose its forms for a GPU; the programs run on CPU."""
    jax.clear_caches()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    yield
    jax.clear_caches()


def arrays(x_shape, w_shape, stride=1, padded=True, count=()):
    rng = np.random.default_rng(0)
    size = [n if padded else (n - k) // stride + 1 for n, k in zip(x_shape[1:3], w_shape)]
    shapes = x_shape, w_shape, (x_shape[0], *size, w_shape[-1])
    return [jnp.asarray(rng.standard_normal((*count, *s)), jnp.bfloat16) for s in shapes]


def value_and_gradients(x, w, g, **options):
    y, pull = jax.vjp(functools.partial(conv2d, **options), x, w)
    return (y, *pull(g))


def assert_rounded(actual, desired):
    """One rounding at the end; sums in bfloat16 would have errors of many."""
    for a, d in zip(actual, desired, strict=True):
        assert a.dtype == jnp.bfloat16
        scale = np.abs(d) + 1e-2 * np.abs(d).max()
        assert np.max(np.abs(np.asarray(a, np.float64) - d) / scale) < 1.05 * ROUNDING


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "stride", "padded"),
    [
        ((2, 11, 9, 5), (3, 3, 5, 7), 1, True),
        ((1, 33, 34, 64), (3, 3, 64, 64), 1, True),
        ((1, 12, 13, 8), (5, 3, 8, 16), 2, False),
    ],
)
def test_one_kernel(x_shape, w_shape, stride, padded):
    x, w, g = arrays(x_shape, w_shape, stride, padded)
    function = functools.partial(
        value_and_gradients, stride=stride, padding="SAME" if padded else "VALID"
    )
    desired = convolved(x, w, g, stride=stride, padded=padded)
    assert_rounded(jax.jit(function)(x, w, g), desired)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("stride", "padded"), [(1, True), (2, False)])
def test_several_kernels(form, stride, padded, for_accelerators):
    many = arrays((1, 11, 10, 8), (3, 3, 8, 8), stride, padded, count=(2,))
    options = {"stride": stride, "padding": "SAME" if padded else "VALID", "batching": form}
    made = jax.jit(jax.vmap(functools.partial(value_and_gradients, **options)))(*many)
    for i, one in enumerate(zip(*many, strict=True)):
        assert_rounded([a[i] for a in made], convolved(*one, stride=stride, padded=padded))
