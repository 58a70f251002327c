"""Measures of patches against float64 NumPy and SciPy, and what they must say of clear cases."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from skimage import data

from deepinternal.ops import fitting
from deepinternal.ops.patches import measures, search
from deepinternal.ops.patches.voting import detailed
from deepinternal.ops.resizing import resize

similarity = jax.jit(
    measures.bidirectional_similarity, static_argnames=("patch", "scales", "stride")
)
nearest = jax.jit(search.nearest, static_argnames=("patch", "stride"))
moments = jax.jit(measures.moments, static_argnums=1)
sifid = jax.jit(measures.sifid)


def photo(height=40, width=48, *, at=(20, 180)):
    y, x = at
    return np.float32(data.astronaut()[y : y + height, x : x + width]) / 255


def all_patches(image, patch, dtype=np.float64):
    """(h, w, patch * patch * C) by loops."""
    h, w = (n - patch + 1 for n in image.shape[:2])
    rows = [[image[y : y + patch, x : x + patch].reshape(-1) for x in range(w)] for y in range(h)]
    return np.asarray(rows, dtype)


def brute_force(image, searched, patch):
    a, b = all_patches(image, patch), all_patches(searched, patch)
    flat = b.reshape(-1, b.shape[-1])
    return np.stack([[np.mean((p - flat) ** 2, axis=1) for p in row] for row in a])


@pytest.mark.parametrize(("stride", "channels"), [(1, 3), (3, 1)])
def test_nearest_is_that_of_brute_force(stride, channels):
    image, searched = photo(18, 22)[..., :channels], photo(20, 17, at=(60, 200))[..., :channels]
    rows, columns = search.grid(image.shape[:2], 5, stride=stride)
    assert rows[-1] == 13
    assert columns[-1] == 17
    expected = brute_force(image, searched, 5)[np.ix_(rows, columns)]
    distance, place = nearest(image, searched, patch=5, stride=stride)
    np.testing.assert_allclose(distance, expected.min(axis=-1), rtol=1e-5, atol=1e-8)
    chosen = place[..., 0] * (17 - 4) + place[..., 1]
    at_place = np.take_along_axis(expected, np.asarray(chosen)[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(at_place, distance, rtol=1e-5, atol=1e-8)


def test_more_patches_than_a_chunk_holds(monkeypatch):
    """Chunks that do not divide the patches, on both sides."""
    image, searched = photo(18, 22), photo(20, 17, at=(60, 200))
    whole = nearest(image, searched, patch=5)
    for module in (search, measures):
        monkeypatch.setattr(module, "QUERIES", 37)
    monkeypatch.setattr(search, "_SEARCHED", 50)
    in_chunks = jax.jit(lambda *x: search.nearest(*x, patch=5))(image, searched)
    np.testing.assert_allclose(in_chunks[0], whole[0], atol=1e-7)
    assert in_chunks[0].shape == (14, 18)
    mean, covariance = jax.jit(lambda x: measures.moments(x, 5))(image)
    flat = all_patches(image, 5).reshape(-1, 75)
    np.testing.assert_allclose(mean, flat.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(flat.T, bias=True), atol=1e-6)


def test_bidirectional_similarity_is_that_of_brute_force():
    source, target = photo(28, 32), photo(28, 40, at=(60, 200))
    found = similarity(source, target, patch=5, scales=(1.0, 0.5), stride=1)
    for i, scale in enumerate((1.0, 0.5)):
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
    # What is left of completeness is of the border, which the small scales mirror in one of them.
    assert wide.completeness > 10 * copies.completeness


def test_vmap():
    sources = np.stack([photo(), photo(at=(60, 200))])
    targets = sources[:, :32, 4:]
    measure = functools.partial(similarity, scales=(1.0,))
    both = jax.vmap(measure)(sources, targets)
    for i in range(2):
        alone = measure(sources[i], targets[i])
        np.testing.assert_allclose(both.completenesses[i], alone.completenesses, atol=1e-7)


def test_gradient_is_that_of_the_differences():
    """Of a single patch, to the nearest of nine."""
    image, searched = photo(5, 5), photo(7, 7, at=(60, 200))
    distance, place = nearest(image, searched, patch=5)
    y, x = np.asarray(place)[0, 0]
    found = jax.grad(lambda i: search.nearest(i, searched, patch=5)[0][0, 0])(image)
    np.testing.assert_allclose(found, 2 / 75 * (image - searched[y : y + 5, x : x + 5]), atol=1e-7)
    assert distance.shape == (1, 1)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="6x12 has no patches of 7x7"):
        measures.bidirectional_similarity(photo(), photo(24, 48), scales=(0.25,))
    with pytest.raises(ValueError, match="3 and 1 channels"):
        search.nearest(photo(), photo()[..., :1])


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
    assert (
        abs(float(measures.frechet(*jax.tree.map(jnp.float32, fits))) - expected) < 1e-3 * expected
    )


def test_frechet_of_patches():
    """Covariances whose eigenvalues span five orders of magnitude; float64 has them all."""
    images = photo(), photo(60, 70, at=(60, 200))
    flat = [all_patches(x, 5).reshape(-1, 75) for x in images]
    expected = reference_frechet(*((x.mean(axis=0), np.cov(x.T, bias=True)) for x in flat))
    found = measures.frechet(*(moments(x, 5) for x in images))
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


@pytest.mark.parametrize("shape", [(36, 44), (35, 43)])
def test_detail_of_an_image_s_own_patches_is_the_image(shape):
    """Each patch is nearest to itself; parts of the image at other places find their detail too."""
    full = np.random.default_rng(0).random((*shape, 3), np.float32)
    small = fitting.reduced(full, 22)
    assert small.shape == (18, 22, 3)
    for passes in (1, 2):
        made = detailed(small, small, full, passes=passes)
        assert made.shape == (36, 44, 3)
        whole = full if made.shape == full.shape else resize(full, output_shape=(36, 44))
        np.testing.assert_allclose(made, whole, atol=1e-5)
    made = detailed(small[3:15, 5:20], small, full)
    np.testing.assert_allclose(made, whole[6:30, 10:40], atol=1e-5)


def test_detail_of_blurred_patches_is_sharp():
    """A blurred part of a photograph is nearer to it with detail than enlarged by interpolation."""
    full = photo(96, 96)
    small = fitting.reduced(full, 48)
    part = np.clip(small[4:30, 6:44] + 0.02, 0, 1)
    truth = full[8:60, 12:88]
    made = detailed(part, small, full, passes=2)
    cubic = resize(part, output_shape=truth.shape[:2])
    assert jnp.mean(jnp.square(made - truth)) < 0.2 * jnp.mean(jnp.square(cubic - truth))
