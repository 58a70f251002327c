"""Luma and CIELAB against scikit-image, and opponent colors against their definition."""

import numpy as np
from skimage import color as skcolor
from skimage import data

from deepinternal.ops import color


def test_luma_of_a_photo():
    photo = data.astronaut()[:64, 180:260].astype(np.float32) / 255
    expected = skcolor.rgb2ycbcr(photo.astype(np.float64))[..., 0]
    np.testing.assert_allclose(color.rgb_to_y(photo), expected, atol=1e-4)


def test_lab_of_a_photo():
    photo = data.astronaut()[:64, 180:260].astype(np.float32) / 255
    expected = skcolor.rgb2lab(photo.astype(np.float64))
    np.testing.assert_allclose(color.rgb_to_lab(photo), expected, atol=0.02)
    np.testing.assert_allclose(color.rgb_to_lab(photo[..., :1])[..., 1:], 0, atol=0.02)


def test_grey_equals_three_equal_channels():
    grey = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4, 1)
    got = color.rgb_to_y(grey)
    assert got.shape == (2, 3, 4)
    np.testing.assert_allclose(got, 16 + 219 * grey[..., 0], rtol=1e-6)


def test_opponent_colors_are_a_rotation_and_grey_has_no_chroma():
    image = np.random.default_rng(0).random((5, 4, 3))
    made = np.asarray(color.rgb_to_opponent(image.astype(np.float32)), float)
    np.testing.assert_allclose(made[..., 0], image.sum(axis=-1) / np.sqrt(3), atol=1e-6)
    np.testing.assert_allclose(np.sum(made**2, axis=-1), np.sum(image**2, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(color.opponent_to_rgb(made.astype(np.float32)), image, atol=1e-6)
    grey = np.full((2, 2, 3), 0.3, np.float32)
    np.testing.assert_allclose(color.rgb_to_opponent(grey)[..., 1:], 0, atol=1e-6)
    np.testing.assert_array_equal(color.rgb_to_opponent(grey[..., :1]), grey[..., :1])
