"""The colour of haze is found again."""

import numpy as np
import pytest
import scipy.ndimage

from deepinternal.estimators.airlight import airlight_and_confidence, airlight_patch_recurrence


def _tiles(light, least, most=0.95):
    """Tiles of one texture behind more and less haze."""
    rng = np.random.default_rng(0)
    texture = scipy.ndimage.gaussian_filter(rng.random((24, 24, 3)), (1, 1, 0), mode="wrap")
    texture = 0.1 + 0.5 * (texture - texture.min()) / np.ptp(texture)
    scene = np.tile(texture, (5, 6, 1))
    t = np.repeat(np.linspace(least, most, 5), 24)[:, None, None]
    return np.float32(t * scene + (1 - t) * np.array(light))


@pytest.mark.parametrize("light", [(0.8, 0.85, 0.9), (0.9, 0.85, 0.8)])
def test_airlight_from_recurring_patches(light):
    hazy = _tiles(light, 0.25)
    found = airlight_patch_recurrence(np.float32(hazy))
    np.testing.assert_allclose(found, light, atol=0.03)
    grey = airlight_patch_recurrence(np.float32(hazy[..., :1]))
    np.testing.assert_allclose(grey, light[:1], atol=0.03)


def test_airlight_of_a_flat_image():
    flat = np.full((40, 40, 3), 0.6, np.float32)
    np.testing.assert_allclose(airlight_patch_recurrence(flat), 0.6, atol=1e-6)


def test_confidence_is_greater_in_dense_haze():
    light = (0.8, 0.85, 0.9)
    dense, sure = airlight_and_confidence(_tiles(light, 0.05, 0.4))
    np.testing.assert_allclose(dense, light, atol=0.03)
    _, unsure = airlight_and_confidence(_tiles(light, 0.8))
    assert sure > unsure
    grey, _ = airlight_and_confidence(_tiles(light, 0.25)[..., :1])
    assert grey.shape == (1,)


def test_an_uncertain_airlight_takes_the_hue_of_the_darkest_colours():
    """A white wall before black things in thin blue haze: the brightest spots are not haze."""
    rng = np.random.default_rng(1)
    scene = np.where(rng.random((160, 160)) < 0.3, 0.0, 0.95)
    scene = np.kron(scene[:40, :40], np.ones((4, 4)))[..., None] * np.ones(3)
    light = np.array([0.6, 0.7, 0.9])
    hazy = np.float32(0.75 * scene + 0.25 * light)
    found, confidence = airlight_and_confidence(hazy)
    assert confidence < 0.8
    hue = lambda x: x / x.mean()
    plain = airlight_patch_recurrence(hazy)
    error = np.abs(hue(found) - hue(light)).max()
    assert error < 0.8 * np.abs(hue(plain) - hue(light)).max()
