"""Filters against SciPy and linear algebra in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from deepinternal.ops import filters

box = jax.jit(filters.box, static_argnums=1)
guided = jax.jit(filters.guided_filter, static_argnames="radius")


def _box(x, radius):
    """Sums over the window by SciPy, divided by the number of pixels inside the image."""
    size = 2 * radius + 1
    size = (size, size) + (1,) * (x.ndim - 2)
    sums = scipy.ndimage.uniform_filter(x.astype(float), size, mode="constant")
    return sums / scipy.ndimage.uniform_filter(np.ones(x.shape), size, mode="constant")


@pytest.mark.parametrize(("shape", "radius"), [((9, 14), 2), ((20, 11, 3), 4), ((6, 7), 50)])
def test_box(shape, radius):
    x = np.random.default_rng(0).random(shape)
    expected = _box(x, radius) if radius < 50 else np.full(shape, x.mean())
    np.testing.assert_allclose(box(jnp.float32(x), radius), expected, atol=2e-6)


def test_box_keeps_its_digits_in_large_images():
    x = 0.9 + 0.1 * np.random.default_rng(1).random((64, 1500)).astype(np.float32)
    np.testing.assert_allclose(box(jnp.asarray(x), 50), _box(x, 50), atol=3e-6)


def test_minimum():
    x = np.random.default_rng(2).random((17, 23))
    expected = scipy.ndimage.minimum_filter(x, 5, mode="constant", cval=np.inf)
    np.testing.assert_allclose(filters.minimum(jnp.float32(x), 5), expected, rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_guided_filter(channels):
    """Against penalised least squares in each window, and the mean of the fits."""
    rng = np.random.default_rng(3)
    guide, target, radius, epsilon = rng.random((12, 15, channels)), rng.random((12, 15)), 2, 0.01
    sums, counts = np.zeros((12, 15)), np.zeros((12, 15))
    for y in range(12):
        for x in range(15):
            window = (slice(max(y - radius, 0), y + 3), slice(max(x - radius, 0), x + 3))
            g, t = guide[window].reshape(-1, channels), target[window].ravel()
            centred = g - g.mean(0)
            normal = centred.T @ centred / len(g) + epsilon * np.eye(channels)
            slope = np.linalg.solve(normal, centred.T @ (t - t.mean()) / len(g))
            sums[window] += (guide[window] - g.mean(0)) @ slope + t.mean()
            counts[window] += 1
    made = guided(jnp.float32(guide), jnp.float32(target), radius=radius, epsilon=epsilon)
    np.testing.assert_allclose(made, sums / counts, atol=2e-5)


def test_guided_filter_follows_the_guides_edge():
    guide = np.zeros((40, 40, 3), np.float32)
    guide[:, 20:] = (0.8, 0.6, 0.5)
    blurred = scipy.ndimage.gaussian_filter((np.arange(40) >= 20).astype(float), 3)
    target = np.broadcast_to(blurred, (40, 40)).astype(np.float32)
    made = np.asarray(guided(jnp.asarray(guide), jnp.asarray(target), radius=15))
    assert made[20, 20] - made[20, 19] > 0.7
    grey = guided(jnp.asarray(guide[..., 0]), jnp.asarray(target), radius=15)
    assert float(grey[20, 20] - grey[20, 19]) > 0.7
