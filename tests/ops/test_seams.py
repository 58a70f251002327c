"""Seam carving against all possible seams, and against loops in NumPy that need no canvas."""

import itertools

import jax
import numpy as np
import pytest
import skimage.data

from deepinternal.ops import seams

remove = jax.jit(seams.remove_seams)
double = jax.jit(seams.double_seams)


def photo(height=24, width=30):
    """Part of a photograph with values that float32 sums exactly."""
    return np.float32(skimage.data.astronaut()[20 : 20 + height, 180 : 180 + width]) / 256


def on_canvas(image, columns):
    return np.pad(image, ((0, 0), (0, columns), (0, 0)), constant_values=0.3)


def all_seams(height, width):
    """Yields every connected path."""
    for start in range(width):
        for steps in itertools.product((-1, 0, 1), repeat=height - 1):
            seam = start + np.cumsum((0, *steps))
            if seam.min() >= 0 and seam.max() < width:
                yield seam


def energy_by_loops(image):
    h, w = image.shape[:2]
    expected = np.zeros((h, w), np.float32)
    for y, x in np.ndindex(h, w):
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            inside = 0 <= y + dy < h and 0 <= x + dx < w
            v, u = (y + dy, x + dx) if inside else (y - dy, x - dx)
            expected[y, x] += np.abs(image[y, x] - image[v, u]).sum()
    return expected


def least_by_loops(cost):
    """Dynamic programming, pixel by pixel."""
    h, w = cost.shape
    sums = cost.astype(np.float64)
    for y, x in itertools.product(range(1, h), range(w)):
        sums[y, x] += sums[y - 1, max(x - 1, 0) : x + 2].min()
    seam = [int(np.argmin(sums[-1]))]
    for y in range(h - 2, -1, -1):
        first = max(seam[-1] - 1, 0)
        seam.append(first + int(np.argmin(sums[y, first : seam[-1] + 2])))
    return np.array(seam[::-1])


def removed_by_loops(image, count):
    columns = np.tile(np.arange(image.shape[1]), (image.shape[0], 1))
    for _ in range(count):
        keep = np.ones(columns.shape, bool)
        keep[np.arange(len(keep)), least_by_loops(energy_by_loops(image))] = False
        image = image[keep].reshape(len(keep), -1, image.shape[-1])
        columns = columns[keep].reshape(len(keep), -1)
    return image, columns


@pytest.mark.parametrize("extra", [0, 5])
def test_energy_by_loops(extra):
    image = photo(5, 6)
    found = jax.jit(seams.seam_energy)(on_canvas(image, extra), width=6)
    np.testing.assert_array_equal(found[:, :6], energy_by_loops(image))
    assert np.all(np.isinf(found[:, 6:]))


def test_the_least_seam_is_the_least_of_all():
    cost = energy_by_loops(photo(6, 7))
    least = min(all_seams(6, 7), key=lambda seam: cost[np.arange(6), seam].sum())
    np.testing.assert_array_equal(seams.least_seam(cost), least)


def test_seams_are_removed_one_after_another():
    """Also on a canvas, and for numbers that are traced."""
    image = photo(12, 17)
    narrow, columns = removed_by_loops(image, 6)
    for extra in (0, 4):
        made, found = remove(on_canvas(image, extra), 6, width=17)
        np.testing.assert_array_equal(made[:, :11], narrow)
        np.testing.assert_array_equal(found[:, :11], columns)


def test_a_batch_of_images_of_different_widths():
    images, widths, counts = [photo(9, 12), photo(9, 8)], np.array([12, 8]), np.array([3, 5])
    batch = np.stack([on_canvas(x, 12 - x.shape[1]) for x in images])
    narrowed = lambda image, count, width: seams.remove_seams(image, count, width=width)[0]
    made = jax.jit(jax.vmap(narrowed))(batch, counts, widths)
    for image, count, found in zip(images, counts, made):
        expected = removed_by_loops(image, count)[0]
        np.testing.assert_array_equal(found[:, : expected.shape[1]], expected)


@pytest.mark.parametrize("count", [1, 4])
def test_a_doubled_pixel_is_averaged_with_its_neighbours(count):
    image = photo(8, 9)
    kept = removed_by_loops(image, count)[1]
    columns = np.pad(kept, ((0, 0), (0, count + 5)))
    made = double(on_canvas(image, 5), columns, count, width=9)
    for y in range(8):
        row = []
        for x, value in enumerate(image[y]):
            left, right = image[y, max(x - 1, 0)], image[y, min(x + 1, 8)]
            row += [value] if x in kept[y] else [(left + value) / 2, (value + right) / 2]
        np.testing.assert_allclose(made[y, : 9 + count], row, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 6, 3), (5, 2, 1), (4, 4, 3)])
def test_thin_and_flat_images(shape):
    made, columns = remove(np.full(shape, 0.5, np.float32), 1)
    assert np.all(np.asarray(made) == 0.5)
    assert np.all(np.diff(np.asarray(columns)[:, : shape[1] - 1], axis=1) >= 1)
