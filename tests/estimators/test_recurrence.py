"""Places and statistics of patches against scipy, histograms, and an image that is downscaled."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.signal import correlate2d

from deepinternal.estimators import kernel_statistics, recurrence


def _noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def _half_textured(h, w):
    """Flat on the left, noise from column w // 2 on."""
    image = _noise(h, w, 3)
    image[:, : w // 2] = 0.4
    return image


def test_the_density_of_places_is_proportional_to_the_weights():
    """Quantiles: each place as often as it should be, give or take one."""
    weights = _noise(6, 7).astype(np.float64) ** 2
    weights[2:4, 1:3] = weights[0, 0] = weights[-1, -1] = 0
    found = recurrence.places(weights, 5000)
    assert found.shape == (5000, 2)
    assert found.dtype == np.int32
    counts = np.zeros(weights.shape)
    np.add.at(counts, (found[:, 0], found[:, 1]), 1)
    assert np.abs(counts - 5000 * weights / weights.sum()).max() <= 1
    assert counts[weights == 0].sum() == 0
    flat = found[:, 0] * 7 + found[:, 1]
    np.testing.assert_array_equal(flat, np.sort(flat))


def test_places_without_weights_are_uniform():
    found = recurrence.places(np.zeros((4, 5)), 40)
    places, counts = np.unique(found, axis=0, return_counts=True)
    assert len(places) == 20
    np.testing.assert_array_equal(counts, 2)


def test_texture_is_measured_at_edges():
    """Of a slope and an edge each pixel near it counts alike, for the strongest are cut off."""
    grey = np.zeros((30, 40))
    np.testing.assert_array_equal(recurrence.texture(grey), 0)
    grey[:, 20:] = 1
    found = recurrence.texture(grey)
    assert np.all(found[:, 17:23] > 0)
    np.testing.assert_allclose(found[:, :17], 0, atol=1e-15)
    np.testing.assert_allclose(found[:, 23:], 0, atol=1e-15)
    # One pixel far brighter than all others weighs no more than a few of them.
    noise = _noise(40, 40).astype(np.float64)
    noise[20, 20] = 1000
    found = recurrence.texture(noise)
    assert found.sum() == pytest.approx(1, abs=0.1)
    assert found[17:24, 17:24].sum() < 3 * 49 / 1600


@pytest.mark.parametrize("size", [(96, 100), (97, 101), (64, 131)])
def test_crops_show_texture(size):
    image = _half_textured(*size)
    h, w = size
    for corners, side in zip(recurrence.crop_places(image, 32, 10, 500), (32, 10), strict=True):
        assert corners.shape == (500, 2)
        assert corners.dtype == np.int32
        np.testing.assert_array_equal(corners % 2, 0)
        assert corners.min() >= 0
        assert np.all(corners + side <= size)
        # The middle half of each crop reaches into the texture, or nearly so.
        assert corners[:, 1].min() + side * 3 / 4 + 7 >= w // 2
        inside = corners[:, 1] >= w // 2 - side // 2
        assert inside.mean() > 0.85
        rows = corners[:, 0] / (h - side)
        assert np.all(np.histogram(rows, 4, (0, 1))[0] > 75)


@pytest.mark.parametrize(("size", "side"), [((32, 32), 32), ((33, 32), 32), ((41, 40), 40)])
def test_crops_as_large_as_the_image(size, side):
    for image in (_noise(*size, 3), np.full((*size, 3), 0.3, np.float32)):
        large, small = recurrence.crop_places(image, side, 10, 100)
        np.testing.assert_array_equal(large, 0)
        assert np.all((small >= 0) & (small + 10 <= size))


def test_crops_of_a_flat_image_are_uniform():
    large, small = recurrence.crop_places(np.full((60, 61, 1), 0.3, np.float32), 20, 10, 2000)
    for corners, side in ((large, 20), (small, 10)):
        for axis, n in enumerate((60, 61)):
            assert set(corners[:, axis]) == set(range(0, n - side + 1, 2))


def test_little_texture_is_found():
    """Less of it than the part of the image where measures are cut off."""
    image = np.full((100, 100, 1), 0.4, np.float32)
    image[70:80, 20:30] = _noise(10, 10, 1)
    for corners, side in zip(recurrence.crop_places(image, 24, 16, 300), (24, 16), strict=True):
        overlap = np.minimum(corners + side, (80, 30)) - np.maximum(corners, (70, 20))
        assert np.all(overlap > -8)
        assert np.mean(overlap.min(1) > 0) > 0.9
    fine, coarse = recurrence.patch_covariances(image, 13, count=500)
    mean_square = np.trace(fine) / len(fine)
    assert mean_square > 0.1 * image[70:80, 20:30].var()
    assert np.trace(coarse) > 0


def _kernel_rows(kernel):
    """(25, 21 * 21): the patch of the downscaled image from one of the image, less its mean."""
    rows = np.zeros((5, 5, 21, 21))
    for i, j in np.ndindex(5, 5):
        rows[i, j, 2 * i : 2 * i + 13, 2 * j : 2 * j + 13] = kernel
    rows = rows.reshape(25, -1)
    return rows - rows.mean(0)


def _patches_covariance(grey, corners, step):
    """By definition, of 5x5 pixels `step` apart, each patch without its mean."""
    total = np.zeros((25, 25))
    for row, column in corners:
        patch = grey[row : row + 4 * step + 1 : step, column : column + 4 * step + 1 : step]
        patch = (patch - patch.mean()).ravel()
        total += np.outer(patch, patch)
    return total / len(corners)


def _kernel():
    kernel = ndimage.gaussian_filter(np.eye(13) * np.arange(13)[:, None], 1.0, mode="constant")
    return kernel / kernel.sum()


def test_covariances_predict_those_of_downscaled_patches(monkeypatch):
    """At the same places, without downscaling anything."""
    image = _noise(50, 47, 3)
    grey = image.astype(np.float64).mean(-1)
    shapes, corners = [], []

    def places(weights, count):
        drawn = np.random.default_rng(len(shapes)).integers(0, weights.shape, (count, 2))
        shapes.append(weights.shape)
        corners.append(drawn)
        return drawn

    monkeypatch.setattr(recurrence, "places", places)
    fine, coarse = recurrence.patch_covariances(image, 13, count=300)
    assert shapes == [(46, 43), (30, 27)]  # all that fit
    assert fine.shape == (25, 25)
    assert coarse.shape == (441, 441)
    np.testing.assert_allclose(fine, _patches_covariance(grey, corners[0], 1), atol=1e-6)
    blurred = correlate2d(grey, _kernel(), "valid")
    expected = _patches_covariance(blurred, corners[1], 2)
    rows = _kernel_rows(_kernel())
    np.testing.assert_allclose(rows @ coarse @ rows.T, expected, atol=1e-4 * np.trace(expected))


def test_covariances_of_a_homogeneous_image():
    """Nearly those of all patches of the image downscaled as a whole."""
    image = ndimage.gaussian_filter(_noise(160, 150, 1), (0.8, 0.8, 0)).astype(np.float32)
    fine, coarse = recurrence.patch_covariances(image, 13, count=16384)
    for matrix in (fine, coarse):
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-7)
        values = np.linalg.eigvalsh(matrix.astype(np.float64))
        assert values.min() > -1e-5 * values.max()
    small = correlate2d(image[..., 0].astype(np.float64), _kernel(), "valid")[::2, ::2]
    every = [(i, j) for i in range(small.shape[0] - 4) for j in range(small.shape[1] - 4)]
    expected = _patches_covariance(small, every, 1)
    rows = _kernel_rows(_kernel())
    difference = rows @ coarse @ rows.T - expected
    assert np.linalg.norm(difference) < 0.1 * np.linalg.norm(expected)


