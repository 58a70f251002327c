"""Reflections of which the truth is known: a sharp background plus a blurred other image."""

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import skimage.transform
from skimage.metrics import structural_similarity

from deepinternal.estimators.reflection import soft_reflection


def _photograph(name, side=160):
    image = getattr(skimage.data, name)()[:, :, :3] / 255.0
    return skimage.transform.resize(image, (side, side), anti_aliasing=True)


def _mixture(background, behind, blur, strength):
    soft = scipy.ndimage.gaussian_filter(_photograph(behind), (blur, blur, 0))
    background = _photograph(background)
    return np.clip(background + strength * soft, 0, 1), background


def _alike(a, b):
    return structural_similarity(a, b, channel_axis=-1, data_range=1)


@pytest.mark.parametrize(
    ("background", "behind", "blur", "strength"),
    [
        ("coffee", "astronaut", 3.0, 0.4),
        ("astronaut", "coffee", 4.0, 0.3),
        ("rocket", "chelsea", 2, 0.3),
    ],
)
def test_the_background_is_closer_to_the_truth_than_the_image(background, behind, blur, strength):
    image, truth = _mixture(background, behind, blur, strength)
    made = image - soft_reflection(image).layer
    assert _alike(made, truth) > _alike(image, truth) + 0.01
    assert np.mean((made - truth) ** 2) < 0.7 * np.mean((image - truth) ** 2)


def test_the_layer_lies_between_zero_and_the_image():
    image, _ = _mixture("coffee", "astronaut", 3.0, 0.5)
    found = soft_reflection(image)
    assert found.layer.shape == image.shape
    assert (found.layer >= 0).all()
    assert (found.layer <= image + 1e-6).all()
    np.testing.assert_allclose(found.light, found.layer.mean() / image.mean(), rtol=1e-4)


def test_soft_edges_are_assigned_to_the_reflection():
    """Sharp stripes beside a soft one, of equal contrast, on a grey ground with black."""
    image = np.full((96, 96, 1), 0.3)
    image[:, :24:2] = 0.0
    soft = np.zeros((96, 96, 1))
    soft[:, 56:72] = 0.4
    soft = scipy.ndimage.gaussian_filter(soft, (3, 3, 0))
    layer = soft_reflection(image + soft).layer
    middle = layer[48, :, 0]
    assert middle[64] - middle[40] > 0.5 * (soft[48, 64, 0] - soft[48, 40, 0])
    assert np.ptp(middle[4:20]) < 0.1


def test_a_dark_image_has_no_reflection():
    found = soft_reflection(np.zeros((32, 40, 3)))
    assert found.light == 0
    np.testing.assert_array_equal(found.layer, 0)
    flat = soft_reflection(np.full((32, 40, 1), 0.04))
    np.testing.assert_allclose(flat.layer, 0, atol=1e-6)
