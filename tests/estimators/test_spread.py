"""Hints passed on to a whole image, or a video: by likeness, and along the image."""

import numpy as np
import pytest

from deepinternal.estimators.spreading import likeness, spread, walk


def _striped_disc(shape=(48, 64), shift=0):
    """Fine stripes on broad ones of the same colours, crosswise; a hint in each, and the truth."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    truth = np.hypot(y - 24, x - 26 - shift) < 15
    image = 0.5 + 0.3 * np.where(truth, np.sin(1.9 * x), np.sin(0.7 * y))
    foreground = (np.abs(y - 24) < 4) & (np.abs(x - 26 - shift) < 4)
    background = (y < 5) | (x > shape[1] - 6)
    return np.repeat(image[..., None], 3, -1).astype(np.float32), foreground, background, truth


def _iou(mask, truth):
    return (mask & truth).sum() / (mask | truth).sum()


@pytest.mark.parametrize("channels", [1, 3])
def test_texture_alone_separates_object_and_ground(channels):
    image, foreground, background, truth = _striped_disc()
    found = spread(image[None, ..., :channels], foreground[None], background[None])
    assert found.shape == (1, 48, 64)
    assert found.dtype == np.float32
    assert _iou(found[0] > 0.5, truth) > 0.8
    assert found[0][foreground].min() > 0.9
    assert found[0][background].max() < 0.1


def test_hints_of_the_first_frame_apply_to_the_others():
    frames, foregrounds, backgrounds, truths = zip(*(_striped_disc(shift=s) for s in (0, 3, 6)))
    first = [
        np.stack([hints[0], *(0 * h for h in hints[1:])]) for hints in (foregrounds, backgrounds)
    ]
    found = spread(np.stack(frames), *first)
    assert min(_iou(f > 0.5, t) for f, t in zip(found, truths)) > 0.7


def test_a_single_hint_gives_one_half_everywhere():
    image, foreground, _, _ = _striped_disc()
    assert (spread(image[None], foreground[None], 0 * foreground[None]) == 0.5).all()


def test_likeness_changes_sign_with_the_hints():
    image, foreground, background, _ = _striped_disc()
    there = likeness(image[None], foreground[None], background[None])
    back = likeness(image[None], background[None], foreground[None])
    np.testing.assert_allclose(there, -back, atol=1e-5)


def test_a_walk_stops_at_edges():
    """Without evidence, two flat halves take the sides of the hints within them."""
    image = np.zeros((1, 20, 30, 3), np.float32)
    image[:, :, 12:] = 0.8
    foreground, background = (np.zeros((1, 20, 30), bool) for _ in range(2))
    foreground[0, 10, 3] = background[0, 4, 25] = True
    found = walk(image, np.zeros((1, 20, 30)), foreground, background)
    assert found[0, :, :12].min() > 0.5 > found[0, :, 12:].max()


@pytest.mark.parametrize("shape", [(20, 30), (3, 5)])
def test_flat_and_tiny_images(shape):
    foreground, background = (np.zeros((1, *shape), bool) for _ in range(2))
    foreground[0, 0, 0] = background[0, -1, -1] = True
    found = spread(np.full((1, *shape, 3), 0.5, np.float32), foreground, background)
    assert np.isfinite(found).all()
    assert found[0, 0, 0] > 0.5 > found[0, -1, -1]
