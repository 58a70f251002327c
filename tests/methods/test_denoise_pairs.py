"""Denoising by pairs: the sources of the pairs, and a short training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.methods.denoise import banks, pairs
from deepinternal.methods.denoise.config import Config

TINY = {"crop": 16, "crops": 1, "candidates": 6, "drawn": 2, "window": 3, "draws": 2}


def noisy_steps(size=32, std=0.1, seed=0):
    """Two flat areas with noise, and without."""
    truth = np.full((size, size, 1), 0.3, np.float32)
    truth[:, size // 2 :] = 0.7
    noise = np.random.default_rng(seed).normal(0, std, truth.shape)
    return np.float32(truth + noise), truth


def test_halves_are_means_of_diagonals():
    image = np.random.default_rng(0).random((2, 5, 7, 3)).astype(np.float32)
    first, second = pairs.halves(jnp.asarray(image))
    for y in range(2):
        for x in range(3):
            block = image[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
            np.testing.assert_allclose(
                first[:, y, x], (block[:, 0, 1] + block[:, 1, 0]) / 2, rtol=1e-6
            )
            np.testing.assert_allclose(
                second[:, y, x], (block[:, 0, 0] + block[:, 1, 1]) / 2, rtol=1e-6
            )
    assert first.shape == second.shape == (2, 2, 3, 3)


def brute_bank(guide, y, x, reach, count):
    """The places of the most similar surroundings, the pixel's own first."""
    wide = np.pad(guide.astype(np.float64), [(3, 3), (3, 3), (0, 0)], mode="symmetric")
    here, found = wide[y : y + 7, x : x + 7], []
    for i in range(max(y - reach, 0), min(y + reach + 1, guide.shape[0])):
        for j in range(max(x - reach, 0), min(x + reach + 1, guide.shape[1])):
            error = np.sum((wide[i : i + 7, j : j + 7] - here) ** 2)
            found.append((-1 if (i, j) == (y, x) else error, (i, j)))
    return [place for _, place in sorted(found)[:count]]


def test_banks_hold_the_most_similar_surroundings():
    guide = np.random.default_rng(1).random((12, 10, 3)).astype(np.float32)
    find = functools.partial(banks.find_bank, rows=5, reach=3, count=6)
    bank, distance = jax.jit(find)(jnp.asarray(guide), jnp.asarray(7))
    assert (np.diff(distance, axis=-1) >= 0).all()
    assert bank.shape == (5, 10, 6)
    part = banks.banked(jnp.asarray(guide), bank, (7, 0), 3)
    for y, x in ((7, 0), (8, 4), (11, 9), (11, 0)):
        expected = [guide[place] for place in brute_bank(guide, y, x, 3, 6)]
        np.testing.assert_array_equal(part[y - 7, x], expected)


@pytest.mark.parametrize("kind", ["halves", "banks"])
def test_targets_that_are_missing_do_not_count(kind):
    """The loss on a crop, for a net whose result is its input."""
    rng = np.random.default_rng(0)
    image = rng.random((16, 16, 1)).astype(np.float32)
    mask = np.ones((16, 16, 1), np.float32)
    mask[4:8, 4:8] = 0
    other = np.where(mask > 0, image, 0.9).astype(np.float32)
    plan = pairs.parts(Config(crop=16, window=2, candidates=4, drawn=1), image.shape, kind)
    step = jax.jit(plan.stages[-2].step)
    state = jax.jit(plan.init)(jax.random.key(0), {"image": image, "mask": mask})
    state = state.replace(params=jax.tree.map(jnp.zeros_like, state.params))
    if (
        kind == "banks"
    ):  # of other pixels where pixels are missing, elsewhere only of the pixel itself
        bank = np.where(mask > 0, np.uint16(12), np.uint16([12, 11, 13, 7]))
        state = state.replace(model_state=state.model_state | {"bank": bank})
    found = [
        step(state, {"image": x, "mask": known})[1]["loss"]
        for x in (image, other)
        for known in (mask, np.ones_like(mask))
    ]
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5, atol=1e-9)
    assert abs(found[1] - found[3]) > 1e-3


def test_unusual_members_leave_the_bank():
    bank = np.tile(np.arange(4, dtype=np.uint16), (1, 3, 1)) + 10
    distance = np.array([[[0, 1, 2, 3], [0, 1, 4.5, 9], [0, 50, 60, 70]]], np.float32)
    found = np.asarray(banks.trimmed(jnp.asarray(bank), jnp.asarray(distance)))
    # The usual difference, the median of 1, 1 and 50, is 1.
    assert found.tolist() == [[[10, 11, 12, 13], [10, 11, 10, 11], [10, 10, 10, 10]]]


