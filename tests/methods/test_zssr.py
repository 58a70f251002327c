"""ZSSR's net and training against formulas written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from deepinternal.methods import registry
from deepinternal.methods.zssr import RECIPE
from deepinternal.nets.zssr import ZSSRNet
from tests.methods.zssr_reference import (
    IMAGE,
    as_numpy,
    build,
    gain_over_cubic,
    net_numpy,
    resize_numpy,
)
from tests.tiny_methods import photo


def test_the_published_net_and_its_start():
    method = registry.make("zssr", {}, {"image": (40, 40, 3)})
    state = method.init(jax.random.key(0), {"image": np.zeros((40, 40, 3), np.float32)})
    leaves = jax.tree.leaves(state.params)
    assert sum(x.size for x in leaves) == 9 * (3 * 64 + 6 * 64 * 64 + 64 * 3) == 224_640
    for name, w in state.params["net"].items():
        gain = 0.1 if name == "conv7" else 2.0
        assert np.std(w) == pytest.approx(np.sqrt(gain / (9 * w.shape[2])), rel=0.1)
    assert state.model_state["learning_rate"] == np.float32(1e-3)
    assert method.stages[0].steps == 3000
    assert method.stages[0].evaluate_every == 50


def test_the_net_agrees_with_scipy():
    _, inputs, state = build(steps=1)
    net = ZSSRNet(layers=3, features=4)
    ours = net.apply({"params": state.params["net"]}, inputs["image"][None])[0]
    expected = net_numpy(as_numpy(state.params), IMAGE.astype(np.float64))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_a_step_is_one_step_of_adam_on_the_mean_absolute_error():
    fields = {"p_as_is": 1.0, "p_dihedral": 0.0, "crop": 32}
    method, inputs, state = build(**fields)
    # With p_as_is = 1 and a crop of the image's size, the father is the image.
    father = IMAGE.astype(np.float64)
    son = np.clip(resize_numpy(father, (0.5, 0.5), (16, 16)), 0, 1)
    son = resize_numpy(son, (2, 2), (32, 32))
    first, metrics = jax.jit(method.step)(state, inputs)
    params = as_numpy(state.params)
    loss = np.abs(net_numpy(params, son) - father).mean()
    assert metrics["loss"] == pytest.approx(loss, rel=1e-4)
    assert set(metrics) == {"loss", "l1", "learning_rate"}
    # The gradient of two weights by central differences, then Adam's first step by its formula.
    for name, at in (("conv0", (1, 1, 0, 0)), ("conv2", (0, 2, 3, 1))):
        h, losses = 1e-5, []
        for sign in (1, -1):
            moved = {k: v.copy() for k, v in params.items()}
            moved[name][at] += sign * h
            losses.append(np.abs(net_numpy(moved, son) - father).mean())
        g = (losses[0] - losses[1]) / (2 * h)
        m, v = 0.1 * g / (1 - 0.9), 0.001 * g * g / (1 - 0.999)
        expected = params[name][at] - 1e-3 * m / (np.sqrt(v) + 1e-8)
        assert first.params["net"][name][at] == pytest.approx(expected, abs=2e-5)
    assert int(first.step) == 1


@pytest.mark.slow
def test_fathers_and_sons_change_with_the_step_and_the_key():
    method, inputs, state = build(p_as_is=0.0, p_dihedral=0.0)
    step = jax.jit(method.step)
    losses = {float(step(state.replace(step=jnp.asarray(i)), inputs)[1]["loss"]) for i in range(5)}
    losses |= {float(step(state.replace(key=jax.random.key(9)), inputs)[1]["loss"])}
    assert len(losses) == 6
    again = {float(step(state.replace(step=jnp.asarray(i)), inputs)[1]["loss"]) for i in range(5)}
    assert again <= losses


@pytest.mark.slow
def test_noise_on_sons_has_the_given_deviation():
    # Zero weights: the output is the interpolated son, the loss its distance from a grey father.
    grey = np.full((64, 64, 3), 0.5, np.float32)
    method, inputs, state = build(grey, noise_std=0.05, crop=64, patch_batch=4)
    state = state.replace(params=jax.tree.map(jnp.zeros_like, state.params))
    _, metrics = jax.jit(method.step)(state, inputs)
    rng = np.random.default_rng(0)
    noise = np.stack(
        [resize_numpy(rng.normal(0, 0.05, (32, 32, 3)), (2, 2), (64, 64)) for _ in range(4)]
    )
    assert metrics["loss"] == pytest.approx(np.abs(noise).mean(), rel=0.05)
    quiet, inputs, state2 = build(grey, crop=64)
    state2 = state2.replace(params=jax.tree.map(jnp.zeros_like, state2.params))
    assert jax.jit(quiet.step)(state2, inputs)[1]["loss"] < 1e-6


def test_the_self_test_reconstructs_the_image_from_its_own_downscaled_version():
    method, inputs, state = build()
    new, scores = jax.jit(method.evaluate)(state, inputs)
    son = np.clip(resize_numpy(IMAGE.astype(np.float64), (0.5, 0.5), (16, 16)), 0, 1)
    refined = net_numpy(as_numpy(state.params), resize_numpy(son, (2, 2), (32, 32)))
    expected = np.mean((np.clip(refined, 0, 1) - IMAGE) ** 2)
    assert scores["test_mse"] == pytest.approx(expected, rel=1e-4)
    assert scores["test_psnr"] == pytest.approx(-10 * np.log10(expected), abs=1e-3)
    assert new.model_state["test_mse"][-1] == scores["test_mse"]


def policy_numpy(step, changed_at, errors):
    """Whether the learning rate falls, by numpy.polyfit's line and its covariance."""
    if step % 60 or step - changed_at <= 256 or not np.all(np.isfinite(errors)):
        return False
    x = 50.0 * np.arange(len(errors))
    (slope, _), covariance = np.polyfit(x, errors, 1, cov=True)
    return bool(-1.5 * slope < np.sqrt(covariance[0, 0]))


