"""Fields of approximately nearest patches, compared with the exact search."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
from skimage import data

from deepinternal.ops.patches import descriptors, fields, places, search
from deepinternal.ops.patches.search import Matches
from deepinternal.types import InputError
from tests.brute_patches import all_patches, photo

KEY = jax.random.key(3)
IMAGE, SEARCHED = photo(64, 72), photo(60, 70, at=(60, 200))
STARTED = ("patch", "sweeps", "orders")
propagated = jax.jit(fields.propagated, static_argnames=STARTED)
approximate = jax.jit(fields.approximate, static_argnames=STARTED)
nearest = jax.jit(search.nearest, static_argnames="patch")


def random_field(rng, shape=(58, 66), others=(54, 64)):
    return np.stack([rng.integers(0, n, shape) for n in others], axis=-1).astype(np.int32)


def distances_at(image, searched, place):
    """By loops over patches, in float64."""
    a, b = all_patches(image, 7), all_patches(searched, 7)
    return np.mean(np.square(a - b[place[..., 0], place[..., 1]]), axis=-1)


def test_approximate_matches_are_nearly_the_nearest():
    exact, found = nearest(IMAGE, SEARCHED), approximate(IMAGE, SEARCHED, key=KEY)
    assert np.mean(found.distance) < 1.05 * np.mean(exact.distance)
    assert np.all(found.distance >= exact.distance - 1e-7)
    expected = distances_at(IMAGE, SEARCHED, np.asarray(found.place))
    np.testing.assert_allclose(found.distance, expected, rtol=1e-4, atol=1e-7)
    again = approximate(IMAGE, SEARCHED, key=KEY)
    np.testing.assert_array_equal(found.place, again.place)


def test_no_match_is_worse_than_at_the_start():
    start = random_field(np.random.default_rng(0))
    before = distances_at(IMAGE, SEARCHED, start)
    found = propagated(IMAGE, SEARCHED, start, key=KEY, orders=0)
    assert np.all(found.distance <= before + 1e-6)
    assert np.mean(found.distance) < 0.5 * np.mean(before)
    exact = nearest(IMAGE, SEARCHED)
    kept = propagated(IMAGE, SEARCHED, exact.place, key=KEY, orders=0)
    np.testing.assert_allclose(kept.distance, exact.distance, atol=1e-8)


def test_good_matches_spread_from_a_single_patch():
    """In an image moved by (3, 5), propagation spreads the one correct match to all patches."""
    image, searched = IMAGE[3:35, 5:37], IMAGE[:40, :48]
    start = np.zeros((26, 26, 2), np.int32)
    start[12, 14] = 15, 19
    found = propagated(image, searched, start, key=KEY, orders=0, sweeps=2)
    here = np.stack(np.indices((26, 26)), axis=-1) + np.array([3, 5])
    assert np.mean(np.all(found.place == here, axis=-1)) > 0.95


def test_options_mean_the_same_as_in_the_exact_search():
    """With weights of channels, a hole, a mask and factors together."""
    rng = np.random.default_rng(1)
    counts = np.ones(IMAGE.shape[:2], np.float32)
    counts[20:40, 20:36] = 0
    allowed = np.ones(SEARCHED.shape[:2], bool)
    allowed[25:30, 20:60] = False
    options = {
        "channels": np.float32([2, 1, 0.5]),
        "counts": counts,
        "allowed": allowed,
        "factor": rng.uniform(0.5, 2, (54, 64)).astype(np.float32),
    }
    exact = nearest(IMAGE, SEARCHED, **options)
    found = approximate(IMAGE, SEARCHED, key=KEY, **options)
    y, x = np.moveaxis(np.asarray(found.place), -1, 0)
    assert np.asarray(places.usable(allowed, 7))[y, x].all()
    score = lambda m: m.distance * options["factor"][m.place[..., 0], m.place[..., 1]]
    assert np.all(score(found) >= score(exact) * (1 - 1e-5) - 1e-7)
    assert np.mean(score(found)) < 1.15 * np.mean(score(exact))
    start = random_field(rng)
    better = propagated(IMAGE, SEARCHED, start, key=KEY, orders=0, **options)
    y, x = np.moveaxis(np.asarray(better.place), -1, 0)
    assert np.asarray(places.usable(allowed, 7))[y, x].all()


def test_vmap_equals_a_loop():
    images = np.stack([IMAGE[:30, :34], photo(30, 34, at=(100, 100))])
    searched = SEARCHED[:28, :36]
    keys = jax.random.split(KEY, 2)
    run = lambda image, key: fields.approximate(image, searched, key=key, patch=5)
    compiled = jax.jit(run)
    alone = [compiled(*x) for x in zip(images, keys)]
    both = jax.jit(jax.vmap(run))(images, keys)
    for found, expected in zip(map(Matches, *both), alone):
        same = np.all(found.place == expected.place, axis=-1)
        assert np.mean(same) > 0.995  # rounding decides between equally near patches
        np.testing.assert_allclose(found.distance, expected.distance, atol=1e-4)


def test_the_number_of_orders_may_be_traced():
    start = random_field(np.random.default_rng(0))
    run = jax.jit(lambda n: fields.propagated(IMAGE, SEARCHED, start, key=KEY, orders=n))
    known = propagated(IMAGE, SEARCHED, start, key=KEY, orders=1)
    np.testing.assert_allclose(run(1).distance, known.distance, atol=1e-5)
    assert np.mean(run(3).distance) < np.mean(run(1).distance)


def test_gradient_of_distances_is_that_of_fixed_places():
    image, searched = jnp.asarray(IMAGE[:16, :18]), SEARCHED[:17, :16]

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def gradient(x):
        found = approximate(x, searched, key=KEY, patch=5)
        return jnp.sum(found.distance), found.place

    found, place = gradient(image)
    expected = np.zeros(image.shape)
    for y, x in np.ndindex(place.shape[:2]):
        v, u = np.asarray(place)[y, x]
        apart = IMAGE[y : y + 5, x : x + 5] - SEARCHED[v : v + 5, u : u + 5]
        expected[y : y + 5, x : x + 5] += 2 * apart / apart.size
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("patch", [7, 6])
def test_an_enlarged_field_points_to_the_same_content(patch):
    """The searched image is the image moved by (6, 10), at both levels."""
    place = np.stack(np.indices((24, 30)), axis=-1).astype(np.int32) + np.int32([3, 5])
    coarse = 24 + patch - 1, 30 + patch - 1
    size, searched = tuple(2 * n for n in coarse), (90, 100)
    found = fields.enlarged(place, size, searched, patch=patch, coarse_searched_size=(45, 50))
    h, w = (n - patch + 1 for n in size)
    assert found.shape == (h, w, 2)
    expected = np.stack(np.indices((h, w)), axis=-1) + np.array([6, 10])
    assert np.all(np.abs(found - expected) <= 1)
    assert np.mean(found == expected) > 0.8
    smaller = fields.enlarged(place, size, (20, 24), patch=patch)
    assert smaller.min() >= 0
    assert np.all(np.max(np.asarray(smaller), axis=(0, 1)) == [20 - patch, 24 - patch])


def test_joined_images_are_searched_without_their_borders():
    images = [photo(20, 16), photo(14, 22, at=(100, 90)), photo(20, 12, at=(60, 200))]
    whole, allowed = places.joined(images)
    assert whole.shape == (20, 16 + 22 + 12 + 2, 3)
    assert np.sum(allowed) == sum(x.shape[0] * x.shape[1] for x in images)
    free = np.asarray(places.usable(allowed, 5))
    inside = np.zeros_like(free)
    for x, left in zip(images, (0, 17, 40)):
        inside[: x.shape[0] - 4, left : left + x.shape[1] - 4] = True
        np.testing.assert_array_equal(whole[: x.shape[0], left : left + x.shape[1]], x)
    np.testing.assert_array_equal(free, inside)
    for x, left in zip(images, (0, 17, 40)):
        found = nearest(x[:14, :12], whole, patch=5, allowed=allowed)
        assert np.all(found.distance == 0)
        assert np.all(found.place[..., 1] >= left)
    with pytest.raises(InputError, match="3, 1 channels"):
        places.joined([photo(), photo()[..., :1]])


def test_waves_are_those_of_the_largest_variance():
    waves = jax.jit(functools.partial(descriptors.waves, patch=5, size=20))
    image = np.float32(data.astronaut()[:60, :60]) / 255
    covariance = np.cov(all_patches(image, 5).reshape(-1, 75).T, bias=True)
    basis = np.float64(waves(image))
    np.testing.assert_allclose(basis.T @ basis, np.eye(20), atol=1e-6)
    variances = np.diag(basis.T @ covariance @ basis)
    np.testing.assert_allclose(variances, np.sort(variances)[::-1])
    every = scipy.fft.dctn(np.eye(75).reshape(75, 5, 5, 3), axes=(1, 2, 3), norm="ortho")
    every = every.reshape(75, 75)
    expected = np.sort(np.diag(every.T @ covariance @ every))[::-1]
    np.testing.assert_allclose(variances, expected[:20], rtol=1e-3)
    assert variances.sum() > 0.95 * np.trace(covariance)
    assert np.isfinite(waves(np.zeros_like(image))).all()


@pytest.mark.parametrize(("patch", "at_once"), [(4, 2**18), (7, 2**18), (4, 60)])
def test_projections_are_products(monkeypatch, patch, at_once):
    monkeypatch.setattr(descriptors, "_AT_ONCE", at_once)  # 60: bands of four of the 17 rows
    image = photo(20, 17)
    basis = np.random.default_rng(0).normal(size=(patch * patch * 3, 6)).astype(np.float32)
    found = jax.jit(functools.partial(descriptors.projected, patch=patch))(image, basis)
    flat = all_patches(image, patch).reshape(-1, patch * patch * 3)
    np.testing.assert_allclose(found, flat @ basis, atol=1e-4)
    flat = image[:patch, :patch].reshape(-1)
    some = descriptors.some_pixels(patch, 3, amount=9)
    assert set(some.sum(axis=0)) == {1}
    pixels = descriptors.projected(image, some, patch=patch)
    np.testing.assert_allclose(pixels[0], flat[some.argmax(axis=0)], atol=1e-6)
    assert len(pixels[0]) <= 30
