"""Alignment of images, against known transforms."""

import jax
import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from deepinternal.ops.alignment import projective_alignment


def test_a_known_transform_is_found_although_an_object_moves_differently():
    rng = np.random.default_rng(0)
    moving = gaussian_filter(rng.normal(size=(64, 90)), 3)
    moving = (moving - moving.min()) / np.ptp(moving)
    truth = np.array([[1.02, 0.01, 3.0], [-0.02, 0.99, -2.0], [1e-4, 0.0, 1.0]])
    y, x = np.mgrid[:64, :90]
    places = np.stack([x, y, np.ones_like(x)], axis=-1) @ truth.T
    column, row = np.moveaxis(places[..., :2] / places[..., 2:], -1, 0)
    fixed = map_coordinates(moving, (row, column), order=1, mode="nearest")
    fixed[20:36, 30:50] = moving[40:56, 10:30]
    found = np.asarray(
        jax.jit(projective_alignment)(np.float32(moving), np.float32(fixed)), np.float64
    )
    corners = np.array([[5, 5, 1], [80, 5, 1], [5, 58, 1], [80, 58, 1]])
    moved = [p[:, :2] / p[:, 2:] for p in (corners @ found.T, corners @ truth.T)]
    assert np.abs(moved[0] - moved[1]).max() < 0.3
