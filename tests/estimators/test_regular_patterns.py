"""Sums of random tiles with different periods, which are known."""

import numpy as np
import scipy.ndimage
import skimage.data

from deepinternal.estimators.regular_patterns import separate_patterns


def _tiles(period, seed, side=132):
    """A random tile, smooth across its borders, that is repeated over a square image."""
    tile = np.random.default_rng(seed).normal(size=(period, period, 3))
    tile = scipy.ndimage.gaussian_filter(tile, (1.5, 1.5, 0), mode="wrap")
    tile = tile / np.abs(tile).max() / 4
    count = -(-side // period)
    return np.tile(tile, (count, count, 1))[:side, :side]


def _correlation(a, b):
    a, b = (x - x.mean((0, 1)) for x in (a, b))
    return np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))


def test_two_patterns_are_separated():
    first, second = 1.2 * _tiles(24, 0), _tiles(31, 1)
    image = 0.5 + first + second
    found = separate_patterns(image)
    assert min(found.recurrence) > 0.8
    layers = found.first, found.second
    if _correlation(layers[0], first) < _correlation(layers[0], second):
        layers = layers[::-1]
    for layer, own, other in ((layers[0], first, second), (layers[1], second, first)):
        assert _correlation(layer, own) > 0.9
        assert abs(_correlation(layer, other)) < 0.3
    np.testing.assert_allclose(found.first + found.second, image - image.mean((0, 1)), atol=1e-6)


def test_images_without_two_patterns_are_refused():
    assert separate_patterns(0.5 + _tiles(24, 0)) is None
    assert separate_patterns(skimage.data.astronaut()[::4, ::4] / 255.0) is None
    assert separate_patterns(np.full((40, 48, 1), 0.5)) is None
    assert separate_patterns(np.random.default_rng(0).uniform(size=(64, 64, 3))) is None
