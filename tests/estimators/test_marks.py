"""A mark drawn over photographs is found again by the edges that it makes."""

import numpy as np
import pytest
import skimage.data

from deepinternal.estimators import marks
from deepinternal.estimators.marks import search, search_common


def _letters(height, width):
    """Bars and rings with soft borders, in [0, 1]."""
    y, x = np.mgrid[:height, :width]
    ring = 6 - np.abs(np.hypot(y - height / 2, x % 50 - 25) - 14)
    return np.clip(np.maximum(ring, 3 - np.abs(x % 50 - 46)), 0, 1)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
@pytest.mark.parametrize(
    ("colour", "opacity"), [((1, 1, 1), 0.4), ((0.05, 0.05, 0.05), 0.4), ((0.9, 0.1, 0.1), 0.5)]
)
def test_colour_and_opacity(name, colour, opacity):
    photo = getattr(skimage.data, name)() / 255
    part = photo[100:160, 150:350]
    mask = opacity * _letters(60, 200)[..., None]
    part[:] = mask * np.array(colour) + (1 - mask) * part
    hint = np.zeros(photo.shape[:2], bool)
    hint[98:162, 148:352] = True
    found = search(np.round(255 * photo) / 255, hint)
    assert found.score > 15
    np.testing.assert_allclose(found.colour, colour, atol=0.12)
    assert abs(found.opacity - opacity) < 0.12
    grey = search(photo.mean(-1, keepdims=True), hint)
    assert grey.colour.shape == (1,)


def _marked_alike():
    """Two photographs, the same with letters, and where the letters are."""
    photos = [p[:200, :300] / 255 for p in (skimage.data.chelsea(), skimage.data.coffee())]
    place = np.zeros((200, 300))
    place[70:130, 60:260] = _letters(60, 200)
    mask = 0.4 * place[..., None]
    return photos, [mask + (1 - mask) * photo for photo in photos], place


def test_what_several_images_have_in_common():
    """Where the letters are and what they are like; nothing of that without them."""
    photos, marked, place = _marked_alike()
    found, where = search_common(marked)
    assert found.score > 15
    np.testing.assert_array_equal(found.colour, 1)
    assert abs(found.opacity - 0.4) < 0.1
    assert where[place > 0.5].mean() > 0.95
    assert where[:50].sum() == 0
    assert search_common(photos)[0].score < 15


def test_large_images_are_searched_reduced(monkeypatch):
    """The same is found in images three times as large, whose sides do not divide by three."""
    _, marked, _ = _marked_alike()
    found, where = search_common(marked)
    monkeypatch.setattr(marks, "_SIDE", 300)
    large = [image.repeat(3, 0).repeat(3, 1)[:-1, :-2] for image in marked]
    again, there = search_common(large)
    np.testing.assert_allclose(again.score, found.score, rtol=0.02)
    np.testing.assert_allclose([*again.colour, again.opacity], [*found.colour, found.opacity])
    assert there.shape == (599, 898)
    assert np.mean(there == where.repeat(3, 0).repeat(3, 1)[:-1, :-2]) > 0.99


def test_nothing_to_find_in_a_flat_image():
    hint = np.zeros((20, 30), bool)
    hint[5:10, 5:20] = True
    assert search(np.full((20, 30, 3), 0.5), hint).score == 0
