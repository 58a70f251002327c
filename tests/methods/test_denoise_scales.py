"""Tests of denoising an image at several sizes at once."""

import jax
import numpy as np
import pytest

from deepinternal.methods.denoise import scales

RNG = np.random.default_rng(0)
FUSED = jax.jit(scales.fused, static_argnums=(1, 2))


def smooth(height, width, channels=1):
    y, x = np.mgrid[:height, :width] / 9
    waves = np.sin(y)[..., None] * np.cos(x[..., None] + np.arange(channels))
    return np.float32(0.5 + 0.2 * waves)


def placed(image):
    """The mosaic, the places of the image, its half and its quarter in it, and the share."""
    made, share = scales.mosaic(image)
    (h, w), (h2, w2) = image.shape[:2], (-(-n // 2) for n in image.shape[:2])
    top = scales.mosaic_size(h, w)[0] - h2
    half, quarter = (slice(top, top + h2), slice(0, w2)), (slice(top, top + -(-h2 // 2)),)
    return made, (np.s_[:h], half, (*quarter, slice(w2, w2 + -(-w2 // 2)))), share


def test_the_half_and_the_quarter_are_means_of_squares():
    image = np.float32(RNG.random((48, 52, 3)))
    made, (whole, half, quarter), share = placed(image)
    means = lambda n: image.reshape(48 // n, n, 52 // n, n, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(made[whole], image)
    np.testing.assert_allclose(made[half], means(2), atol=1e-6)
    np.testing.assert_allclose(made[quarter], means(4), atol=1e-6)
    np.testing.assert_allclose(share[half], 1 / 4)
    np.testing.assert_allclose(share[quarter], 1 / 16)


def test_the_share_is_the_variance_of_noise_also_at_odd_borders():
    noise = np.float32(RNG.normal(size=(49, 51, 4000)))
    made, (_, half, quarter), share = placed(noise)
    for here in (half, quarter):
        np.testing.assert_allclose(made[here].var(axis=-1), share[here][..., 0], rtol=0.15)


@pytest.mark.parametrize("room", [(0, 0), (3, 6)])
def test_a_mosaic_without_errors_is_its_image(room):
    image = smooth(49, 54, 3)
    made = np.pad(scales.mosaic(image)[0], [(0, 2 * room[0]), (0, room[1]), (0, 0)])
    shape = (49 + room[0], 54 + room[1], 3)
    found = np.asarray(FUSED(made, (49, 54), shape))[:49, :54]
    np.testing.assert_allclose(found, image, atol=1e-6)


def test_broad_errors_are_corrected_and_fine_detail_stays():
    image, detail = smooth(64, 64), np.indices((64, 64)).sum(axis=0)[..., None] % 2 * 0.1
    made, (whole, *_), _ = placed(np.float32(image))
    made[whole] = made[whole] + 0.05 + detail - detail.mean()
    found = np.asarray(FUSED(made, (64, 64), (64, 64, 1)))
    np.testing.assert_allclose(found, image + detail - detail.mean(), atol=1e-3)
