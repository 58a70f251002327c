"""Reduced images, against NumPy."""

import numpy as np

from deepinternal.ops import fitting


def test_reduced_images_are_means_of_whole_blocks():
    image = np.random.default_rng(0).random((30, 30, 3), np.float32)
    small = fitting.reduced(image, 10)
    np.testing.assert_allclose(small, image.reshape(10, 3, 10, 3, 3).mean((1, 3)), atol=1e-5)
    assert fitting.reduced(image, 0).shape == fitting.reduced(image, 30).shape == image.shape
    assert fitting.reduced(image[:, :26], 10).shape == (10, 9, 3)