def test_patches_are_drawn_where_there_is_texture():
    image = _half_textured(60, 90)
    fine, coarse = recurrence.patch_covariances(image, 13, count=2000)
    variance = image[:, 45:].mean(-1).var()
    for matrix in (fine, coarse):
        # Half of it where patches are drawn everywhere.
        assert np.trace(matrix) / len(matrix) > 0.75 * variance


@pytest.mark.parametrize("kernel_size", [13, 9])
def test_patches_to_be_downscaled_are_drawn_around_the_texture(monkeypatch, kernel_size):
    """Not beside it, though texture is measured at half the size."""
    image = np.full((90, 96, 1), 0.4, np.float32)
    image[36:48, 50:62] = _noise(12, 12, 1)
    sides = []

    def places(weights, count):
        side = 5 if not sides else 8 + kernel_size
        sides.append(side)
        centre = np.array(ndimage.center_of_mass(weights)) + (side - 1) / 2
        np.testing.assert_allclose(centre, (41.5, 55.5), atol=1.5)
        return np.zeros((count, 2), np.int32)

    monkeypatch.setattr(recurrence, "places", places)
    recurrence.patch_covariances(image, kernel_size, count=3)
    assert len(sides) == 2


def test_only_the_middle_of_a_large_image_is_used(monkeypatch):
    image = np.random.default_rng(0).random((100, 91, 3), np.float32)
    options = {"sides": (32, 16), "kernel_size": 13, "noise_std": 0.01}
    monkeypatch.setattr(kernel_statistics, "MIDDLE", 64)
    found = kernel_statistics.statistics(image, **options)
    alone = kernel_statistics.statistics(image[18:82, 13:78], **options)
    for name in ("large", "small"):
        alone[name] = alone[name] + [18, 13]
    for name, value in alone.items():
        np.testing.assert_array_equal(found[name], value)
    for name, side in (("large", 32), ("small", 16)):
        assert found[name].dtype == np.int32
        assert (found[name] >= [18, 13]).all()
        assert (found[name] + side <= [82, 78]).all()
