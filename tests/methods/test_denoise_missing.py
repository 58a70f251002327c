"""Denoising of images with missing pixels: `bayes` and `blindspot`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepinternal as di
from deepinternal.methods.denoise import RECIPE, bayes, blindspot
from deepinternal.methods.denoise.fill import filled, scattered_std
from tests.tiny_methods import photo

pytestmark = pytest.mark.usefixtures("quick_programs")
RNG = np.random.default_rng(0)


class Net:
    """A net of one weight, whose output depends on all of its input."""

    def apply(self, variables, x):
        return variables["params"] * x[..., :1] ** 2 + jnp.mean(x)


NET, WEIGHT = Net(), jnp.float32(0.7)


def scattered(shape, share, seed=0):
    """A mask of known pixels, a share of which is missing at random."""
    return np.random.default_rng(seed).random(shape) >= share


def decided(image, known, preset="", **fields):
    config = RECIPE.build(preset, **fields)
    inputs = RECIPE.prepare(config, image, mask=np.asarray(known, np.float32))
    return inputs, "; ".join(RECIPE.remarks(config, inputs, None))


# bayes


def test_conditional_is_that_of_the_normal_distribution():
    factor = RNG.normal(size=(3, 9, 9))
    covariance = factor @ factor.swapaxes(-1, -2)
    known = RNG.random((3, 9, 4)) < 0.5
    values, noise = RNG.normal(size=(3, 9, 4)), RNG.uniform(0.5, 2, (3, 9, 4))
    given = (jnp.asarray(x, jnp.float32) for x in (covariance, known, values, noise))
    found = bayes.conditional(*given, steps=18)
    for i in range(3):
        for j in range(4):
            k = known[i, :, j]
            inner = covariance[i][np.ix_(k, k)] + np.diag(noise[i, k, j])
            expected = covariance[i][:, k] @ np.linalg.solve(inner, values[i, k, j])
            np.testing.assert_allclose(found[i, :, j], expected, atol=2e-3)


def test_missing_pixels_of_a_pattern_are_filled_in():
    rows, columns = np.mgrid[:40, :36]
    image = np.float32(0.5 + 0.3 * np.sin(rows / 2) * np.sin(columns / 3))[..., None]
    known = scattered(image.shape[:2], 0.5)
    options = {"mask": known.astype(np.float32), "strength": 0, "reach": 10, "rounds": 4}
    out = di.run("denoise", image[..., 0], **options)
    found = out["result"][..., None]
    np.testing.assert_array_equal(found[known], image[known])
    error = lambda x: np.sqrt(np.mean((x - image)[~known] ** 2))
    assert error(found) < 0.5 * error(filled(image, known))


# Both


@pytest.mark.parametrize(
    "preset", ["smoke", pytest.param("blindspot,smoke", marks=pytest.mark.slow)]
)
def test_values_of_missing_pixels_have_no_effect(preset):
    image, known = photo(16)[:, :13], scattered((16, 13), 0.4)
    other = np.where(known[..., None], image, RNG.random(image.shape)).astype(np.float32)
    options = {"train_steps": 2, "mask": known.astype(np.float32), "strength": 0}
    first, second = (di.run("denoise", x, preset=preset, **options) for x in (image, other))
    assert np.isfinite(first["result"]).all()
    for name in ("result", "uncertainty"):
        np.testing.assert_array_equal(first[name], second[name])
    np.testing.assert_array_equal(first["result"][known], image[known])


# blindspot


def test_hidden_pixels_do_not_influence_their_own_prediction():
    image = jnp.asarray(RNG.normal(size=(12, 16, 1)), jnp.float32)
    seen = jnp.asarray(scattered((12, 16), 0.3)[..., None], jnp.float32)
    predict = jax.jit(lambda image: blindspot.predicted(NET, WEIGHT, image, seen))
    other = image + (1 - seen)
    np.testing.assert_array_equal(predict(image), predict(other))
    assert np.abs(predict(image) - predict(image + seen)).max() > 0.1


def test_the_loss_measures_hidden_known_pixels_only():
    image = jnp.asarray(RNG.normal(size=(12, 16, 1)), jnp.float32)
    known = jnp.asarray(scattered((12, 16), 0.5)[..., None], jnp.float32)
    key = jax.random.key(1)
    loss = lambda image: blindspot.prediction_loss(NET, WEIGHT, key, image, known, share=0.4)
    value, gradient = map(np.asarray, jax.jit(jax.value_and_grad(loss))(image))
    assert not gradient[np.asarray(known) == 0].any()
    hidden = known * blindspot._hidden(key, (12, 16), 0.4)
    made = np.asarray(blindspot.predicted(NET, WEIGHT, image, known - hidden), float)
    errors = (made - np.asarray(image, float))[np.asarray(hidden) > 0]
    np.testing.assert_allclose(value, np.mean(errors**2), rtol=1e-5)


def test_local_means_are_normalised():
    image, known = RNG.random((10, 11, 2)), scattered((10, 11), 0.5)
    found = blindspot.local_mean(jnp.float32(image), jnp.float32(known[..., None]))
    y, x = 4, 7
    rows, columns = np.mgrid[:10, :11]
    squares = (rows - y) ** 2 + (columns - x) ** 2
    weights = np.exp(-squares) + 1e-3 * np.exp(-squares / 8)
    weights *= known & (abs(rows - y) <= 4) & (abs(columns - x) <= 4)
    expected = np.tensordot(weights, image, 2) / weights.sum()
    np.testing.assert_allclose(found[y, x], expected, rtol=1e-5)
    constant = blindspot.local_mean(jnp.full((10, 11, 2), 0.25), jnp.float32(known[..., None]))
    np.testing.assert_allclose(constant, 0.25, rtol=1e-6)


# Decisions


@pytest.mark.parametrize(
    ("share", "std", "fields", "algorithm"),
    [
        (0.02, 0, {}, "bayes"),
        (0.02, 0.08, {}, "ridge"),
        (0.5, 0.08, {}, "bayes"),
        (0.5, 0, {"preset": "blindspot"}, "blindspot"),
        (0.5, 0, {"preset": "ridge"}, "unchanged"),
        (0.5, 0.08, {"strength": 0.0}, "bayes"),
    ],
)
def test_the_algorithm_suits_the_missing_pixels(share, std, fields, algorithm):
    image = np.float32(np.clip(photo(96) + RNG.normal(0, std, (96, 96, 3)), 0, 1))
    known = scattered((96, 96), share)
    inputs, text = decided(image, known, **fields)
    assert [*inputs["algorithm"]] == [algorithm]
    assert f"{100 * np.mean(~known):.2g} % of the pixels are missing" in text
    assert ("known pixels are left as they are" in text) == (
        algorithm in ("bayes", "blindspot") and not (std and "strength" not in fields)
    )
    assert ("replaced from their neighbours" in text) == (algorithm in ("ridge", "unchanged"))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.9])
def test_the_noise_of_scattered_pixels_is_measured(share):
    truth = 0.3 + 0.4 * photo(128)
    known = scattered((128, 128), share)
    for std in (0.03, 0.1):
        noisy = np.where(known[..., None], truth + RNG.normal(0, std, truth.shape), 0)
        np.testing.assert_allclose(scattered_std(noisy, known), std, rtol=0.35)
    assert scattered_std(truth, known).max() < 0.02


def test_large_holes_are_mentioned():
    known = np.ones((64, 64), bool)
    known[10:45, 20:60] = False
    assert "inpaint --method=patches" in decided(np.float32(photo(64)), known)[1]


def test_an_image_with_one_known_pixel_becomes_constant():
    image, known = photo(24), np.zeros((24, 24), bool)
    known[3, 4] = True
    options = {"mask": known.astype(np.float32), "algorithm": "blindspot"}
    out = di.run("denoise", image.astype(np.float32), preset="smoke", **options)
    np.testing.assert_allclose(out["result"], np.broadcast_to(image[3, 4], image.shape), atol=1e-4)


def test_a_constant_image_stays_constant():
    image, known = np.full((24, 20), 0.25, np.float32), scattered((24, 20), 0.6)
    mask = known.astype(np.float32)
    out = di.run("denoise", image, preset="smoke", algorithm="bayes", noise_std=0.1, mask=mask)
    np.testing.assert_allclose(out["result"], 0.25, atol=1e-4)
