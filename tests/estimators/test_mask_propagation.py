"""Masks that are passed on from hinted frames to the others."""

import functools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deepinternal.estimators import mask_propagation
from deepinternal.ops.color import rgb_to_lab


def _texture(rng, shape, colour):
    grain = gaussian_filter(rng.normal(size=(*shape, 3)), (1, 1, 0))
    return np.clip(colour + 0.3 * grain, 0, 1)


@functools.cache
def _clip():
    """Five frames: a disc moves to the right while the camera moves down, and where the disc is."""
    rng = np.random.default_rng(0)
    ground = _texture(rng, (60, 72), [0.4, 0.5, 0.4])
    disc = _texture(rng, (25, 25), [0.55, 0.45, 0.4])
    inside = np.hypot(*(np.mgrid[:25, :25] - 12)) < 12
    frames, truths = [], []
    for number in range(5):
        frame, truth = ground[number : number + 48].copy(), np.zeros((48, 72), bool)
        place = np.s_[10:35, 4 + 9 * number : 29 + 9 * number]
        frame[place] = np.where(inside[..., None], disc, frame[place])
        truth[place] = inside
        frames.append(frame)
        truths.append(truth)
    return np.float32(frames), np.stack(truths)


def _hints(frame):
    """Of one frame, hints 2 pixels away from the disc's outline."""
    truth = _clip()[1]
    blurred = gaussian_filter(np.float64(truth[frame]), 1.5)
    pair = np.zeros((2, *truth.shape), bool)
    pair[:, frame] = blurred > 0.95, blurred < 0.05
    return pair


def _ious(masks):
    masks, truth = masks > 0.5, _clip()[1]
    return (masks & truth).sum((1, 2)) / (masks | truth).sum((1, 2))


@pytest.mark.parametrize("frame", [0, 3])
def test_an_object_is_followed_from_any_frame(frame):
    masks = mask_propagation.propagated(_clip()[0], *_hints(frame))
    assert masks.shape == _clip()[1].shape
    assert _ious(masks).min() > 0.85


def test_hints_of_one_kind_in_another_frame_are_kept():
    foreground, background = _hints(0)
    foreground[2, 40:46, 60:70] = True
    masks = mask_propagation.propagated(_clip()[0], foreground, background)
    assert masks[2, 40:46, 60:70].min() > 0.5


def test_moving_objects_change_more_than_the_background():
    frames, truth = _clip()
    change = mask_propagation.change(np.asarray(rgb_to_lab(frames)) / [100, 50, 50])
    assert abs(change.mean()) < 1e-3
    assert change[truth].mean() > change[~truth].mean() + 1
