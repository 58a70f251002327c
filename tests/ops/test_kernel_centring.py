"""Centred kernels, by their centres of mass and by the property they exist for: no drift."""

import functools

import jax
import numpy as np
import pytest
from scipy import ndimage
from skimage import data
from skimage.filters import window
from skimage.registration import phase_cross_correlation

from deepinternal.ops import kernels
from deepinternal.ops.resizing import resize
from tests.blurring import random_image, skewed_kernel


def _motion_kernel(size):
    """A hard-edged stroke off the middle: all its mass in the lower right quarter."""
    kernel = np.zeros((size, size), np.float32)
    kernel[size - 2, size // 2 :] = 1
    return kernel / kernel.sum()


MAKERS = {
    "gaussian": lambda size: np.array(kernels.gaussian_kernel(size, 1.3)),
    "skewed": skewed_kernel,
    "motion": _motion_kernel,
}
# NumPy kernels are padded by as much as they need, so that each has its own shape and programs.
CONCRETE = [("gaussian", 9), ("skewed", 10), ("motion", 9), ("motion", 10)]


@functools.cache
def _centred(make, size, scale):
    """A kernel that was centred as a NumPy array, in float64."""
    return np.asarray(kernels.centre_kernel(MAKERS[make](size), scale), np.float64)


@functools.cache
def _jitted_centre(scale):
    return jax.jit(functools.partial(kernels.centre_kernel, scale=scale))


def _check_centred(kernel, size, scale):
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == size % 2
    np.testing.assert_allclose(kernel.sum(), 1, atol=1e-5)
    target = kernel.shape[0] // 2 + (np.broadcast_to(scale, 2) - 1) / 2
    np.testing.assert_allclose(ndimage.center_of_mass(kernel), target, atol=0.01)


@pytest.mark.parametrize(("make", "size"), CONCRETE)
def test_centre_kernel_meets_its_target(make, size):
    _check_centred(_centred(make, size, (2, 3)), size, (2, 3))


@pytest.mark.parametrize(
    ("size", "scale"), [(9, 2), (9, 3), (10, 3), (9, (2, 3)), (10, (2, 3)), (10, 1.5)]
)
def test_centre_kernel_under_jit_meets_its_target(size, scale):
    for make in MAKERS.values():
        centred = _jitted_centre(scale)(make(size))
        _check_centred(np.asarray(centred, np.float64), size, scale)


def test_kernels_at_the_border_lose_no_mass():
    """The padding of traced kernels suffices for a single pixel in any corner."""
    for row, column in ((0, 0), (0, 8), (8, 8)):
        kernel = np.zeros((9, 9), np.float32)
        kernel[row, column] = 1
        _check_centred(np.asarray(_jitted_centre(3)(kernel), np.float64), 9, 3)
        _check_centred(np.asarray(_jitted_centre(2)(kernel), np.float64), 9, 2)


def test_a_centred_kernel_is_not_moved():
    kernel = np.array(kernels.gaussian_kernel(9, 1.3))
    np.testing.assert_allclose(kernels.centre_kernel(3 * kernel, 1), kernel, atol=1e-7)
    even = np.zeros((10, 10), np.float32)
    even[1:, 1:] = kernel
    np.testing.assert_allclose(kernels.centre_kernel(even, 1), even, atol=1e-7)


def test_traced_and_numpy_kernels_downscale_alike():
    """The static padding of a traced kernel changes its shape, but not the downscaled image."""
    image = random_image(40, 42, 1)
    downscale = jax.jit(functools.partial(kernels.downscale, scale=(2, 3)))
    for make, size in CONCRETE:
        concrete = downscale(image, _centred(make, size, (2, 3)))
        traced = downscale(image, _jitted_centre((2, 3))(MAKERS[make](size)))
        np.testing.assert_allclose(traced, concrete, atol=2e-3)


def test_padding_can_be_given():
    """It may be 0 for a kernel that has a margin."""
    kernel = np.pad(skewed_kernel(9), 6)
    centre = functools.partial(kernels.centre_kernel, scale=2)
    centred = np.asarray(jax.jit(functools.partial(centre, pad=0))(kernel), np.float64)
    assert centred.shape == (21, 21)
    np.testing.assert_allclose(ndimage.center_of_mass(centred), 10.5, atol=0.01)
    assert jax.eval_shape(functools.partial(centre, pad=3), kernel).shape == (27, 27)


@functools.cache
def _photo():
    """A photograph so smooth that blurring it with an asymmetric kernel only shifts it."""
    photo = data.camera()[96:288, 120:312] / 255.0
    return ndimage.gaussian_filter(photo, 3.0).astype(np.float32)[..., None]


@functools.partial(jax.jit, static_argnames="scale")
def _down_and_up(kernel, scale):
    small = kernels.downscale(_photo(), kernel, scale)
    return resize(small, scale=scale, output_shape=_photo().shape[:2])


def _drift(kernel, scale):
    """The greatest shift in pixels of a downscaled and cubically enlarged photograph."""
    images = (np.asarray(x)[..., 0] for x in (_photo(), _down_and_up(kernel, scale)))
    faded = [(x - x.mean()) * window("hann", x.shape) for x in images]
    options = {"upsample_factor": 50, "normalization": None}
    return np.abs(phase_cross_correlation(*faded, **options)[0]).max()


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("size", [9, 10])
def test_no_drift(make, size):
    scale = (2, 3)
    assert _drift(MAKERS[make](size), scale) > 0.4  # the kernel that is not centred
    assert _drift(_jitted_centre(scale)(MAKERS[make](size)), scale) < 0.1


def test_gradient_through_centring():
    """Against central differences, because methods train kernels through the shift."""
    kernel, image = skewed_kernel(7), random_image(16, 16, 1)

    @jax.jit
    @jax.value_and_grad
    def loss(kernel):
        return (kernels.downscale(image, kernels.centre_kernel(kernel, 2), 2) ** 2).sum()

    gradient = loss(kernel)[1]
    rng = np.random.default_rng(3)
    for _ in range(3):
        step = 1e-3 * rng.standard_normal(kernel.shape).astype(np.float32)
        expected = float(loss(kernel + step)[0] - loss(kernel - step)[0]) / 2
        np.testing.assert_allclose((gradient * step).sum(), expected, rtol=0.02, atol=2e-5)
