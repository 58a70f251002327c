"""Colours under transparency: continued from the visible ones, which do not change."""

import numpy as np
import pytest

from deepinternal.codecs.image_io import to_array
from deepinternal.codecs.transparency import extended, on_white
from deepinternal.types import InputError

RNG = np.random.default_rng(0)


def stored(shape, dtype=np.uint8, visible=0.3, channels=4):
    """An image of random colours and alphas, of which most are 0."""
    top = np.iinfo(dtype).max
    image = RNG.integers(0, top + 1, (*shape, channels)).astype(dtype)
    image[..., -1] *= RNG.random(shape) < visible
    image[0, 0, -1] = top
    return image


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (5, 6), (64, 64), (33, 70)])
@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 4), (np.uint16, 2)])
def test_what_is_seen_stays(shape, dtype, channels):
    image = to_array(stored(shape, dtype, channels=channels))
    made, top = extended(image), np.iinfo(dtype).max
    assert made.alpha is image.alpha
    kept = image.alpha > 7.5 / top
    np.testing.assert_array_equal(made.pixels[kept], image.pixels[kept])
    alpha = image.alpha[..., None].astype(np.float64)
    assert np.abs(alpha * (made.pixels - image.pixels)).max() <= 2.01 / top
    assert made.pixels.min() >= 0
    assert made.pixels.max() <= 1


def test_colours_continue_smoothly():
    """A plane of colours is continued with its own colours nearby, and within their range."""
    y, x = np.mgrid[:40, :60] / 60
    plane = np.stack([0.2 + y, 0.9 - x / 2, 0 * x + 0.4], -1)
    hole = np.hypot(y - 0.3, x - 0.5) < 0.1
    image = np.dstack([np.where(hole[..., None], 0, plane), ~hole])
    made = extended(to_array(image)).pixels
    np.testing.assert_allclose(made, plane, atol=0.05)
    flat = to_array(np.dstack([np.where(hole, 0.3, 0), hole]).astype(np.float32))
    np.testing.assert_allclose(extended(flat).pixels, 0.3, atol=1e-6)
    bumps = np.abs(np.diff(made, axis=1)).max()
    assert bumps < 0.04  # of 0.9 if black were kept


def test_colours_that_were_multiplied_by_alpha():
    """They are coarse where alpha is small, so that neighbours count more."""
    alpha = np.tile(np.arange(1, 255).repeat(2), (16, 1))
    premultiplied = np.round(0.6 * alpha)
    coarse = np.round(premultiplied * 255 / alpha)
    image = to_array(np.dstack([coarse, alpha]).astype(np.uint8))
    error = lambda pixels: np.abs(pixels[..., 0] - 0.6)[:, :8].max()
    assert error(extended(image).pixels) < 0.15 < 0.3 < error(image.pixels)


def test_images_without_invisible_pixels_are_the_same():
    opaque = stored((4, 5), visible=2)
    opaque[..., 3] |= 8
    for array in (opaque, opaque[..., :3]):
        image = to_array(array)
        assert extended(image) is image


def test_an_invisible_image_is_refused():
    with pytest.raises(
        InputError, match=r"^x: every pixel is transparent \(alpha 0\), so that"
    ) as e:
        extended(to_array(np.zeros((3, 4, 4), np.uint8), name="x"))
    assert "\n" not in str(e.value)


def test_on_white():
    image = to_array(np.array([[[0, 0, 0, 0], [51, 102, 204, 255], [0, 255, 0, 51]]], np.uint8))
    seen = np.array([[[1, 1, 1], [0.2, 0.4, 0.8], [0.8, 1, 0.8]]])
    np.testing.assert_allclose(on_white(image), seen, atol=1e-6)
    grey = to_array(np.array([[10, 20]], np.uint8))
    assert on_white(grey) is grey.pixels