def test_a_draw_divides_the_bank():
    values = np.random.default_rng(2).random((4, 5, 6, 2)).astype(np.float32)
    noisy, target = banks.drawn(jax.random.key(0), jnp.asarray(values), 2)
    np.testing.assert_allclose(2 * noisy + 4 * target, values.sum(axis=2), rtol=1e-5)
    pair_means = (values[:, :, :, None] + values[:, :, None]) / 2
    error = np.abs(pair_means - np.asarray(noisy)[:, :, None, None]).max(axis=-1)
    error[:, :, np.arange(6), np.arange(6)] = 1  # the same value twice
    assert error.min(axis=(2, 3)).max() < 1e-6
    again, _ = banks.drawn(jax.random.key(1), jnp.asarray(values), 2)
    assert np.abs(again - noisy).max() > 0.01


def test_smoothing_keeps_flat_images_and_the_mean():
    image = np.zeros((9, 9, 1), np.float32)
    image[4, 4] = 1
    smoothed = jax.jit(banks.smoothed)
    made = np.asarray(smoothed(image))[..., 0]
    assert made.sum() == pytest.approx(1, abs=1e-5)
    assert made[4, 5] / made[4, 4] == pytest.approx(np.exp(-0.5), abs=0.01)
    np.testing.assert_allclose(smoothed(np.full((9, 9, 1), 0.4, np.float32)), 0.4, rtol=1e-5)


@functools.cache
def programs(kind, shape):
    """The parts for images (H, W, C), and their functions for batches, which are compiled once."""
    config = Config(train_steps=120, learning_rate=0.01, **TINY)
    made, batched = pairs.parts(config, shape, kind), lambda function: jax.jit(jax.vmap(function))
    steps = [batched(stage.step) for stage in made.stages]
    return made, batched(made.init), steps, batched(made.outputs)


def trained(kind, images, steps=120):
    """Runs all stages on a batch of images; returns the results (N, H, W, C) and the last losses.

    Training ends after `steps` of its 120 steps.
    """
    made, init, functions, outputs = programs(kind, images.shape[1:])
    inputs = {"image": jnp.asarray(images)}
    state = init(jnp.stack([jax.random.key(3)] * len(images)), inputs)
    for stage, step in zip(made.stages, functions):
        for _ in range(min(stage.steps, steps) if stage.name == "train" else stage.steps):
            state, metrics = step(state, inputs)
        if stage.advance:
            state, inputs = jax.vmap(stage.advance)(state, inputs)
    return outputs(state, inputs), metrics


@pytest.mark.parametrize("kind", ["halves", "banks"])
def test_noise_is_reduced_for_each_image_of_a_batch(kind):
    images, truths = (np.stack(x) for x in zip(noisy_steps(), noisy_steps(seed=1)))
    both, metrics = trained(kind, images)
    assert np.isfinite(metrics["loss"]).all()
    error = lambda x: np.mean((np.asarray(x) - truths) ** 2, axis=(1, 2, 3))
    assert (error(both["result"].value) < 0.5 * error(images)).all()
    assert both["uncertainty"].value.shape == images.shape[:3]


def test_the_uncertainty_is_a_number_beside_a_large_one():
    made = pairs.parts(Config(**TINY), (40, 40, 1), "halves")
    image = jnp.zeros((40, 40, 1))
    state = jax.jit(made.init)(jax.random.key(0), {"image": image})
    spread = np.random.default_rng(0).random((4, 4, 1)).astype(np.float32)
    kept = {**state.model_state, "squares": image.at[5:9, 5:9].set(spread)}
    outputs = jax.jit(made.outputs)(state.replace(model_state=kept), {"image": image})
    assert np.isfinite(outputs["uncertainty"].value).all()
    assert np.isfinite(outputs["expected_psnr"].value)


def test_an_image_gives_the_same_alone_and_in_a_batch():
    images = np.stack([np.full((32, 32, 1), 0.5, np.float32), noisy_steps()[0]])
    both, metrics = trained("banks", images, steps=3)
    assert np.isfinite(metrics["loss"]).all()  # also where all surroundings are equal
    single, _ = trained("banks", images[1:], steps=3)
    np.testing.assert_allclose(single["result"].value[0], both["result"].value[1], atol=1e-5)
