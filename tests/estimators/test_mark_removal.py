"""Marks drawn over photographs are removed without nets; cuts are compared with all labellings."""

import itertools

import numpy as np
import pytest
import skimage.data

from deepinternal.estimators import mark_period, mark_removal, marks, mattes


def _photo(name="astronaut", size=(90, 150), corner=(30, 130)):
    (y, x), (h, w) = corner, size
    return getattr(skimage.data, name)()[y : y + h, x : x + w] / 255


def _rings(size):
    """Rings with soft borders and solid lines, in [0, 1]; they repeat after 36 and 40 pixels."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.clip(3.2 - np.abs(np.hypot(y % 36 - 18, x % 40 - 20) - 11), 0, 1)


def _marked(photo, shape, opacity, colour):
    matte = opacity * shape[..., None]
    return np.round(255 * ((1 - matte) * photo + matte * np.asarray(colour))) / 255


def _psnr(made, truth, where):
    return -10 * np.log10(np.square(made - truth)[..., where, :].mean())


def test_a_cut_has_the_lowest_cost_of_all_labellings():
    draw = np.random.default_rng(0)
    unary = draw.normal(size=9)
    grid = np.arange(9).reshape(3, 3)
    pairs = [(grid[:, :-1].ravel(), grid[:, 1:].ravel()), (grid[:-1].ravel(), grid[1:].ravel())]
    tables = [draw.uniform(0, 1, (4, 6)) for _ in pairs]
    for table in tables:  # as few pairs are likely to differ in both directions
        table[1:3] += 1
    total, edges = unary, []
    for pair, table in zip(pairs, tables):
        total, cost = mattes._added(total, pair, list(table))
        edges.append((*pair, cost))
    chosen, gain = mattes._cut(total, edges)

    def cost(labels):
        labels = np.array(labels)
        which = [2 * labels[p] + labels[q] for p, q in pairs]
        taken = sum(table[w, np.arange(6)].sum() for w, table in zip(which, tables))
        return taken + unary[labels > 0].sum()

    every = [cost(labels) for labels in itertools.product((0, 1), repeat=9)]
    np.testing.assert_allclose(cost(chosen.astype(int)), min(every), atol=0.05)
    np.testing.assert_allclose(gain, every[0] - min(every), atol=0.05)


@pytest.mark.parametrize(
    ("name", "opacity", "colour"),
    [
        ("astronaut", 0.45, (1, 1, 1)),
        ("coffee", 0.6, (0.9, 0.1, 0.1)),
        ("chelsea", 0.25, (1, 1, 1)),
    ],
)
def test_the_image_below_a_mark_is_restored(name, opacity, colour):
    photo = _photo(name)
    free = np.zeros(photo.shape[:2], bool)
    free[8:82, 12:140] = True
    shape = _rings(photo.shape[:2]) * (free & (np.mgrid[:90, :150][1] < 130))
    image = _marked(photo, shape, opacity, colour)
    found = mark_removal.remove_mark(image[None], free, marks.likely_marks(image, free))
    assert abs(found.opacity - opacity) < 0.04
    np.testing.assert_allclose(found.colour, colour, atol=0.1)
    assert found.matte[~free].max() == 0
    inside = shape > 0.1
    assert _psnr(found.images[0], photo, inside) > _psnr(image, photo, inside) + 8


def test_a_mark_is_found_in_several_images_together():
    photos = np.stack([_photo(name) for name in ("astronaut", "coffee", "chelsea")])
    shape = np.zeros(photos.shape[1:3])
    shape[18:72, 20:120] = _rings((54, 100))
    images = _marked(photos, shape, 0.4, (1, 1, 1))
    free = np.ones(shape.shape, bool)
    found = mark_removal.remove_mark(images, free, [marks.Mark(np.ones(3), 0.3, 20.0)])
    assert abs(found.opacity - 0.4) < 0.03
    assert np.abs(found.matte - 0.4 * shape).mean() < 0.02


def test_the_period_of_a_repeated_mark_is_found():
    photo = _photo("coffee", (180, 240), (60, 60))
    assert mark_period.search_period(photo) is None
    image = _marked(photo, _rings((180, 240)), 0.3, (1, 1, 1))
    assert mark_period.search_period(image) == (36, 40)
    nodes = mark_period.repeated_nodes((180, 240), (36, 40))
    assert len(np.unique(nodes)) == 36 * 40
    np.testing.assert_array_equal(nodes[36:], nodes[:-36])
    np.testing.assert_array_equal(nodes[:, 40:], nodes[:, :-40])


def test_values_outside_the_range_have_a_cost():
    """Where a white mark would leave negative values there is none."""
    image = np.full((1, 24, 24, 3), 0.3)
    image[:, 8:16, 8:16] = 0.35
    matte, _ = mattes.fit_matte(mattes.mark_scene(image, np.ones((24, 24), bool)), np.ones(3), 0.6)
    assert matte.max() == 0


def test_nothing_is_changed_in_a_flat_image():
    image, free = np.full((1, 20, 30, 3), 0.5), np.zeros((20, 30), bool)
    free[5:15, 5:25] = True
    found = mark_removal.remove_mark(image, free, [])
    np.testing.assert_array_equal(found.images, image)
    assert found.gain == 0