def test_the_learning_rate_policy_agrees_with_polyfit():
    method, inputs, state = build(crop=16)
    step = jax.jit(method.step)
    rng = np.random.default_rng(5)
    falls = []
    for _ in range(60):
        at = int(rng.choice([299, 300, 359, 419, 1199]))
        changed = int(rng.choice([0, 60, 120]))
        steep = rng.choice([0.0, 1e-5, 1e-4])
        errors = 1e-2 - steep * np.arange(5) + rng.normal(0, 1e-4, 5)
        if rng.random() < 0.1:
            errors[0] = np.inf
        model_state = {
            "learning_rate": jnp.float32(1e-4),
            "changed_at": jnp.int32(changed),
            "test_mse": jnp.asarray(errors, jnp.float32),
        }
        new, _ = step(state.replace(step=jnp.int32(at), model_state=model_state), inputs)
        fall = policy_numpy(at + 1, changed, np.asarray(errors, np.float32).astype(np.float64))
        falls.append(fall)
        expected = 1e-5 if fall else 1e-4
        assert new.model_state["learning_rate"] == pytest.approx(expected, rel=1e-5)
        assert int(new.model_state["changed_at"]) == (at + 1 if fall else changed)
    assert 5 < sum(falls) < 55


def test_a_run_that_is_done_changes_no_more():
    method, inputs, state = build()
    done = {**state.model_state, "learning_rate": jnp.float32(8e-6)}
    state = state.replace(model_state=done)
    assert method.done(state)
    later, _ = jax.jit(method.step)(state, inputs)
    later, _ = jax.jit(method.evaluate)(later, inputs)
    for a, b in zip(jax.tree.leaves(state.replace(key=0)), jax.tree.leaves(later.replace(key=0))):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_pure_functions_jit_vmap_scan_and_pmap():
    method, inputs, _ = build(crop=16)
    keys = jax.random.split(jax.random.key(0), 2)
    states = jax.jit(jax.vmap(method.init, (0, None)))(keys, inputs)
    init, step, alone = jax.jit(method.init), jax.jit(method.step), []
    for key in keys:
        state = init(key, inputs)
        for _ in range(3):
            state, _ = step(state, inputs)
        alone.append(state)

    def three(state):
        return jax.lax.scan(lambda s, _: method.step(s, inputs), state, length=3)

    scanned, metrics = jax.jit(jax.vmap(three))(states)
    assert metrics["loss"].shape == (2, 3)
    mapped = jax.pmap(three)(jax.tree.map(lambda x: x[:1], states))[0]
    for i, state in enumerate(alone):
        flat = traverse_util.flatten_dict(state.params)
        for name, w in flat.items():
            batched = traverse_util.flatten_dict(scanned.params)[name]
            np.testing.assert_allclose(batched[i], w, atol=1e-4)
            if i == 0:
                pmapped = traverse_util.flatten_dict(mapped.params)[name]
                np.testing.assert_allclose(pmapped[0], w, atol=1e-4)


@pytest.mark.slow
def test_the_patch_batch_is_the_mean_over_its_fathers():
    one, inputs, state = build(patch_batch=1)
    three, _, _ = build(patch_batch=3)
    _, metrics = jax.jit(three.step)(state, inputs)
    assert np.isfinite(metrics["loss"])
    grey = {"image": jnp.full((32, 32, 3), 0.5)}
    # On a constant image all fathers are alike, so the batch's loss and step are the single one's.
    a, b = (jax.jit(m.step)(state, grey) for m in (one, three))
    assert a[1]["loss"] == pytest.approx(float(b[1]["loss"]), rel=1e-4)


@pytest.mark.slow
def test_training_beats_cubic_interpolation():
    truth = photo(96)
    fields = {"features": 24, "layers": 5, "crop": 48, "steps": 300, "learning_rate": 3e-3}
    assert gain_over_cubic(RECIPE.build("", **fields), truth) > 1.0


@pytest.mark.slow
def test_the_fast_preset_beats_cubic_interpolation():
    config = RECIPE.build("fast", steps=60, features=24, crop=48)
    assert gain_over_cubic(config, photo(128)) > 1.0
