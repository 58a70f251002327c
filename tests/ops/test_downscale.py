"""Downscaling with kernels, against SciPy and fractions; its gradients, against differences."""

import math
from fractions import Fraction

import jax
import numpy as np
import pytest

from deepinternal.ops import kernels, sampling
from tests.blurring import downscaled, random_image, skewed_kernel

downscale = jax.jit(kernels.downscale, static_argnames=("scale", "output_shape"))


@pytest.mark.parametrize(
    ("shape", "scale"), [((7, 7), 2), ((6, 6), 1), ((5, 8), (2, 3)), ((1, 1), 3)]
)
def test_downscale_is_a_strided_correlation(shape, scale):
    image, kernel = random_image(24, 30, 3), random_image(*shape)
    kernel /= kernel.sum()
    v, h = np.broadcast_to(scale, 2)
    expected = downscaled(image, kernel, slice(None, None, v), slice(None, None, h))
    np.testing.assert_allclose(downscale(image, kernel, scale), expected, atol=2e-6)


@pytest.mark.parametrize("scale", [(2, 3), (1.5, 2.7), (4, 1)])
def test_downscale_of_sizes_that_do_not_divide(scale):
    image, kernel = random_image(25, 31, 2), skewed_kernel(6)
    rows, columns = (
        np.round(np.linspace(0, n - s, int(np.ceil(n / s)))).astype(int)
        for n, s in zip((25, 31), scale, strict=True)
    )
    expected = downscaled(image, kernel, rows, columns)
    got = downscale(image, kernel, scale)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_downscale_to_a_given_shape():
    image, kernel = random_image(20, 21, 1), skewed_kernel(5)
    rows = np.round(np.linspace(0, 18, 7)).astype(int)
    columns = np.round(np.linspace(0, 19, 12)).astype(int)
    expected = downscaled(image, kernel, rows, columns)
    got = downscale(image, kernel, 2, output_shape=(7, 12))
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_kernel_larger_than_the_image():
    image, kernel = random_image(4, 5, 1), random_image(13, 13)
    kernel /= kernel.sum()
    expected = downscaled(image, kernel, slice(None, None, 2), [0, 2, 3])
    np.testing.assert_allclose(downscale(image, kernel, (2, 2)), expected, atol=2e-6)


def _on_canvas(image, kernel, scale, shape, size=None, small=None):
    """Results for an image of a traced size in the corner of a canvas of large random numbers."""
    (h, w, c), results = image.shape, []
    for seed in (1, 2):
        canvas = 1e6 * random_image(40, 36, c, seed=seed)
        canvas[:h, :w] = image
        got = downscale(canvas, kernel, scale, output_shape=shape, size=np.array(size), small=small)
        assert got.shape == (*shape, c)
        assert np.all(np.isfinite(got))
        results.append(got)
    return results


@pytest.mark.parametrize(("scale", "size"), [((2, 3), (28, 33)), (2, (6, 36)), ((4, 1), (40, 7))])
def test_downscale_on_a_canvas(scale, size):
    """The image is mirrored at its own border, even for kernels that are larger than the image."""
    image, kernel = random_image(*size, 2), skewed_kernel(9)
    v, h = np.broadcast_to(scale, 2)
    expected = downscaled(image, kernel, slice(None, None, v), slice(None, None, h))
    for got in _on_canvas(image, kernel, scale, (40 // v, 36 // h), size):
        np.testing.assert_allclose(got[: size[0] // v, : size[1] // h], expected, atol=2e-6)


@pytest.mark.parametrize("scale", [(2, 3), (1.5, 2.75), (4, 1.25)])
@pytest.mark.parametrize("size", [(25, 31), (40, 22)])
def test_downscale_on_a_canvas_of_sizes_that_do_not_divide(scale, size):
    image, kernel = random_image(*size, 2), skewed_kernel(6)
    small = tuple(int(np.ceil(n / s)) for n, s in zip(size, scale, strict=True))
    rows, columns = (
        np.round(np.linspace(0, n - s, m)).astype(int)
        for n, s, m in zip(size, scale, small, strict=True)
    )
    expected = downscaled(image, kernel, rows, columns)
    shape = tuple(int(np.ceil(n / s)) for n, s in zip((40, 36), scale, strict=True))
    for got in _on_canvas(image, kernel, scale, shape, size, np.array(small)):
        np.testing.assert_allclose(got[: small[0], : small[1]], expected, atol=2e-6)


@pytest.mark.parametrize("scale", [2, 3, 1.25, 4 / 3, 1.7])
def test_whole_positions_are_exact(scale):
    """Against fractions, for known and for traced lengths."""
    ratio = Fraction(scale).limit_denominator(64)
    traced = jax.jit(lambda length, n: sampling.whole_positions(length, scale, n, 700))
    for length in (16, 85, 173, 534, 777):
        n = math.ceil(length / ratio)
        expected = [round(i * (length - ratio) / (n - 1)) for i in range(n)]
        np.testing.assert_array_equal(sampling.whole_positions(length, scale, n, n), expected)
        np.testing.assert_array_equal(traced(length, n)[:n], expected)
        floats = sampling.sample_positions(length, scale, n)
        assert np.mean(floats != expected) < 0.05  # halves that are rounded the other way


def test_vmap_over_kernels():
    image = random_image(20, 22, 3)
    stack = np.stack([skewed_kernel(8, seed) for seed in range(3)])

    def blurred(kernel):
        return downscale(image, kernels.centre_kernel(kernel, 2), 2)

    got = jax.jit(jax.vmap(blurred))(stack)
    single = jax.jit(blurred)
    for kernel, result in zip(stack, got, strict=True):
        np.testing.assert_allclose(result, single(kernel), atol=2e-6)


def test_leading_axes():
    images, kernel = random_image(2, 3, 12, 14, 3), skewed_kernel(5)
    got = kernels.downscale(images, kernel, 2)
    assert got.shape == (2, 3, 6, 7, 3)
    for i in np.ndindex(2, 3):
        expected = downscaled(images[i], kernel, slice(0, None, 2), slice(0, None, 2))
        np.testing.assert_allclose(got[i], expected, atol=2e-6)


def test_gradients_of_downscale():
    """The result is bilinear, so that differences of the float64 reference have no step error."""
    image, kernel, g = random_image(9, 10, 2), skewed_kernel(4), random_image(5, 5, 2, seed=1)
    rows, columns = np.round(np.linspace(0, 7, 5)).astype(int), slice(0, None, 2)

    def reference(image, kernel):
        return (g * downscaled(image, kernel, rows, columns)).sum()

    def differences(f, x):
        x, out = x.astype(np.float64), np.zeros(x.shape)
        for i in np.ndindex(x.shape):
            step = np.zeros(x.shape)
            step[i] = 0.5
            out[i] = f(x + step) - f(x - step)
        return out

    loss = jax.jit(jax.grad(lambda i, k: (g * kernels.downscale(i, k, 2)).sum(), argnums=(0, 1)))
    by_image, by_kernel = loss(image, kernel)
    expected = differences(lambda x: reference(x, kernel.astype(np.float64)), image)
    np.testing.assert_allclose(by_image, expected, atol=2e-6)
    expected = differences(lambda k: reference(image, k), kernel)
    np.testing.assert_allclose(by_kernel, expected, rtol=2e-6, atol=1e-5)
