"""Measures of patches against float64 NumPy and SciPy, and in clear cases."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage

from deepinternal.ops.patches import measures, origins, places, search
from deepinternal.ops.resizing import resize
from tests.brute_patches import all_patches, brute_force, photo

SCALES = (1.0, 0.5)
similarity = functools.partial(
    jax.jit(measures.bidirectional_similarity, static_argnames=("patch", "scales", "stride")),
    scales=SCALES,
)
moments = jax.jit(measures.moments, static_argnums=1)
frechet = jax.jit(measures.frechet)
sifid = jax.jit(functools.partial(measures.sifid, scales=SCALES))
compare = jax.jit(functools.partial(measures.compare, scales=SCALES))
usage = jax.jit(origins.usage, static_argnums=1, static_argnames="patch")
largest_copy = jax.jit(origins.largest_copy)


def test_bidirectional_similarity_is_that_of_brute_force():
    source, target = photo(28, 32), photo(28, 40, at=(60, 200))
    found = similarity(source, target, patch=5, stride=1)
    for i, scale in enumerate(SCALES):
        a, b = (np.asarray(resize(x, scale=scale)) for x in (source, target))
        coherence = brute_force(b, a, 5).min(axis=-1).mean()
        completeness = brute_force(a, b, 5).min(axis=-1).mean()
        np.testing.assert_allclose(found.coherences[i], coherence, rtol=1e-4)
        np.testing.assert_allclose(found.completenesses[i], completeness, rtol=1e-4)
    np.testing.assert_allclose(found.coherence, found.coherences.mean(), rtol=1e-6)
    np.testing.assert_allclose(found.completeness, found.completenesses.mean(), rtol=1e-6)


def test_an_image_is_similar_to_itself():
    image = photo()
    found = similarity(image, image)
    assert jax.tree.all(jax.tree.map(lambda x: bool((x == 0).all()), found))


def test_a_crop_is_coherent_and_not_complete():
    found = similarity(photo(), photo()[8:36, 4:36], scales=(1.0,))
    assert found.coherence == 0
    assert found.completeness > 1e-3


def test_stretching_is_less_coherent_than_tiling():
    image = photo()
    copies = similarity(image, np.tile(image, (1, 2, 1)))
    wide = similarity(image, resize(image, scale=(1, 2)))
    assert wide.coherence > 2 * copies.coherence
    # The completeness of the copies is not 0, because the small scale mirrors other borders.
    assert wide.completeness > 10 * copies.completeness


def test_vmap():
    sources = np.stack([photo(), photo(at=(60, 200))])
    targets = sources[:, :32, 4:]
    measure = functools.partial(similarity, scales=(1.0,))
    both = jax.vmap(measure)(sources, targets)
    for i in range(2):
        alone = measure(sources[i], targets[i])
        np.testing.assert_allclose(both.completenesses[i], alone.completenesses, atol=1e-7)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="6x12 has no patches of 7x7"):
        measures.bidirectional_similarity(photo(), photo(24, 48), scales=(0.25,))


def test_moments_of_more_patches_than_a_chunk_holds(monkeypatch):
    monkeypatch.setattr(measures, "_AT_ONCE", 37)
    image = photo(18, 22)
    mean, covariance = jax.jit(lambda x: measures.moments(x, 5))(image)
    flat = all_patches(image, 5).reshape(-1, 75)
    np.testing.assert_allclose(mean, flat.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(flat.T, bias=True), atol=1e-6)


def reference_frechet(a, b):
    (m, c), (n, d) = a, b
    root = scipy.linalg.sqrtm(c @ d)
    return np.sum((m - n) ** 2) + np.trace(c + d - 2 * np.real(root))


def test_frechet_is_that_of_sqrtm():
    rng = np.random.default_rng(0)
    fits = []
    for shift in (0, 0.1):
        x = rng.normal(shift, 1, (500, 12)) @ rng.normal(size=(12, 12))
        fits.append((x.mean(axis=0), np.cov(x.T, bias=True)))
    expected = reference_frechet(*fits)
    assert abs(float(frechet(*jax.tree.map(jnp.float32, fits))) - expected) < 1e-3 * expected


def test_frechet_of_patches():
    """Covariances whose eigenvalues span five orders of magnitude; float64 has them all."""
    images = photo(), photo(60, 70, at=(60, 200))
    flat = [all_patches(x, 5).reshape(-1, 75) for x in images]
    expected = reference_frechet(*((x.mean(axis=0), np.cov(x.T, bias=True)) for x in flat))
    found = frechet(*(moments(x, 5) for x in images))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_frechet_of_a_singular_covariance():
    flat = jnp.full((40, 40, 3), 0.3)
    mean, covariance = moments(flat, 5)
    np.testing.assert_allclose(mean, 0.3, rtol=1e-6)
    found = measures.frechet((mean, covariance), (mean + 0.1, covariance))
    np.testing.assert_allclose(found, 75 * 0.01, rtol=1e-4)


def test_sifid_orders_what_is_clear():
    image = photo()
    alike, tiled, wide, noise = (
        float(sifid(image, x))
        for x in (
            image,
            np.tile(image, (1, 2, 1)),
            resize(image, scale=(1, 2)),
            np.random.default_rng(0).permutation(image.reshape(-1, 3)).reshape(image.shape),
        )
    )
    assert alike < 1e-6 < tiled < wide < noise


def test_diversity():
    image = photo()
    assert measures.diversity(jnp.stack([image] * 3), image) < 1e-6
    rng = np.random.default_rng(0)
    pixels = image.reshape(-1, 3)
    shuffled = [rng.permutation(pixels).reshape(image.shape) for _ in range(50)]
    found = measures.diversity(jnp.asarray(shuffled), image)
    assert abs(float(found) - 1) < 0.03
    stack = np.stack(shuffled).astype(np.float64)
    expected = stack.std(axis=0).mean() / image.astype(np.float64).std(axis=(0, 1)).mean()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def positions(shape):
    return np.stack(np.indices(shape), axis=-1)


def test_usage_by_loops():
    size, patch = (12, 15), 4
    place = np.random.default_rng(0).integers(0, (3, 12), (5, 7, 2))
    used, possible = np.zeros(size), np.zeros(size)
    for y, x in place.reshape(-1, 2):
        used[y : y + patch, x : x + patch] += 1
    for y, x in np.ndindex(9, 12):
        possible[y : y + patch, x : x + patch] += 1
    shares = (used / possible)[used > 0]
    shares /= shares.sum()
    found = usage(place, size, patch=patch)
    np.testing.assert_allclose(found.counts, used / possible, rtol=1e-6)
    np.testing.assert_allclose(found.share, (used > 0).mean(), rtol=1e-6)
    np.testing.assert_allclose(
        found.evenness, np.exp(-np.sum(shares * np.log(shares))) / used.size, rtol=1e-5
    )
    assert found.share < 0.5


def test_usage_of_the_source_and_of_one_patch():
    whole = usage(positions((34, 42)), (40, 48))
    np.testing.assert_allclose([whole.share, whole.evenness], 1, rtol=1e-3)
    corner = usage(np.zeros((5, 5, 2), int), (40, 48))
    np.testing.assert_allclose(corner.share, 49 / (40 * 48), rtol=1e-6)
    assert corner.evenness < corner.share


@pytest.mark.parametrize(("shape", "values", "stride"), [((31, 45), 2, 1), ((9, 60), 3, 2)])
def test_the_largest_copy_is_that_of_scipy(shape, values, stride):
    """Random offsets, among them long, winding regions."""
    rng = np.random.default_rng(0)
    offsets = rng.integers(0, values, (*shape, 2))
    offsets[3, 2:] = offsets[3:, 2] = offsets[-1, 2:] = 7  # a long bent region
    offsets[3:, -1] = 7
    largest = 0
    for offset in np.unique(offsets.reshape(-1, 2), axis=0):
        labels, _ = scipy.ndimage.label(np.all(offsets == offset, axis=-1))
        largest = max(largest, np.bincount(labels.ravel())[1:].max())
    at = [stride * np.arange(n) for n in shape]
    place = offsets + stride * positions(shape)
    found = largest_copy(place, at)
    np.testing.assert_allclose(found, largest / (shape[0] * shape[1]), rtol=1e-6)


def test_the_largest_copy_in_batches():
    place = np.stack([positions((6, 8)), np.zeros((6, 8, 2), int)])
    found = jax.vmap(lambda p: largest_copy(p, (np.arange(6), np.arange(8))))(place)
    np.testing.assert_allclose(found, [1, 1 / 48], rtol=1e-6)


def test_layout_is_a_correlation():
    image = photo()
    small = [np.asarray(resize(x, output_shape=(5, 6)), np.float64) for x in (image, image[::-1])]
    a, b = (x - x.mean((0, 1)) for x in small)
    expected = np.corrcoef(a.ravel(), b.ravel())[0, 1]
    np.testing.assert_allclose(measures.layout(image, image[::-1]), expected, rtol=1e-4)
    assert measures.layout(image, resize(image, scale=(1, 2))) > 0.98
    assert measures.layout(image, np.zeros_like(image)) == 0


def test_a_comparison_has_all_measures():
    """Tiling is coherent and complete; the other measures show the copies and the lost layout."""
    image = photo()
    tiled, wide = np.tile(image, (1, 2, 1)), np.asarray(resize(image, scale=(1, 2)))
    copies, stretched = (jax.device_get(compare(image, x)) for x in (tiled, wide))
    alone = similarity(image, tiled)
    np.testing.assert_allclose(copies.similarity.coherences, alone.coherences, rtol=1e-5)
    np.testing.assert_allclose(copies.sifid, sifid(image, tiled), rtol=1e-4, atol=1e-9)
    place = jax.jit(functools.partial(search.nearest, stride=2))(tiled, image).place
    np.testing.assert_allclose(copies.usage.counts, usage(place, (40, 48)).counts)
    np.testing.assert_allclose(
        copies.copied, largest_copy(place, places.grid(tiled.shape[:2], 7, stride=2))
    )
    assert copies.copied > 0.4
    assert stretched.copied < 0.1
    assert stretched.layout > 0.98 > copies.layout
    assert copies.usage.share == 1
    assert stretched.usage.evenness < copies.usage.evenness
