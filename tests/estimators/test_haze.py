"""The amount of haze and its transmission, against synthetic haze and the operations on the device."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import skimage.data

from deepinternal.estimators import haze
from deepinternal.ops.filters import guided_filter
from deepinternal.ops.resizing import resize

LIGHT = np.array([0.8, 0.85, 0.9], np.float32)


def _checkers(side=120):
    """Black and coloured tiles, so that every window holds something black."""
    y, x = np.mgrid[:side, :side]
    return np.where(((x // 3 + y // 3) % 2)[..., None], [0.6, 0.4, 0.5], 0.0)


def _hazy(scene, t):
    return np.float32(t * scene + (1 - t) * LIGHT)


@pytest.mark.parametrize("t", [0.3, 0.6])
def test_transmission_of_a_scene_with_black_in_every_window(t):
    """It is that of the haze, over 1 minus the dark channel that scenes have on average."""
    found = haze.transmission(_hazy(_checkers(), t), LIGHT)
    np.testing.assert_allclose(found, t / 0.89, atol=2e-3)
    half = haze.transmission(_hazy(_checkers(), t), LIGHT, amount=0.5)
    np.testing.assert_allclose(half, (1 + t / 0.89) / 2, atol=2e-3)
    nothing = haze.transmission(_hazy(_checkers(), t), LIGHT, amount=0)
    np.testing.assert_allclose(nothing, 1, atol=1e-6)


def test_the_least_transmission_is_approached_without_a_kink():
    wave = np.linspace(1, 0.55, 200)[None, :, None] * np.ones((60, 1, 1))
    image = np.float32(LIGHT * wave)
    free, bound = (haze.transmission(image, LIGHT, floor=f)[30] for f in (0, 0.2))
    assert free.min() < 0.15
    assert bound.min() > 0.2
    np.testing.assert_allclose(bound[free > 0.35], free[free > 0.35], atol=1e-3)
    assert np.abs(np.diff(bound, 2)).max() < np.abs(np.diff(np.maximum(free, 0.2), 2)).max() / 2


def test_transmission_of_a_larger_image():
    """From an image half as long, it is nearly that of the full one."""
    image = skimage.data.astronaut()[:200, :240].astype(np.float32) / 255
    image = _hazy(image, np.linspace(0.2, 0.9, 200)[:, None, None])
    full = haze.transmission(image, LIGHT)
    small = np.asarray(resize(jnp.asarray(image), output_shape=(100, 120), method="box"))
    found = haze.transmission(small, LIGHT, guide=image)
    assert found.shape == (200, 240)
    assert np.abs(found - full).mean() < 0.03


def test_haziness_measures_the_haze_and_needs_texture():
    scene = _checkers()
    found = [haze.haziness(_hazy(scene, t), LIGHT) for t in (1, 0.7, 0.4)]
    np.testing.assert_allclose(found, [0, 0.3, 0.6], atol=1e-3)
    assert haze.haziness(np.full((40, 60, 3), 0.7, np.float32), LIGHT) == 0


def test_more_haze_is_removed_from_hazier_images():
    found = [haze.removable(x) for x in np.linspace(0, 1, 50)]
    assert found[0] == 0
    assert found[-1] == 1
    assert (np.diff(found) >= 0).all()


def test_operations_on_the_host_agree_with_those_on_the_device():
    rng = np.random.default_rng(0)
    image = rng.random((41, 53, 3)).astype(np.float32)
    expected = scipy.ndimage.minimum_filter(image.min(-1), 7, mode="constant", cval=np.inf)
    np.testing.assert_array_equal(haze.dark_channel(image, 7), expected)
    expected = resize(jnp.asarray(image), output_shape=(20, 30), method="box")
    np.testing.assert_allclose(haze.resized(image, (20, 30), "box"), expected, atol=1e-6)
    target = rng.random((41, 53)).astype(np.float32)
    slope, offset = haze._guided(image[..., 0], target, 9)
    expected = guided_filter(image[..., 0], target, radius=4, epsilon=haze._RIDGE)
    np.testing.assert_allclose(slope * image[..., 0] + offset, expected, atol=1e-4)


def test_reduction_to_a_greatest_side():
    image = np.full((100, 640, 3), 0.25, np.float32)
    found = haze.reduced(image)
    assert found.shape == (50, 320, 3)
    np.testing.assert_allclose(found, 0.25, atol=1e-6)
    assert haze.reduced(found).shape == found.shape
