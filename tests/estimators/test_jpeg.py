"""JPEG's grid is found where it is and nowhere else; quality and error are told from pixels."""

import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
import skimage.data

from deepinternal.estimators import jpeg
from deepinternal.ops import color, kernels, resizing

PHOTOS = ("astronaut", "coffee", "chelsea", "camera", "coins")
blocking = jax.jit(jpeg.jpeg_blocking)
noise_std = jax.jit(jpeg.jpeg_noise_std)
quality_of = jax.jit(jpeg.jpeg_quality)
blurred = jax.jit(kernels.downscale, static_argnums=2)


@functools.cache
def photo(name, sigma=None):
    """The middle of a photograph reduced by 2, cubic or blurred by a gaussian; 136 pixels a side."""
    image = np.float32(getattr(skimage.data, name)()) / 255
    y, x = ((n - 272) // 2 for n in image.shape[:2])
    image = jnp.asarray(image[y : y + 272, x : x + 272].reshape(272, 272, -1))
    if sigma is None:
        return rounded(resizing.resize(image, scale=0.5))
    return rounded(blurred(image, kernels.gaussian_kernel(13, (sigma, sigma)), 2))


def rounded(image):
    return np.round(np.clip(np.asarray(image), 0, 1) * 255).astype(np.float32) / 255


def noisy(image, sigma):
    return rounded(image + np.random.default_rng(0).normal(size=image.shape) * sigma / 255)


def compressed(image, quality):
    pixels = np.uint8(np.round(image * 255))
    file = io.BytesIO()
    PIL.Image.fromarray(pixels.squeeze()).save(file, "JPEG", quality=quality)
    return np.asarray(PIL.Image.open(file), np.float32).reshape(image.shape) / 255


def crop(image, y, x, size=128):
    return image[y : y + size, x : x + size]


@pytest.mark.parametrize("sigma", [0, 10])
@pytest.mark.parametrize("quality", [10, 40, 75])
@pytest.mark.parametrize("name", PHOTOS)
def test_grid_is_found(name, quality, sigma):
    image = compressed(noisy(photo(name), sigma), quality)
    for y, x in ((0, 0), (3, 6)):
        found = blocking(crop(image, y, x))
        assert found.score > 2 * jpeg.THRESHOLD
        assert found.phase.tolist() == [-y % 8, -x % 8]


@pytest.mark.parametrize("sigma", [None, 0.8, 1.4, 2.0])
@pytest.mark.parametrize("name", PHOTOS)
def test_no_grid_without_compression(name, sigma):
    for image in (photo(name, sigma), noisy(photo(name, sigma), 10)):
        assert 0 < blocking(crop(image, 0, 0)).score < jpeg.THRESHOLD
    assert noise_std(crop(image, 0, 0)) == 0


def test_grid_of_a_small_image():
    image = compressed(photo("coffee"), 40)
    found = blocking(crop(image, 41, 50, 48))
    assert found.score > jpeg.THRESHOLD
    assert found.phase.tolist() == [7, 6]


def test_grid_in_the_middle_of_a_large_image():
    image = np.pad(photo("coins"), ((300, 301), (0, 0), (0, 0)), mode="reflect")
    image = compressed(image, 40)[2:, 5:]
    found = blocking(image)
    assert found.score > jpeg.THRESHOLD
    assert found.phase.tolist() == [6, 3]
    assert quality_of(image, found.phase) == 40


@pytest.mark.parametrize("quality", [20, 40, 60, 90])
@pytest.mark.parametrize("name", ["astronaut", "camera"])
def test_quality(name, quality):
    image = crop(compressed(photo(name), quality), 5, 2)
    assert quality_of(image, jnp.array([3, 6])) == quality


@pytest.mark.parametrize("sigma", [0, 10])
@pytest.mark.parametrize("quality", [20, 40, 75])
@pytest.mark.parametrize("name", PHOTOS)
def test_strength(name, quality, sigma):
    image = noisy(photo(name), sigma)
    result = compressed(image, quality)
    # Luma of 219 levels.
    true = np.sqrt(np.mean(np.square(color.rgb_to_y(result) - color.rgb_to_y(image)))) / 219
    assert 0.6 < noise_std(crop(result, 0, 0)) / true < 2


def test_strength_falls_with_quality():
    found = [float(noise_std(crop(compressed(photo("coffee"), q), 0, 0))) for q in (10, 30, 60, 90)]
    assert found == sorted(found, reverse=True)
    assert found[-1] > 0


def test_vmap():
    images = [crop(compressed(photo(name), 40), 1, 2) for name in PHOTOS[:2]]
    one_by_one = [blocking(image) for image in images]
    many = jax.vmap(blocking)(jnp.stack(images))
    np.testing.assert_allclose(many.score, [b.score for b in one_by_one], rtol=1e-3)
    assert many.phase.tolist() == [b.phase.tolist() for b in one_by_one] == [[7, 6]] * 2
    strengths = [noise_std(image) for image in images]
    np.testing.assert_allclose(jax.vmap(noise_std)(jnp.stack(images)), strengths, rtol=1e-3)


def test_transposed():
    image = crop(compressed(photo("coffee"), 40), 1, 2)
    found, transposed = blocking(image), blocking(image.swapaxes(0, 1))
    assert transposed.phase.tolist() == found.phase.tolist()[::-1] == [6, 7]
    np.testing.assert_allclose(transposed.score, found.score, rtol=1e-3)


@pytest.mark.parametrize("shape", [(24, 24, 1), (31, 41, 3)])
@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_flat_image(level, shape):
    image = np.full(shape, level, np.float32)
    assert abs(blocking(image).score) < 0.1
    assert noise_std(image) == 0
    assert np.isfinite(noise_std(image, threshold=-1))


def test_small_noise_has_no_grid():
    for seed in range(5):
        image = rounded(np.random.default_rng(seed).random((24, 31, 3)))
        assert blocking(image).score < jpeg.THRESHOLD


def test_too_small():
    with pytest.raises(ValueError, match="at least 24"):
        jpeg.jpeg_blocking(jnp.zeros((23, 40, 3)))
    with pytest.raises(ValueError, match="at least 24"):
        jpeg.jpeg_quality(jnp.zeros((40, 20, 3)), jnp.array([0, 0]))
