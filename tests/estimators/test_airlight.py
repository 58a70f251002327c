"""The colour of haze is found again."""

import numpy as np
import pytest
import scipy.ndimage

from deepinternal.estimators.airlight import airlight_patch_recurrence


@pytest.mark.parametrize("light", [(0.8, 0.85, 0.9), (0.9, 0.85, 0.8)])
def test_airlight_of_recurring_patches(light):
    """Tiles of one texture behind more and less haze."""
    rng = np.random.default_rng(0)
    texture = scipy.ndimage.gaussian_filter(rng.random((24, 24, 3)), (1, 1, 0), mode="wrap")
    texture = 0.1 + 0.5 * (texture - texture.min()) / np.ptp(texture)
    scene = np.tile(texture, (5, 6, 1))
    t = np.repeat(np.linspace(0.25, 0.95, 5), 24)[:, None, None]
    hazy = t * scene + (1 - t) * np.array(light)
    found = airlight_patch_recurrence(np.float32(hazy))
    np.testing.assert_allclose(found, light, atol=0.03)
    grey = airlight_patch_recurrence(np.float32(hazy[..., :1]))
    np.testing.assert_allclose(grey, light[:1], atol=0.03)


def test_airlight_of_a_flat_image():
    flat = np.full((40, 40, 3), 0.6, np.float32)
    np.testing.assert_allclose(airlight_patch_recurrence(flat), 0.6, atol=1e-6)
