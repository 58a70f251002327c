"""Gaussian mixtures, against scipy's densities and against the mixture that values are drawn from."""

import jax
import numpy as np
from scipy import stats

from deepinternal.ops import gaussian_mixtures

fit = jax.jit(gaussian_mixtures.fit_mixture, static_argnames=("components", "rounds"))


def _drawn(count=2000):
    """Values of two components that do not overlap, a quarter of them of the first."""
    rng = np.random.default_rng(0)
    first = rng.multivariate_normal([0, 0, 0], np.diag([1, 4, 9]), count // 4)
    second = rng.multivariate_normal([30, -20, 10], np.diag([4, 1, 1]), count - count // 4)
    return np.float32(np.concatenate([first, second]))


def test_the_fit_finds_the_mixture_that_the_values_are_drawn_from():
    values = _drawn()
    made = fit(
        jax.random.key(0), values, np.ones(len(values), np.float32), components=2, floor=1e-3
    )
    order = np.argsort(made.log_weights)
    np.testing.assert_allclose(np.exp(made.log_weights)[order], [0.25, 0.75], atol=1e-3)
    parts = np.split(values, [len(values) // 4])
    for index, part in zip(order, parts):
        np.testing.assert_allclose(made.means[index], part.mean(0), atol=0.02)
        white = np.float64(made.whitening[index])
        np.testing.assert_allclose(
            np.linalg.inv(white.T @ white), np.cov(part.T, bias=True), rtol=0.02, atol=0.05
        )


def test_the_density_equals_that_of_scipy():
    values = _drawn(200)
    made = fit(jax.random.key(1), values, np.ones(len(values), np.float32), components=3, floor=0.5)
    expected = 0
    for share, mean, white in zip(*map(np.float64, (np.exp(made.log_weights), *made[1:]))):
        covariance = np.linalg.inv(white.T @ white)
        expected = expected + share * stats.multivariate_normal(mean, covariance).pdf(values)
    found = jax.jit(gaussian_mixtures.log_density)(made, values)
    np.testing.assert_allclose(found, np.log(expected), rtol=1e-4, atol=1e-4)


def test_values_without_weight_do_not_count():
    values = _drawn()
    weights = np.float32(np.arange(len(values)) < len(values) // 4)
    made = fit(jax.random.key(0), values, weights, components=1, floor=1e-3)
    np.testing.assert_allclose(made.means[0], values[: len(values) // 4].mean(0), atol=0.01)
