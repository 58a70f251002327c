"""Noise of known strength in photographs is measured from the image alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import skimage.data

from deepinternal.estimators import noise
from deepinternal.ops import resizing

COLOUR = ("astronaut", "coffee", "chelsea", "rocket")
GREY = ("camera", "coins", "moon")
measure = jax.jit(noise.noise_std)


@functools.cache
def photo(name, size=128):
    """The middle of a photograph that was reduced by 2, in whole levels."""
    image = np.float32(getattr(skimage.data, name)()) / 255
    y, x = ((n - 2 * size) // 2 for n in image.shape[:2])
    image = image[y : y + 2 * size, x : x + 2 * size].reshape(2 * size, 2 * size, -1)
    return rounded(np.asarray(resizing.resize(jnp.asarray(image), scale=0.5)))


def rounded(image):
    return np.round(np.clip(image, 0, 1) * 255).astype(np.float32) / 255


def noisy(image, sigma, seed=0):
    drawn = np.random.default_rng(seed).normal(size=image.shape)
    return rounded(image + drawn * sigma / 255)


def error(image, sigma, seed=0):
    return float(measure(noisy(image, sigma, seed))) * 255 / sigma - 1


@pytest.mark.parametrize("sigma", [5, 10, 15, 25])
@pytest.mark.parametrize("name", COLOUR + GREY)
def test_known_noise(name, sigma):
    image = photo(name)
    assert abs(error(image, sigma)) < 0.15
    assert abs(error(image[..., 1:2] if name in COLOUR else image, sigma, seed=1)) < 0.2


@pytest.mark.parametrize("sigma", [5, 10, 25])
def test_known_noise_in_a_larger_image(sigma):
    assert abs(error(photo("astronaut", 256), sigma)) < 0.1


@pytest.mark.parametrize("sigma", [5, 25])
def test_known_noise_in_an_image_with_strided_windows(sigma):
    image = np.float32(skimage.data.astronaut()) / 255
    assert abs(error(image, sigma)) < 0.1


@pytest.mark.parametrize("name", COLOUR + GREY)
def test_clean_photographs(name):
    assert 0 < float(measure(photo(name))) < 1.5 / 255


def wavelet(image):
    """Donoho's estimate: median of the finest diagonal wavelets (Daubechies 2), as in scikit-image."""
    root = np.sqrt(3)
    high = np.array([1 - root, root - 3, 3 + root, -1 - root]) / np.sqrt(32)
    for axis in (0, 1):
        image = scipy.ndimage.convolve1d(image, high, axis)
    return np.mean(np.median(np.abs(image[1::2, 1::2]), axis=(0, 1))) / 0.6745


def test_textured_images_are_estimated_better_than_by_wavelets():
    names = COLOUR + GREY
    ours = [abs(error(photo(name), 5)) for name in names]
    theirs = [abs(wavelet(noisy(photo(name), 5)) * 255 / 5 - 1) for name in names]
    assert np.mean(ours) < np.mean(theirs) / 2
    flat = np.full((128, 128, 3), 0.5, np.float32)
    for found in (wavelet(noisy(flat, 10)), float(measure(noisy(flat, 10)))):
        assert found * 255 == pytest.approx(10, rel=0.05)


def test_saturated_areas_are_ignored():
    image = photo("chelsea").copy()
    image[:90] = 1
    image[:, :20] = 0
    assert abs(error(image, 10)) < 0.15
    assert wavelet(noisy(image, 10)) * 255 < 8


def test_all_clipped():
    """Half of the noise of a white image is cut off; what is left has 0.58 of its deviation."""
    found = float(measure(noisy(np.ones((128, 128, 3), np.float32), 10))) * 255
    assert 4 < found < 7


def test_invariances():
    image = 0.2 + 0.5 * noisy(photo("coffee"), 10)
    found = float(measure(image))
    np.testing.assert_allclose(measure(image + 0.1), found, rtol=1e-3)
    np.testing.assert_allclose(measure(1 - image), found, rtol=1e-3)
    np.testing.assert_allclose(measure(0.5 * image), 0.5 * found, rtol=1e-3)
    np.testing.assert_allclose(measure(image.swapaxes(0, 1)), found, rtol=1e-3)
    np.testing.assert_allclose(measure(image[..., ::-1]), found, rtol=1e-3)


def test_vmap():
    images = jnp.stack([noisy(photo(name), 10) for name in COLOUR[:2]])
    one_by_one = [measure(image) for image in images]
    assert one_by_one[0].shape == ()
    assert one_by_one[0].dtype == jnp.float32
    np.testing.assert_allclose(jax.vmap(measure)(images), one_by_one, rtol=1e-4)


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_flat_image(level):
    assert float(measure(np.full((40, 40, 3), level, np.float32))) < 1e-6


@pytest.mark.parametrize("shape", [(16, 16, 1), (16, 16, 3), (33, 57, 3), (17, 131, 1)])
def test_small_and_odd_sizes(shape):
    """A slope and noise: little to measure, so wide margins, and the mean of a few draws."""
    slope = 0.3 + 0.4 * np.linspace(0, 1, shape[1], dtype=np.float32)[None, :, None]
    image = np.broadcast_to(slope, shape)
    found = np.mean([float(measure(noisy(image, 10, seed))) for seed in range(4)])
    assert found * 255 == pytest.approx(10, rel=0.2)


def test_too_small():
    with pytest.raises(ValueError, match="at least 16"):
        noise.noise_std(jnp.zeros((15, 40, 3)))
