"""Luma against scikit-image."""

import numpy as np
from skimage import color as skcolor
from skimage import data

from deepinternal.ops import color


def test_luma_of_a_photo():
    photo = data.astronaut()[:64, 180:260].astype(np.float32) / 255
    expected = skcolor.rgb2ycbcr(photo.astype(np.float64))[..., 0]
    np.testing.assert_allclose(color.rgb_to_y(photo), expected, atol=1e-4)


def test_grey_counts_as_equal_channels():
    grey = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4, 1)
    got = color.rgb_to_y(grey)
    assert got.shape == (2, 3, 4)
    np.testing.assert_allclose(got, 16 + 219 * grey[..., 0], rtol=1e-6)
