"""Reduced images, against NumPy."""

import functools

import jax
import numpy as np
import pytest

from deepinternal.ops import fitting


def test_reduced_images_are_means_of_whole_blocks():
    image = np.random.default_rng(0).random((30, 30, 3), np.float32)
    small = fitting.reduced(image, side=10)
    np.testing.assert_allclose(small, image.reshape(10, 3, 10, 3, 3).mean((1, 3)), atol=1e-5)
    assert fitting.reduced(image).shape == fitting.reduced(image, side=30).shape == image.shape
    assert fitting.reduced(image[:, :26], side=10).shape == (10, 9, 3)


@pytest.mark.parametrize("pixels", [0, 100])
def test_images_are_reduced_in_compiled_functions(pixels):
    image = np.random.default_rng(0).random((12, 30, 3), np.float32)
    reduce = functools.partial(fitting.reduced, pixels=pixels)
    np.testing.assert_allclose(jax.jit(reduce)(image), reduce(image), atol=1e-6)
