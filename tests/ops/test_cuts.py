"""Minimum cuts, against a maximum flow by scipy, and the cleaning of masks, against scipy.ndimage."""

import jax
import numpy as np
import pytest
from scipy import ndimage, sparse

from deepinternal.ops import cuts

SHAPE = (9, 12)
minimum_cut = jax.jit(cuts.minimum_cut, static_argnames="steps")


def _links(rng, shape=SHAPE):
    """Random links in eighths, 0 where they would leave the image."""
    links = rng.integers(0, 9, (4, *shape)) / 8
    links[0, :, -1] = links[1, -1] = links[2, -1] = links[2, :, -1] = 0
    links[3, -1] = links[3, :, 0] = 0
    return np.float32(links)


def _flow(cost, links):
    """The least cost of a mask, by scipy's maximum flow, in eighths."""
    count, places = cost.size, np.arange(cost.size).reshape(cost.shape)
    rows, columns, weights = [], [], []
    for link, (y, x) in zip(links, cuts.OFFSETS):
        for i, j in np.argwhere(link > 0):
            pair = places[i, j], places[i + y, j + x]
            rows += pair
            columns += pair[::-1]
            weights += [link[i, j]] * 2
    flat = cost.ravel()
    rows += [count] * count + list(range(count))
    columns += list(range(count)) + [count + 1] * count
    weights += list(np.maximum(-flat, 0)) + list(np.maximum(flat, 0))
    whole = np.round(8 * np.array(weights)).astype(np.int32)
    graph = sparse.csr_matrix((whole, (rows, columns)), (count + 2,) * 2)
    flow = sparse.csgraph.maximum_flow(graph, count, count + 1).flow_value / 8
    return flow + np.minimum(flat, 0).sum()


def _cost(mask, cost, links):
    """The cost of a mask, summed link by link."""
    total = float((cost * mask).sum())
    for link, (y, x) in zip(links, cuts.OFFSETS):
        for i, j in np.argwhere(link > 0):
            total += link[i, j] * abs(int(mask[i, j]) - int(mask[i + y, j + x]))
    return total


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_cut_costs_as_little_as_a_maximum_flow(seed):
    rng = np.random.default_rng(seed)
    cost, links = np.float32(rng.integers(-16, 17, SHAPE) / 8), _links(rng)
    found = np.asarray(minimum_cut(cost, links, steps=3000)) > 0.5
    assert _cost(found, cost, links) == pytest.approx(_flow(cost, links), abs=1e-6)
    alone = _cost(cost < 0, cost, links)  # the links matter
    assert _cost(found, cost, links) < alone - 1


def test_hinted_pixels_stay_on_their_side():
    cost, hint = np.float32(np.full(SHAPE, 2)), np.zeros(SHAPE, bool)
    hint[4, 5] = True
    kept = np.asarray(cuts.hinted_cost(cost, hint, ~hint))
    assert (kept < 0).sum() == 1
    assert kept[4, 5] < -100
    assert kept[0, 0] > 100
    np.testing.assert_array_equal(cuts.hinted_cost(cost, 0 * hint, 0 * hint), cost)


def test_weights_of_links():
    """Against float64 NumPy, for each link."""
    image = np.random.default_rng(0).random((6, 7, 3)).astype(np.float32)
    links = np.asarray(jax.jit(cuts.contrast_links)(image, weight=3.0))
    squares = {}
    for index, (y, x) in enumerate(cuts.OFFSETS):
        for i in range(6):
            for j in range(7):
                if 0 <= i + y < 6 and 0 <= j + x < 7:
                    apart = image[i, j].astype(float) - image[i + y, j + x]
                    squares[index, i, j] = (apart**2).sum(), np.hypot(y, x)
    mean = np.mean([square for square, _ in squares.values()])
    expected = np.zeros((4, 6, 7))
    for place, (square, length) in squares.items():
        expected[place] = 3 / length * np.exp(-square / (2 * mean))
    np.testing.assert_allclose(links, expected, rtol=1e-5)


def test_only_parts_with_a_seed_are_kept():
    rng = np.random.default_rng(1)
    mask, seeds = rng.random((30, 40)) < 0.55, rng.random((30, 40)) < 0.02
    labels, _ = ndimage.label(mask)
    expected = np.isin(labels, np.unique(labels[seeds & mask])) & mask
    assert 0 < expected.sum() < mask.sum()
    np.testing.assert_array_equal(cuts.connected_parts(mask, seeds), expected)


def test_cleaning_fills_small_holes_and_removes_parts_without_hints():
    mask = np.zeros((30, 30), bool)
    mask[5:25, 5:25] = True
    mask[0:3, 27:30] = True  # an island
    mask[8:10, 8:10] = False  # a small hole
    mask[12:18, 12:18] = False  # a large hole
    mask[20, 20] = False  # a small hole with a hint
    foreground, background = np.zeros((2, 30, 30), bool)
    foreground[6, 6] = background[20, 20] = True
    expected = mask.copy()
    expected[0:3, 27:30] = False
    expected[8:10, 8:10] = True
    cleaned = jax.jit(cuts.cleaned_mask, static_argnames="radius")
    np.testing.assert_array_equal(cleaned(mask, foreground, background, radius=2), expected)
