"""Losses of layers against NumPy in float64 and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from deepinternal.losses.layers import exclusion
from deepinternal.losses.pixel import hinted_l1, masked_l2
from deepinternal.losses.smoothness import binarity, gradient_l1, std_blur


def _random(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def _exclusion(a, b, levels=3):
    found = []
    for _ in range(levels):
        for axis in (0, 1):
            p, q = (2 / (1 + np.exp(-np.diff(x, axis=axis))) - 1 for x in (a, b))
            for i in range(a.shape[2]):
                for j in range(b.shape[2]):
                    found.append(np.mean(p[..., i] ** 2 * q[..., j] ** 2) ** 0.25)
        h, w = (n // 2 for n in a.shape[:2])
        pool = lambda x: x[: 2 * h, : 2 * w].reshape(h, 2, w, 2, -1).mean((1, 3))  # noqa: B023
        a, b = pool(a), pool(b)
    return np.mean(found)


def _std_blur(x):
    grey = x.mean(-1)
    return np.mean((grey - scipy.ndimage.uniform_filter(grey, 5, mode="mirror")) ** 2)


A, B = _random(13, 18, 3), _random(13, 18, 3, seed=1)
HINT = (_random(13, 18, 1, seed=2) < 0.3).astype(float)
CASES = {
    "exclusion": (exclusion, (A, B), _exclusion(A, B)),
    "std_blur": (std_blur, (A,), _std_blur(A)),
    "gradient_l1": (
        gradient_l1,
        (A,),
        np.abs(np.diff(A, axis=0)).mean() + np.abs(np.diff(A, axis=1)).mean(),
    ),
    "weighted_gradient_l1": (
        lambda a: gradient_l1(a, weight=jnp.asarray(HINT, a.dtype)),
        (A,),
        (HINT[:-1] * np.abs(np.diff(A, axis=0))).mean()
        + (HINT[:, :-1] * np.abs(np.diff(A, axis=1))).mean(),
    ),
    "binarity": (binarity, (A,), 1 / np.abs(A - 0.5).mean()),
    "hinted_l1": (
        lambda a, b: hinted_l1(a, b, jnp.asarray(HINT, a.dtype)),
        (A, B),
        np.abs(A - B)[HINT[..., 0] > 0].mean(),
    ),
    "masked_l2": (
        lambda a, b: masked_l2(a, b, jnp.asarray(HINT, a.dtype)),
        (A, B),
        ((A - B) ** 2 * HINT).mean(),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_values(name):
    loss, images, expected = CASES[name]
    np.testing.assert_allclose(jax.jit(loss)(*map(jnp.float32, images)), expected, rtol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_gradients_against_finite_differences(name):
    loss, images, _ = CASES[name]
    with jax.enable_x64(True):
        images = [jnp.asarray(x) for x in images]
        direction = jnp.asarray(_random(*images[0].shape, seed=3) - 0.5)
        f = lambda s: loss(images[0] + s * direction, *images[1:])
        slope = jax.jit(jax.grad(f))(0.0)
        f, step = jax.jit(f), 1e-6
        finite = (f(step) - f(-step)) / (2 * step)
    np.testing.assert_allclose(slope, finite, rtol=2e-4, atol=1e-9)


@pytest.mark.parametrize("name", ["exclusion", "std_blur", "gradient_l1"])
def test_frames_are_averaged(name):
    loss, images, _ = CASES[name]
    loss = jax.jit(loss)
    pairs = [np.stack([x, x[::-1, ::-1] ** 2]) for x in images]
    alone = [loss(*(jnp.float32(x[i]) for x in pairs)) for i in (0, 1)]
    np.testing.assert_allclose(loss(*map(jnp.float32, pairs)), np.mean(alone), rtol=1e-4)


def test_layers_without_common_edges():
    left, right = np.zeros((16, 16, 3)), np.zeros((16, 16, 3))
    left[:, :8], right[:, 8:] = A[:13, :8].mean(), 0.0
    right[4:, 12:] = 0.7
    loss = jax.jit(exclusion)
    apart = float(loss(jnp.float32(left), jnp.float32(right)))
    assert apart < 0.1 * float(loss(jnp.float32(left), jnp.float32(left)))


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_finite_for_flat_layers(name):
    loss, images, _ = CASES[name]
    flat = [jnp.full(x.shape, 0.5, jnp.float32) for x in images]
    assert np.isfinite(jax.jit(jax.grad(loss))(*flat)).all()


def test_empty_hint():
    a, b, none = (jnp.float32(x) for x in (A, B, 0 * HINT))
    value, grad = jax.jit(jax.value_and_grad(hinted_l1))(a, b, none)
    assert float(value) == 0
    assert float(jnp.abs(grad).max()) == 0


def test_binary_and_grey_masks():
    assert float(binarity(jnp.asarray([0.0, 1.0, 1.0]))) == pytest.approx(2)
    assert float(binarity(jnp.full((3,), 0.5))) == pytest.approx(1000)
