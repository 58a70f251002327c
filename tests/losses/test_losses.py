"""Loss terms and their weighted sum, against NumPy and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.losses.compose import weighted_sum
from deepinternal.losses.pixel import l1, l2

REFERENCE = {
    l1: lambda a, b: np.abs(a - b).mean(),
    l2: lambda a, b: ((a - b) ** 2).mean(),
}


def _pair():
    """Two images nowhere closer than 0.05, so that small steps cross no kink of |x|."""
    rng = np.random.default_rng(0)
    target = rng.uniform(size=(4, 5, 3))
    gap = rng.choice([-1, 1], target.shape) * rng.uniform(0.05, 0.4, target.shape)
    return (target + gap).astype(np.float32), target.astype(np.float32)


@pytest.mark.parametrize("loss", REFERENCE)
def test_value_is_the_mean(loss):
    a, b = _pair()
    got = jax.jit(loss)(a, b)
    assert got.shape == ()
    np.testing.assert_allclose(got, REFERENCE[loss](a.astype(np.float64), b), rtol=1e-6)
    assert loss(b, b) == 0


@pytest.mark.parametrize("loss", REFERENCE)
def test_gradient(loss):
    a, b = (x.astype(np.float64) for x in _pair())
    by_prediction, by_target = np.zeros(a.shape), np.zeros(a.shape)
    for i in np.ndindex(a.shape):
        step = np.zeros(a.shape)
        step[i] = 0.01
        by_prediction[i] = (REFERENCE[loss](a + step, b) - REFERENCE[loss](a - step, b)) / 0.02
        by_target[i] = (REFERENCE[loss](a, b + step) - REFERENCE[loss](a, b - step)) / 0.02
    got = jax.grad(loss, argnums=(0, 1))(*_pair())
    np.testing.assert_allclose(got[0], by_prediction, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(got[1], by_target, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("loss", REFERENCE)
def test_gradient_at_equal_arrays(loss):
    """At a perfect fit the gradient is finite and no larger than next to it."""
    x = jnp.ones((2, 3))
    gradient = jax.grad(loss)(x, x)
    assert np.all(np.isfinite(gradient))
    assert np.abs(gradient).max() <= 1 / x.size + 1e-7


def test_weighted_sum():
    terms = {"pixel": jnp.float32(2.0), "smooth": jnp.float32(3.0), "edge": jnp.float32(-5.0)}
    weights = {"edge": 0.25, "pixel": 1.5, "smooth": jnp.float32(0.1)}
    expected = 1.5 * 2 + 0.1 * 3 - 0.25 * 5
    np.testing.assert_allclose(weighted_sum(terms, weights), expected, rtol=1e-6)
    gradient = jax.grad(weighted_sum)(terms, weights)
    for name, weight in weights.items():
        np.testing.assert_allclose(gradient[name], weight)


@pytest.mark.parametrize(
    "weights",
    [{"pixel": 1.0}, {"pixel": 1.0, "edge": 1.0, "smooth": 0.0}, {"pixel": 1.0, "ege": 1.0}],
)
def test_names_must_agree(weights):
    terms = {"pixel": jnp.float32(2.0), "edge": jnp.float32(3.0)}
    with pytest.raises(ValueError, match=r"\['edge', 'pixel'\] but weights for \["):
        weighted_sum(terms, weights)
