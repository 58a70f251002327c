"""The exact search for patches, against brute force in float64 NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.ops.patches import places, scores, search
from deepinternal.types import InputError
from tests.brute_patches import all_patches, brute_force, photo

PATCH = 5
IMAGE, SEARCHED = photo(18, 22), photo(20, 17, at=(60, 200))
RNG = np.random.default_rng(0)
CHANNELS = np.float32([2, 0.5, 1])
COUNTS = RNG.uniform(0, 1, IMAGE.shape[:2]).astype(np.float32)
COUNTS[4:12, 6:13] = 0  # whole patches that do not count
ALLOWED = np.ones(SEARCHED.shape[:2], bool)
ALLOWED[7:9, 3:] = False
FACTOR = RNG.uniform(0.2, 3, (16, 13)).astype(np.float32)
OPTIONS = {
    "channels": {"channels": CHANNELS},
    "counts": {"counts": COUNTS},
    "allowed": {"allowed": ALLOWED},
    "factor": {"factor": FACTOR},
    "all": {"channels": CHANNELS, "counts": COUNTS, "allowed": ALLOWED, "factor": FACTOR},
}
nearest = jax.jit(search.nearest, static_argnames=("patch", "stride", "count", "chunk"))


def by_loops(image, searched, *, channels=None, counts=None, allowed=None, factor=None):
    """Distances and scores of all pairs, (h, w, N) in float64."""
    ones = np.ones_like(image, np.float64) if channels is None else np.ones_like(image) * channels
    weights = ones if counts is None else ones * counts[..., None]
    a, b, w = (all_patches(x, PATCH) for x in (image, searched, weights))
    flat = b.reshape(-1, b.shape[-1])
    squares = np.square(a[:, :, None] - flat)
    total = w.sum(axis=-1)[..., None]
    distance = (squares * w[:, :, None]).sum(axis=-1) / np.where(total > 0, total, 1)
    score = distance if factor is None else distance * factor.reshape(-1)
    if allowed is not None:
        free = all_patches(allowed[..., None], PATCH).all(axis=-1).reshape(-1)
        score = np.where(free, score, np.inf)
    return distance, score


@pytest.mark.parametrize(("name", "count"), [*((name, 1) for name in OPTIONS), ("all", 3)])
def test_options_equal_those_of_brute_force(name, count):
    distance, score = by_loops(IMAGE, SEARCHED, **OPTIONS[name])
    found = nearest(IMAGE, SEARCHED, patch=PATCH, count=count, **OPTIONS[name])
    assert found.distance.shape == (14, 18, count)[: 2 + (count > 1)]
    number = np.asarray(found.place[..., 0] * 13 + found.place[..., 1]).reshape(14, 18, count)
    here = lambda values: np.take_along_axis(values, number, axis=-1)
    expected = np.sort(score, axis=-1)[..., :count]
    np.testing.assert_allclose(here(score), expected, rtol=1e-5, atol=1e-7)
    reported = np.asarray(found.distance).reshape(number.shape)
    np.testing.assert_allclose(reported, here(distance), rtol=1e-5, atol=1e-8)
    assert all(len(set(n)) == count for n in number.reshape(-1, count))


@pytest.mark.parametrize(("stride", "channels"), [(1, 3), (3, 1)])
def test_nearest_equals_brute_force(stride, channels):
    image, searched = IMAGE[..., :channels], SEARCHED[..., :channels]
    rows, columns = places.grid(image.shape[:2], PATCH, stride=stride)
    assert rows[-1] == 13
    assert columns[-1] == 17
    expected = brute_force(image, searched, PATCH)[np.ix_(rows, columns)]
    distance, place = nearest(image, searched, patch=PATCH, stride=stride)
    np.testing.assert_allclose(distance, expected.min(axis=-1), rtol=1e-5, atol=1e-8)
    chosen = place[..., 0] * 13 + place[..., 1]
    at_place = np.take_along_axis(expected, np.asarray(chosen)[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(at_place, distance, rtol=1e-5, atol=1e-8)


def test_more_patches_than_chunks_and_blocks_hold(monkeypatch):
    """Chunks that do not divide the patches, on both sides, and several blocks."""
    whole = nearest(IMAGE, SEARCHED, patch=PATCH, **OPTIONS["all"])
    monkeypatch.setattr(search, "_BLOCK", 90)
    in_chunks = functools.partial(search.nearest, patch=PATCH, chunk=(37, 40), **OPTIONS["all"])
    found = jax.jit(in_chunks)(IMAGE, SEARCHED)
    np.testing.assert_array_equal(found.place, whole.place)
    np.testing.assert_allclose(found.distance, whole.distance, rtol=1e-6)


def test_forms_for_gpus_equal_brute_force(monkeypatch):
    """Products of numbers in two parts, and minima with their places in one pass."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    middle = IMAGE.mean()  # distances do not depend on it, and smaller numbers are rounded less
    images = (x - middle for x in (IMAGE, SEARCHED))
    left, right = (all_patches(x, PATCH, np.float32).reshape(-1, 75) for x in images)
    rows, constant = scores.left_of(left)
    others = scores.right_of(right)
    parts = scores.in_parts(rows), scores.in_parts(others, right=True)
    held = [np.asarray(x).view(np.uint32) & 0x1FFF for x in (parts[0][:, :76], parts[1][:, :76])]
    assert not any(x.any() for x in held)  # TF32 holds the first parts exactly
    score = scores.products(*parts) + constant[:, None]
    expected = np.sum(np.square(np.float64(left)[:, None] - right), axis=2)
    np.testing.assert_allclose(score, expected, atol=5e-5)  # of squares up to 50
    lowest, first = scores.least(score)
    np.testing.assert_array_equal(first, np.argmin(score, axis=1))
    np.testing.assert_array_equal(lowest, np.min(score, axis=1))


