"""Moments of clipped noise, compared with those of samples."""

import numpy as np
import pytest

from deepinternal import estimators

SAMPLES = np.random.default_rng(0).standard_normal(200_000)


@pytest.mark.parametrize("std", [0.02, 0.2, 1.0])
@pytest.mark.parametrize("x", [0.0, 0.03, 0.5, 0.9, 1.0])
def test_mean_and_variance_agree_with_samples(x, std):
    clipped = np.clip(x + std * SAMPLES, 0, 1)
    np.testing.assert_allclose(estimators.clipped_mean(x, std), clipped.mean(), atol=0.01 * std)
    np.testing.assert_allclose(estimators.clipped_variance(x, std), clipped.var(), rtol=0.02)


@pytest.mark.parametrize("std", [0.0, 0.001, 0.1, 0.5, 1.0])
def test_the_inverse_returns_the_clean_values(std):
    x = np.linspace(0, 1, 501, dtype=np.float32)
    found = estimators.clipped_mean_inverse(estimators.clipped_mean(x, std), std)
    np.testing.assert_allclose(found, x, atol=2e-6)


def test_impossible_means_give_black_or_white():
    found = estimators.clipped_mean_inverse(np.array([0.0, 0.03, 0.97, 1.0]), 0.1)
    np.testing.assert_allclose(found, [0, 0, 1, 1], atol=1e-6)


def test_standard_deviations_may_differ_between_pixels():
    x, std = np.full((2, 3, 1), 0.1, np.float32), np.array([0.0, 0.1, 0.3], np.float32)
    found = estimators.clipped_mean(x, std)
    assert found.shape == (2, 3, 3)
    alone = [estimators.clipped_mean(x[..., 0], s) for s in std]
    np.testing.assert_allclose(found, np.stack(alone, axis=-1), rtol=1e-6)
