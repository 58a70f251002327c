"""Saliency finds what is unlike the rest; hints are of the size asked for."""

import numpy as np
import pytest

from deepinternal.estimators.saliency_map import hints, saliency


def _thing_on_texture(place):
    rng = np.random.default_rng(0)
    image = 0.4 + 0.1 * rng.random((60, 80, 3)).astype(np.float32)
    image[::6] += 0.2
    y, x = place
    image[y : y + 14, x : x + 14] = (0.8, 0.2, 0.1)
    truth = np.zeros((60, 80), bool)
    truth[y : y + 14, x : x + 14] = True
    return image, truth


@pytest.mark.parametrize("place", [(22, 32), (10, 15), (34, 52)])
def test_an_object_is_more_salient_than_texture(place):
    image, truth = _thing_on_texture(place)
    salient = saliency(image)
    assert salient.shape == (60, 80)
    assert salient.min() == 0
    assert salient.max() == 1
    foreground, background = hints(salient, share=0.03)
    assert truth[foreground].mean() > 0.7
    assert not truth[background].any()


def test_mirrored_images_have_mirrored_saliency():
    image, _ = _thing_on_texture((22, 20))
    np.testing.assert_allclose(saliency(image[:, ::-1]), saliency(image)[:, ::-1], atol=1e-3)


def test_grey_images():
    image, truth = _thing_on_texture((22, 32))
    assert saliency(image.mean(-1, keepdims=True))[truth].mean() > 0.3


def test_hints_are_disjoint_and_have_the_given_size():
    for salient in (np.random.default_rng(1).random((20, 30)), np.zeros((20, 30))):
        foreground, background = hints(salient, share=0.05)
        assert foreground.sum() == background.sum() == 30
        assert not (foreground & background).any()
    assert salient[foreground].min() >= salient[background].max()
