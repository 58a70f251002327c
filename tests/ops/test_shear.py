"""Homographies of non-rectangular shapes, by where they map points and images."""

import jax
import numpy as np
import pytest

from deepinternal.ops import shear, warping

warp = jax.jit(warping.warp, static_argnames=("output_shape", "method"))
inside = jax.jit(shear.inside, static_argnums=1)
SHIFTS = [(0.0, 0.0), (0.3, 0.2), (0.4, -0.4), (-0.2, 0.35)]


def _at(matrix, x, y):
    u, v, w = np.asarray(matrix, np.float64) @ [x, y, 1]
    return np.array([u / w, v / w])


@pytest.mark.parametrize("shifts", SHIFTS)
def test_corners_move_by_the_shifts(shifts):
    matrix = shear.homography(np.float32(shifts))
    np.testing.assert_allclose(_at(matrix, -1, -1), [-1 + shifts[0], -1], atol=1e-6)
    np.testing.assert_allclose(_at(matrix, 1, 1), [1 + shifts[1], 1], atol=1e-6)
    for x in (-1, 1):
        np.testing.assert_allclose(_at(matrix, x, 0), [x, 0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("shifts", SHIFTS)
def test_the_inverse_undoes_a_homography(shifts):
    """Exactly for points, and up to interpolation for a smooth image."""
    matrix = shear.homography(np.float32(shifts))
    back = shear.inverse(matrix)
    for point in ((0.3, -0.7), (-0.9, 0.5)):
        np.testing.assert_allclose(_at(back, *_at(matrix, *point)), point, atol=1e-5)
    y, x = np.mgrid[:60, :80] / 20
    image = np.stack([np.sin(x) + np.cos(y), np.cos(x + y)], axis=-1).astype(np.float32)
    there = warp(image, shear.in_pixels(matrix, (90, 120), (60, 80)), (90, 120), method="linear")
    again = warp(there, shear.in_pixels(back, (60, 80), (90, 120)), (60, 80), method="linear")
    inner = np.s_[20:40, 25:55]
    np.testing.assert_allclose(np.asarray(again)[inner], image[inner], atol=0.02)


def test_pixels_inside_the_shape():
    everything = inside(shear.homography(np.zeros(2, np.float32)), (40, 40))
    assert bool(everything.all())
    sheared = np.asarray(inside(shear.homography(np.float32([0.4, -0.4])), (40, 40)))
    # A shear to the right at the top: the upper right is beyond the image, the upper left is not.
    assert sheared[0, 0]
    assert not sheared[0, -1]
    assert sheared.mean() == pytest.approx(0.9, abs=0.03)
