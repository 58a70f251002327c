"""The noise model, measured on photographs to which known noise was added."""

import numpy as np
import pytest
import skimage.data
from scipy import ndimage

from deepinternal.estimators import image_facts
from deepinternal.estimators.impulses import find_impulses
from deepinternal.estimators.noise_model import measure_noise, noise_sentences
from deepinternal.ops.color import OPPONENT


def photograph(name):
    image = getattr(skimage.data, name)()
    image = image[..., None] if image.ndim == 2 else image
    return image[:256, :256].astype(np.float32)


def in_file(image):
    """Rounds an image in [0, 255] to the levels of an 8-bit file."""
    return (np.clip(np.round(image), 0, 255) / 255).astype(np.float32)


def noise(shape, *, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("name", ["astronaut", "camera"])
@pytest.mark.parametrize("std", [5, 25, 50])
def test_white_noise_in_files(name, std):
    """Also where it was clipped: the level is that before clipping."""
    image = photograph(name)
    model = measure_noise(in_file(image + std * noise(image.shape)))
    np.testing.assert_allclose(255 * model.std, std, rtol=0.12)
    assert not model.correlated
    assert not model.gain.any()
    assert (model.power == 1).all()
    np.testing.assert_allclose(model.offset, model.std**2, rtol=1e-5)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "camera"])
def test_clean_photographs_have_hardly_any_noise(name):
    model = measure_noise(in_file(photograph(name)))
    assert model.std.max() < 2.5 / 255
    assert not model.correlated
    assert model.impulses < 1e-4


def test_channels_are_measured_one_by_one():
    image = photograph("astronaut")
    model = measure_noise(in_file(image + noise(image.shape) * [5, 10, 20]))
    np.testing.assert_allclose(255 * model.std, [5, 10, 20], rtol=0.12)
    assert "20." in noise_sentences(model)[0] or "19." in noise_sentences(model)[0]


def test_noise_that_grows_with_brightness():
    image = photograph("astronaut")
    std = 255 * np.sqrt(0.01 * image / 255 + 0.0004)
    model = measure_noise(in_file(image + std * noise(image.shape)))
    np.testing.assert_allclose(model.gain, 0.01, rtol=0.3)
    mean = np.sqrt(0.01 * image.mean((0, 1)) / 255 + 0.0004)
    np.testing.assert_allclose(model.std, mean, rtol=0.12)
    assert any("grows with brightness" in text for text in noise_sentences(model))


@pytest.mark.parametrize("blur", [0.5, 1.0])
def test_correlated_noise_and_its_spectrum(blur):
    image = photograph("chelsea")
    found = ndimage.gaussian_filter(noise(image.shape), (blur, blur, 0), mode="wrap")
    found *= 12 / found.std()
    model = measure_noise(in_file(image + found))
    assert model.correlated
    np.testing.assert_allclose(255 * model.std, 12, rtol=0.25)
    rows, columns = found.shape[0] // 16 * 16, found.shape[1] // 16 * 16
    windows = found[:rows, :columns].reshape(rows // 16, 16, columns // 16, 16, -1)
    power = np.mean(np.abs(np.fft.fft2(windows, axes=(1, 3))) ** 2, axis=(0, 2))
    power /= power.mean(axis=(0, 1))
    ratio = (model.power / power)[power > 0.05]
    assert np.median(np.abs(np.log(ratio))) < 0.45
    np.testing.assert_allclose(model.mixing, 1, rtol=0.5)  # more in luma, where the texture is


def test_noise_of_cameras_is_measured_in_luma_and_chroma():
    """The channels' noise is alike, and that of chroma is coarser."""
    image = photograph("rocket")
    blur = lambda x, std: ndimage.gaussian_filter(x, (std, std, 0), mode="wrap")
    unit = lambda x: x / x.std(axis=(0, 1))
    luma, chroma = (
        unit(blur(noise((256, 256, 1)), 0.7)),
        unit(blur(noise((256, 256, 2), seed=1), 2)),
    )
    found = np.concatenate([12 * luma, 3 * chroma], axis=-1) @ OPPONENT
    model = measure_noise(in_file(image + found))
    assert model.correlated
    np.testing.assert_allclose(255 * model.std, found.std(axis=(0, 1)), rtol=0.15)
    independent = 255**2 * model.std**2 @ OPPONENT.T**2
    measured = np.sqrt(independent * model.mixing)
    np.testing.assert_allclose(measured[0], 12, rtol=0.1)
    np.testing.assert_allclose(measured[1:], 3, rtol=0.5)
    coarse = model.power[:2, :2].mean(axis=(0, 1)) / model.power[4, 4]
    assert coarse[1:].min() > 3 * coarse[0]


@pytest.mark.parametrize(("share", "kind"), [(0.02, "salt and pepper"), (0.2, "salt and pepper")])
def test_salt_and_pepper(share, kind):
    image = in_file(photograph("chelsea") + 5 * noise((256, 256, 3)))
    random = np.random.default_rng(1).random((256, 256))
    wrong = random < share
    image = np.where(wrong[..., None], (random < share / 2)[..., None], image).astype(np.float32)
    model = measure_noise(image)
    assert model.kind == kind
    assert np.mean(model.dead[wrong]) > 0.97
    assert np.mean(model.dead[~wrong]) < 0.005
    np.testing.assert_allclose(255 * model.std, 5, rtol=0.2)


def test_random_values():
    image = in_file(photograph("chelsea"))
    rng = np.random.default_rng(1)
    wrong = rng.random((256, 256)) < 0.05
    values = rng.random(image.shape).astype(np.float32)
    model = measure_noise(np.where(wrong[..., None], values, image))
    assert model.kind == "random values"
    assert np.mean(model.dead[wrong]) > 0.85
    assert np.mean(model.dead[~wrong]) < 0.005


def test_a_single_hot_pixel_and_a_star():
    """A star has a tail in neighbouring pixels, as in every photograph."""
    image = in_file(np.full((64, 64, 1), 40) + 3 * noise((64, 64, 1)))
    star = np.zeros((64, 64))
    star[40, 20] = 1
    image[..., 0] += 6 * 0.7 * ndimage.gaussian_filter(star, 0.7)
    image[20, 30] = 1
    found = find_impulses(np.clip(image, 0, 1))
    assert found.kind == "single"
    np.testing.assert_array_equal(np.argwhere(found.places), [[20, 30, 0]])
    assert abs(found.filled[20, 30, 0] - 40 / 255) < 10 / 255


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 1, 1), (16, 16, 1), (17, 40, 3)])
@pytest.mark.parametrize("value", [0, 0.5, 1, None])
def test_tiny_and_flat_images_are_safe(shape, value):
    rng = np.random.default_rng(0)
    image = rng.random(shape) if value is None else np.full(shape, value)
    model = measure_noise(image)
    for array in (model.std, model.gain, model.offset, model.power):
        assert np.isfinite(array).all()
        assert (array >= 0).all()
    assert model.std.shape == shape[-1:]
    assert noise_sentences(model)
    if value is not None or min(shape[:2]) < 16:
        assert not model.std.any()
        assert model.dead is None


def test_black_and_white_with_noise():
    """Only half of the noise is left by clipping."""
    image = in_file(20 * noise((256, 256, 1)))
    model = measure_noise(image)
    np.testing.assert_allclose(255 * model.std, 20, rtol=0.3)


def test_rounding_does_not_count_as_noise():
    ramp = np.linspace(0, 255, 256)[:, None, None] * np.ones((1, 256, 3))
    assert measure_noise(in_file(ramp)).std.max() < image_facts.QUIET / 2
