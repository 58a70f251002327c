"""Normalisation, as on CPU and as on GPUs, against NumPy in float64 and its central differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.ops import layers
from deepinternal.ops.layers import norm_and_relu, variance

EPSILON, SLOPE = 1e-5, 0.2


@pytest.fixture(params=["cpu", "gpu"])
def backend(request, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: request.param)
    return request.param


def _images():
    """Channels of mean 0, of a great mean, without variance, and with one great pixel in a corner."""
    x = np.random.default_rng(0).normal(size=(2, 9, 7, 4))
    x[..., 1] += 1000
    x[..., 2] = 7
    x[:, 0, 0, 3] = 100
    return x.astype(np.float32)


def _slopes(function, x):
    """The gradient of a function of a float64 array, by central differences."""
    found = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[i] = 1e-5
        found[i] = (function(x + step) - function(x - step)) / 2e-5
    return found


def _normalised(x, scale, shift):
    x = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + EPSILON)
    y = x * scale + shift
    return np.where(y > 0, y, SLOPE * y)


def test_normalisation_and_its_gradients(backend):
    x, g = _images(), np.random.default_rng(1).normal(size=(2, 9, 7, 4))
    scale, shift = np.array([1.0, -0.5, 2.0, 0.3]), np.array([0.1, 0.0, -0.4, 0.2])
    arrays = [jnp.asarray(a, jnp.float32) for a in (x, scale, shift)]

    @jax.jit
    def both(g, *arrays):
        made, pull = jax.vjp(lambda *a: norm_and_relu(*a, EPSILON, SLOPE), *arrays)
        return made, pull(g)

    made, gradients = both(jnp.asarray(g, jnp.float32), *arrays)
    arrays = [np.float64(a) for a in (x, scale, shift)]
    np.testing.assert_allclose(made, _normalised(*arrays), atol=2e-4)
    for i, found in enumerate(gradients):
        one = lambda a, i=i: np.sum(g * _normalised(*arrays[:i], a, *arrays[i + 1 :]))
        exact = _slopes(one, arrays[i])
        np.testing.assert_allclose(found, exact, atol=2e-4 * np.abs(exact).max())


def test_variance_inside_a_frame_and_its_gradient(backend):
    x, g = _images(), np.random.default_rng(1).normal(size=(2, 1, 1, 4))
    made, pull = jax.vjp(lambda x: variance(x, 1), jnp.asarray(x))
    exact = lambda x: x[:, 1:-1, 1:-1].var((1, 2), keepdims=True)
    np.testing.assert_allclose(made, exact(np.float64(x)), rtol=2e-4)
    slopes = _slopes(lambda x: np.sum(g * exact(x)), np.float64(x))
    np.testing.assert_allclose(pull(jnp.asarray(g, jnp.float32))[0], slopes, atol=2e-4)


def test_the_form_for_gpus_has_one_reduction(monkeypatch):
    x, made = jnp.asarray(_images()), {}
    for name in ("cpu", "gpu"):
        monkeypatch.setattr(jax, "default_backend", lambda name=name: name)
        made[name] = str(jax.make_jaxpr(lambda x: variance(x, 0))(x))
    assert made["gpu"].count("reduce_sum") == 1
    assert made["cpu"].count("reduce_sum") == 2


def test_images_within_a_canvas_are_normalised_and_mirrored_as_if_alone():
    x = _images()[..., [0, 3]]
    canvas = np.random.default_rng(1).normal(size=(2, 12, 16, 2)).astype(np.float32)
    canvas[:, :9, :7] = x
    size, given = jnp.array([9, 7]), (np.float32([2, 3]), np.float32([1, -1]), EPSILON, SLOPE)
    made = jax.jit(layers.norm_and_relu_within, static_argnums=(3, 4))(canvas, *given, size)
    np.testing.assert_allclose(made[:, :9, :7], norm_and_relu(x, *given), atol=1e-4)
    made = jax.jit(layers.reflect_within, static_argnums=1)(canvas, 3, size)
    expected = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)), "reflect")
    np.testing.assert_array_equal(made[:, :15, :13], expected)
