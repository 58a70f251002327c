"""A mark drawn over photographs is found again by the edges that it makes."""

import numpy as np
import pytest
import skimage.data

from deepinternal.estimators import marks
from deepinternal.estimators.marks import search_common, search_mark


def _letters(height, width):
    """Bars and rings with soft borders, in [0, 1]."""
    y, x = np.mgrid[:height, :width]
    ring = 6 - np.abs(np.hypot(y - height / 2, x % 50 - 25) - 14)
    return np.clip(np.maximum(ring, 3 - np.abs(x % 50 - 46)), 0, 1)


@pytest.mark.parametrize(
    ("name", "colour", "opacity"),
    [
        ("astronaut", (1, 1, 1), 0.4),
        ("chelsea", (0.05, 0.05, 0.05), 0.4),
        ("coffee", (0.9, 0.1, 0.1), 0.5),
        ("astronaut", (0.9, 0.1, 0.1), 0.5),
    ],
)
def test_colour_and_opacity(name, colour, opacity):
    photo = getattr(skimage.data, name)() / 255
    part = photo[100:160, 150:350]
    mask = opacity * _letters(60, 200)[..., None]
    part[:] = mask * np.array(colour) + (1 - mask) * part
    hint = np.zeros(photo.shape[:2], bool)
    hint[98:162, 148:352] = True
    found = search_mark(np.round(255 * photo) / 255, hint)
    assert found.score > 15
    np.testing.assert_allclose(found.colour, colour, atol=0.12)
    assert abs(found.opacity - opacity) < 0.12
    grey = search_mark(photo.mean(-1, keepdims=True), hint)
    assert grey.colour.shape == (1,)


@pytest.fixture(scope="module")
def alike():
    """Two photographs, the same with letters, where the letters are, and what is found of them."""
    photos = [p[:150, :230] / 255 for p in (skimage.data.chelsea(), skimage.data.coffee())]
    place = np.zeros((150, 230))
    place[60:120, 40:200] = _letters(60, 160)
    mask = 0.4 * place[..., None]
    marked = [mask + (1 - mask) * photo for photo in photos]
    return photos, marked, place, search_common(marked)


@pytest.mark.slow
def test_a_common_mark_of_several_images_is_found(alike):
    """Where the letters are and what they are like; nothing of that without them."""
    photos, _, place, (found, where) = alike
    assert found.score > 15
    np.testing.assert_array_equal(found.colour, 1)
    assert abs(found.opacity - 0.4) < 0.1
    assert where[place > 0.5].mean() > 0.95
    assert where[:40].sum() == 0
    assert search_common(photos)[0].score < 15


@pytest.mark.slow
def test_large_images_are_reduced_for_the_search(monkeypatch, alike):
    """The same is found in images three times as large, whose sides do not divide by three."""
    _, marked, _, (found, where) = alike
    monkeypatch.setattr(marks, "_SIDE", 230)
    large = [image.repeat(3, 0).repeat(3, 1)[:-1, :-2] for image in marked]
    again, there = search_common(large)
    np.testing.assert_allclose(again.score, found.score, rtol=0.02)
    np.testing.assert_allclose([*again.colour, again.opacity], [*found.colour, found.opacity])
    assert there.shape == (449, 688)
    assert np.mean(there == where.repeat(3, 0).repeat(3, 1)[:-1, :-2]) > 0.99


def test_a_flat_image_has_no_mark():
    hint = np.zeros((20, 30), bool)
    hint[5:10, 5:20] = True
    assert search_mark(np.full((20, 30, 3), 0.5), hint).score == 0
