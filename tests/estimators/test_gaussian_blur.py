"""The Gaussian blur of an image against kernels that made it, and its parts against definitions."""

import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from scipy import optimize

from deepinternal.estimators import gaussian_blur
from deepinternal.estimators.kernel_statistics import FLOOR
from deepinternal.ops import kernel_scores, kernels


def photo():
    return skimage.data.astronaut()[:288, 100:388].astype(np.float32) / 255


def small(sigma, theta, *, scale=2, noise_std=0.0):
    """A photograph downscaled with a Gaussian, and the kernel."""
    made = np.asarray(kernels.gaussian_kernel(12 * scale, sigma, theta=theta))
    made = np.asarray(kernels.centre_kernel(made, scale))
    image = np.asarray(kernels.downscale(jnp.asarray(photo()), jnp.asarray(made), scale))
    image = image + np.random.default_rng(0).normal(0, noise_std, image.shape)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.float32) / 255, made


def estimated(image, true, *, scale=2, **known):
    found = gaussian_blur.blur(image, **known)
    made = gaussian_blur.kernel(found, scale=scale, size=10 * scale - 1)
    return found, float(kernel_scores.correlation(jnp.asarray(made), jnp.asarray(true)))


@pytest.mark.parametrize("theta", [0.0, 0.6, 2.2])
def test_rotated_gaussians_are_estimated(theta):
    image, true = small((2.1, 1.1), theta)
    found, correlation = estimated(image, true)
    assert correlation > 0.97
    assert found.widths[0] < found.widths[1]
    assert found.divergence < 0.1


def test_kernels_for_a_factor_of_four():
    image, true = small((3.8, 2.2), 0.6, scale=4)
    assert estimated(image, true, scale=4)[1] > 0.95


def test_known_noise_does_not_narrow_the_blur():
    image, true = small((2.1, 1.1), 0.6, noise_std=8 / 255)
    assert estimated(image, true, noise_std=8 / 255)[1] > 0.97
    assert estimated(image, true)[1] < 0.95


def test_transposing_the_image_transposes_the_blur():
    image, _ = small((2.1, 1.1), 0.6)
    one, other = gaussian_blur.blur(image), gaussian_blur.blur(image.swapaxes(0, 1))
    np.testing.assert_allclose(one.covariance, other.covariance[::-1, ::-1], rtol=0.03, atol=0.01)


def test_a_kernel_is_the_gaussian_of_its_covariance():
    """Less the blur of the photograph; against `ops.kernels`."""
    c, s = np.cos(0.4), np.sin(0.4)
    axes = np.array([[s, c], [c, -s]])  # columns: (row, column) of each principal axis
    total = (axes * (np.array([1.8, 1.2]) ** 2 + 0.23)) @ axes.T / 4
    blur = gaussian_blur.Blur(total, (1.0, 1.0), 0.0, 0.0, 1.0)
    expected = kernels.gaussian_kernel(20, (1.8, 1.2), theta=0.4)[:19, :19]
    made = gaussian_blur.kernel(blur, scale=2, size=19)
    np.testing.assert_allclose(made, expected / expected.sum(), atol=1e-5)


def test_moments_agree_with_weighted_patches():
    rng = np.random.default_rng(1)
    grey, weights = rng.uniform(size=(30, 25)).astype(np.float32), rng.uniform(size=(28, 23))
    weights[:20] = 0
    found, total = gaussian_blur._moments(grey, 3, weights, slice(4, 28), slice(2, 20))
    expected = np.zeros((9, 9))
    for y in range(4, 28):
        for x in range(2, 20):
            patch = grey[y : y + 3, x : x + 3].astype(np.float64).ravel()
            expected += weights[y, x] * np.outer(patch - patch.mean(), patch - patch.mean())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert total == pytest.approx(weights[4:28, 2:20].sum())


def test_the_gradient_agrees_with_finite_differences_of_the_divergence(monkeypatch):
    """Against finite differences, at a slanted Gaussian and an unequal contrast."""
    seen = {}

    def keep(cost, start, **options):
        seen["cost"] = cost
        return optimize.OptimizeResult(x=start)

    monkeypatch.setattr(optimize, "minimize", keep)
    quarters = gaussian_blur._quarters(photo()[:80, :80].mean(-1), 0.01)
    fine, coarse = map(gaussian_blur._joined, quarters)
    at = np.array([0.3, 0.4, -0.2, 0.1])
    gaussian_blur._fit(fine, coarse, at, noise=0.01)
    slope = optimize.approx_fprime(at, lambda x: seen["cost"](x)[0], 1e-6)
    np.testing.assert_allclose(seen["cost"](at)[1], slope, rtol=1e-3, atol=1e-4)


def test_images_without_texture_have_no_spread():
    found = gaussian_blur.blur(np.full((48, 60, 3), 0.4, np.float32))
    assert found.spread < FLOOR
    assert np.isfinite(found.covariance).all()
    assert np.isfinite(gaussian_blur.kernel(found, scale=2, size=19)).all()