def test_an_unused_patch_is_preferred_by_the_normalised_score():
    """Two source patches are nearly equally near, and no other query resembles one of them."""
    factor = search.normalized_factor(jnp.float32([[0, 0.01]]), 0.00125)
    np.testing.assert_allclose(factor, [[800, 1 / 0.01125]], rtol=1e-6)
    image = np.full((5, 5, 1), 0.5, np.float32)
    searched = np.full((5, 6, 1), 0.4, np.float32)
    searched[:, 5] = 0.62  # in the second of its two patches
    plain = nearest(image, searched, patch=5)
    assert plain.place.tolist() == [[[0, 0]]]
    found = nearest(image, searched, patch=5, factor=factor)
    assert found.place.tolist() == [[[0, 1]]]
    np.testing.assert_allclose(found.distance, (20 * 0.1**2 + 5 * 0.12**2) / 25, rtol=1e-5)


def test_vmap_equals_a_loop():
    images = np.stack([IMAGE, photo(18, 22, at=(100, 100))])
    search_of = functools.partial(nearest, patch=PATCH)
    both = jax.jit(jax.vmap(search_of, (0, None)))(images, SEARCHED)
    for i, image in enumerate(images):
        alone = search_of(image, SEARCHED)
        np.testing.assert_array_equal(both.place[i], alone.place)
        np.testing.assert_allclose(both.distance[i], alone.distance, atol=1e-8)


def test_gradient_is_that_of_the_differences():
    """Of a single patch, to the nearest of nine."""
    image, searched = photo(5, 5), photo(7, 7, at=(60, 200))
    distance, place = nearest(image, searched, patch=5)
    y, x = np.asarray(place)[0, 0]
    found = jax.jit(jax.grad(lambda i: nearest(i, searched, patch=5).distance[0, 0]))(image)
    np.testing.assert_allclose(found, 2 / 75 * (image - searched[y : y + 5, x : x + 5]), atol=1e-7)
    assert distance.shape == (1, 1)


def test_bad_images_are_refused():
    with pytest.raises(ValueError, match="6x12 has no patches of 7x7"):
        search.nearest(photo(), photo(6, 12))
    with pytest.raises(ValueError, match="3 and 1 channels"):
        search.nearest(photo(), photo()[..., :1])
    with pytest.raises(ValueError, match=r"5 patches are asked for.* only 4"):
        search.nearest(photo(), photo(8, 8), count=5)


def test_a_mask_that_leaves_no_patch_is_refused():
    allowed = np.zeros((12, 12), bool)
    allowed[:, :6] = True
    places.check_allowed(allowed, patch=6)
    assert places.usable(allowed, 6).sum() == 7
    with pytest.raises(InputError, match="leaves no whole patch of 7x7"):
        places.check_allowed(allowed, patch=7)
    assert not places.usable(allowed, 7).any()
