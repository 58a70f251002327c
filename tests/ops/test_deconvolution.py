"""Deconvolution against dense linear algebra and SciPy."""

import jax
import numpy as np
import scipy.ndimage

from deepinternal.ops import deconvolution, kernels
from tests.tiny_methods import photo

KERNEL = np.asarray(kernels.gaussian_kernel(7, (1.4, 0.8), theta=0.5))
wiener = jax.jit(deconvolution.wiener, static_argnames="iterations")
total_variation = jax.jit(deconvolution.total_variation, static_argnames="iterations")


def blurred(image, kernel, noise=0.0):
    made = np.stack([scipy.ndimage.correlate(x, kernel) for x in np.moveaxis(image, -1, 0)], -1)
    return made + noise * np.random.default_rng(0).normal(size=made.shape)


def test_blur_is_a_correlation_without_the_border():
    image, kernel = photo(24)[:20], np.random.default_rng(0).random((5, 5)).astype(np.float32)
    inside = blurred(image, kernel)[2:-2, 2:-2]
    np.testing.assert_allclose(deconvolution.blur(image, kernel), inside, atol=1e-5)


def test_the_wiener_filter_solves_its_equations_inside():
    """Far from the border, the normal equations hold: K'(Kx - y) + ratio * D'D x = 0."""
    image, ratio = photo(64).astype(np.float64), 1e-2
    observed = blurred(image, KERNEL, 0.01)
    x = np.asarray(wiener(np.float32(observed), KERNEL, ratio, iterations=30), np.float64)
    laplacian = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    error = blurred(blurred(x, KERNEL) - observed, KERNEL[::-1, ::-1])
    error += ratio * blurred(x, laplacian)
    before = blurred(observed, laplacian) * ratio
    assert np.abs(error[12:-12, 12:-12]).max() < 0.02 * np.abs(before[12:-12, 12:-12]).max()


def test_sparse_gradients_sharpen_an_image_whose_outside_is_unknown():
    image = photo(80).astype(np.float64)
    seen = slice(8, -8)  # what lies outside is unknown
    observed = blurred(image, KERNEL, 1 / 255)[seen, seen].astype(np.float32)
    made = total_variation(observed, KERNEL, 1 / 255, 8.0)
    errors = [np.mean((x - image[seen, seen]) ** 2) for x in (made, observed)]
    assert 10 * np.log10(errors[1] / errors[0]) > 3


def test_the_mean_length_of_gradients():
    y, x = np.mgrid[:9, :11]
    ramp = np.stack([3 * y, 4 * x], -1).astype(np.float32)  # two channels
    np.testing.assert_allclose(deconvolution.mean_gradient(ramp), 5, rtol=1e-5)
