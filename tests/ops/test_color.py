"""Colour conversions against scikit-image."""

import jax.numpy as jnp
import numpy as np
import pytest
from skimage import color as skcolor
from skimage import data

from deepinternal.ops import color


def _photo():
    return data.astronaut()[:64, 180:260].astype(np.float32) / 255


def test_ycbcr_of_a_photo():
    photo = _photo()
    expected = skcolor.rgb2ycbcr(photo.astype(np.float64))
    np.testing.assert_allclose(color.rgb_to_ycbcr(photo), expected, atol=1e-4)
    np.testing.assert_allclose(color.rgb_to_y(photo), expected[..., 0], atol=1e-4)


@pytest.mark.parametrize(
    ("rgb", "ycbcr"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((1, 1, 1), (235, 128, 128)),
        ((0, 0, 1), (40.966, 240, 109.786)),
    ],
)
def test_known_colours(rgb, ycbcr):
    got = color.rgb_to_ycbcr(jnp.asarray(rgb, jnp.float32))
    np.testing.assert_allclose(got, ycbcr, atol=1e-4)


def test_back_from_ycbcr():
    photo = _photo()
    np.testing.assert_allclose(color.ycbcr_to_rgb(color.rgb_to_ycbcr(photo)), photo, atol=1e-6)
    # Nothing is clipped, on the way out of the cube neither.
    wild = np.random.default_rng(0).uniform(-30, 300, (2, 5, 6, 3)).astype(np.float32)
    got = color.ycbcr_to_rgb(wild)
    # scikit-image inverts the same matrix.
    np.testing.assert_allclose(got, skcolor.ycbcr2rgb(wild.astype(np.float64)), atol=1e-5)
    assert got.min() < 0
    assert got.max() > 1


def test_grey_counts_as_equal_channels():
    grey = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4, 1)
    got = color.rgb_to_y(grey)
    assert got.shape == (2, 3, 4)
    np.testing.assert_allclose(got, 16 + 219 * grey[..., 0], rtol=1e-6)
