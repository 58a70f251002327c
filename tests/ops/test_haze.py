"""Haze, its removal, and the dark channel, against NumPy and SciPy."""

import jax.numpy as jnp
import numpy as np
import scipy.ndimage
import skimage.data

from deepinternal.ops import atmosphere


def _scene():
    return skimage.data.astronaut()[:256:2, 128:384:2].astype(np.float32) / 255


def test_dehazing_undoes_haze():
    image = _scene()
    t = np.linspace(0.15, 1, image.shape[0], dtype=np.float32)[:, None, None]
    light = np.array([0.8, 0.85, 0.9], np.float32)
    hazy = atmosphere.haze(image, t, light)
    np.testing.assert_allclose(hazy, t * image + (1 - t) * light, atol=1e-6)
    np.testing.assert_allclose(atmosphere.dehaze(jnp.asarray(hazy), t, light), image, atol=1e-5)
    dense = atmosphere.dehaze(jnp.asarray(hazy), 0 * t, light, floor=0.5)
    np.testing.assert_allclose(dense, np.clip(2 * hazy - light, 0, 1), atol=1e-5)


def test_dark_channel():
    image = _scene()
    expected = scipy.ndimage.minimum_filter(image.min(-1), 15, mode="constant", cval=np.inf)
    np.testing.assert_array_equal(atmosphere.dark_channel(jnp.asarray(image)), expected)


def test_airlight_of_the_dark_channel_is_the_haziest_spot():
    image = 0.5 * _scene()
    image[20:60, 30:80] = (0.7, 0.75, 0.8)
    image[100, 100] = 1  # a highlight is no haze
    np.testing.assert_allclose(
        atmosphere.airlight_dark_channel(jnp.asarray(image)), (0.7, 0.75, 0.8), atol=1e-6
    )
