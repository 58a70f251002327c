"""Blur kernels against SciPy, NumPy formulas and resizing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from scipy.signal import convolve2d
from scipy.signal.windows import gaussian

from deepinternal.ops import kernels
from deepinternal.ops.resizing import resize
from tests.blurring import random_image, skewed_kernel

downscale = jax.jit(kernels.downscale, static_argnames=("scale", "output_shape"))
gaussian_kernel = jax.jit(kernels.gaussian_kernel, static_argnums=0)
centre_kernel = jax.jit(kernels.centre_kernel, static_argnames=("scale", "pad"))
doubled_kernel = jax.jit(kernels.doubled_kernel)


def test_isotropic_gaussians():
    for size, sigma in ((9, 1.3), (8, 2.0), (1, 1.0)):
        line = gaussian(size, sigma)
        expected = np.outer(line, line) / line.sum() ** 2
        got = gaussian_kernel(size, sigma)
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize("theta", [0.0, 0.4, np.pi / 2, 2.5])
def test_anisotropic_gaussians(theta):
    """The first axis points `theta` from the columns (x) towards the rows (y)."""
    turn = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    precision = np.linalg.inv(turn @ np.diag([3.0**2, 1.2**2]) @ turn.T)
    expected = np.zeros((12, 12))
    for row, column in np.ndindex(12, 12):
        p = np.array([column - 5.5, row - 5.5])
        expected[row, column] = np.exp(-0.5 * p @ precision @ p)
    got = gaussian_kernel(12, (3.0, 1.2), theta=theta)
    np.testing.assert_allclose(got, expected / expected.sum(), rtol=1e-4, atol=1e-8)


def test_direction_of_gaussians():
    got = gaussian_kernel(9, (3.0, 1.0), theta=np.pi / 4)
    assert got[6, 6] > 3 * got[6, 2]  # down and right, where x and y grow together
    flat = gaussian_kernel(9, (3.0, 1.0), theta=0.0)
    assert flat[4, 7] > 3 * flat[7, 4]


def test_centre_of_mass():
    for shape in ((7, 7), (5, 8), (1, 1)):
        kernel = random_image(*shape)
        expected = ndimage.center_of_mass(kernel.astype(np.float64))
        np.testing.assert_allclose(kernels.centre_of_mass(jnp.asarray(kernel)), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(7, 7), (5, 8), (2, 3)])
def test_shift_kernel_equals_scipy(shape):
    kernel = random_image(*shape)
    shift_kernel = jax.jit(kernels.shift_kernel)
    for shift in ((0.0, 0.0), (0.5, -1.25), (-0.3, 0.7), (2.0, -1.0), (1.6, 9.5), (0.01, -0.99)):
        expected = ndimage.shift(kernel.astype(np.float64), shift, order=3, mode="constant")
        got = shift_kernel(jnp.asarray(kernel), jnp.asarray(shift))
        np.testing.assert_allclose(got, expected, atol=3e-6, err_msg=str(shift))


def _estimated(seed=0):
    """A kernel with faint values of both signs around its core, such as training produces."""
    noise = 0.002 * np.random.default_rng(seed).standard_normal((13, 13))
    return (np.asarray(kernels.gaussian_kernel(13, (2.0, 1.0))) + noise).astype(np.float32)


def test_faint_level():
    kernel = _estimated()
    ranked = np.sort(kernel.ravel())[::-1]
    assert ranked[40] > 0
    assert kernels.faint_level(kernel) == pytest.approx(0.02 * ranked[0], rel=1e-6)
    assert kernels.faint_level(kernel, rule="rank") == pytest.approx(0.75 * ranked[40], rel=1e-6)
    few = np.where(kernel >= ranked[30], kernel, -0.01).astype(np.float32)
    assert kernels.faint_level(few, rule="rank") == 0  # never negative: it is subtracted


@pytest.mark.parametrize("rule", ["peak", "rank"])
def test_without_faint(rule):
    kernel = _estimated()
    level = np.asarray(kernels.faint_level(kernel, rule=rule))
    got = np.asarray(kernels.without_faint(kernel, level), np.float64)
    expected = np.maximum(kernel.astype(np.float64) - level, 0)
    np.testing.assert_allclose(got, expected / expected.sum(), atol=1e-7)
    assert got.min() == 0
    assert got.sum() == pytest.approx(1, abs=1e-5)
    assert 5 < np.sum(got > 0) < 80


def test_without_faint_of_kernels_without_positive_values():
    for kernel in (np.zeros((13, 13), np.float32), np.full((13, 13), -1, np.float32)):
        np.testing.assert_array_equal(kernels.without_faint(kernel, 0.0), 0)


@pytest.mark.parametrize(("size", "expected"), [(13, 25), (17, 33), (10, 18), (11, 21)])
def test_doubled_kernel_is_a_convolution(size, expected):
    """The other factor is the kernel dilated by 2; size // 2 values are cut off at each side."""
    kernel = skewed_kernel(size)
    dilated = np.zeros((2 * size - 1, 2 * size - 1))
    dilated[::2, ::2] = kernel
    both = convolve2d(dilated, kernel.astype(np.float64))
    cut = slice(size // 2, len(both) - size // 2)
    doubled = doubled_kernel(kernel)
    assert doubled.shape == (expected, expected)
    want = both[cut, cut] / both[cut, cut].sum()
    np.testing.assert_allclose(doubled, want, atol=1e-6 * want.max())


@pytest.mark.parametrize("size", [9, 8])
def test_doubled_kernel_downscales_as_twice_by_two(size):
    """Exactly for odd sizes, inside the image; up to interpolation if it is centred for 4."""
    inner = skewed_kernel(size)
    inner[[0, 1, -2, -1]] = inner[:, [0, 1, -2, -1]] = 0
    kernel = np.asarray(centre_kernel(inner, 2, pad=3))
    image = ndimage.gaussian_filter(random_image(72, 64, 1), (1.5, 1.5, 0))
    twice = np.asarray(downscale(downscale(image, kernel, 2), kernel, 2))
    inside = slice(5, -5)
    doubled = doubled_kernel(kernel)
    if size % 2:
        once = np.asarray(downscale(image, doubled, 4))
        np.testing.assert_allclose(once[inside, inside], twice[inside, inside], atol=2e-5)
    centred = centre_kernel(doubled, 4, pad=1)
    once = np.asarray(downscale(image, centred, 4))
    error = (once - twice)[inside, inside]
    assert np.abs(error).max() < 0.02 * twice.std()


@pytest.mark.parametrize(("scale", "size"), [(2, 13), (2, 9), (3, 15), (4, 19)])
def test_cubic_kernel_equals_cubic_resizing(scale, size):
    image = random_image(12 * scale, 13 * scale, 2)
    kernel = kernels.cubic_kernel(scale, size)
    assert kernel.shape == (size, size)
    assert kernel.dtype == np.float32
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(
        ndimage.center_of_mass(kernel.astype(np.float64)), size // 2 + (scale - 1) / 2, atol=1e-4
    )
    once = np.asarray(downscale(image, kernel, scale))
    expected = np.asarray(resize(image, scale=1 / scale))
    assert once.shape == expected.shape
    inside = slice(3, -3)
    np.testing.assert_allclose(once[inside, inside], expected[inside, inside], atol=1e-5)
