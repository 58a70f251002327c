"""ZSSR against formulas written out in NumPy, and against what it is for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from flax import traverse_util

from deepinternal.methods import registry, zssr
from deepinternal.methods.zssr import RECIPE
from deepinternal.nets.zssr import ZSSRNet
from deepinternal.ops import kernels, resizing
from deepinternal.types import InputError, input_spec
from tests.tiny_methods import photo

IMAGE = photo(32)
SMALL = {"features": 4, "layers": 3, "crop": 24}


def build(image=IMAGE, kernel=None, **fields):
    given = RECIPE.given({"kernel": kernel})
    config = RECIPE.build("", **{**SMALL, **given, **fields})
    inputs = zssr.prepare(config, image, kernel)
    method = RECIPE.method(config, input_spec(inputs))
    return method, inputs, method.init(jax.random.key(1), inputs)


def as_numpy(params):
    return {k: np.asarray(v, np.float64) for k, v in params["net"].items()}


def net_numpy(params, x):
    """The network on (H, W, C)."""
    return x + layers_numpy(params, x)


def layers_numpy(params, x):
    """Its layers alone, by scipy's correlation; their output may have other channels than `x`."""
    hidden = x
    for i in range(len(params)):
        w = params[f"conv{i}"]
        out = [
            sum(
                scipy.ndimage.correlate(hidden[..., c], w[:, :, c, d], mode="constant")
                for c in range(w.shape[2])
            )
            for d in range(w.shape[3])
        ]
        hidden = np.stack(out, -1)
        hidden = np.maximum(hidden, 0) if i < len(params) - 1 else hidden
    return hidden


def resize_numpy(x, scale, shape):
    """(H, W, C) by the float64 matrices, which have tests of their own."""
    rows, cols = (resizing.resize_matrix(n, o, s) for n, o, s in zip(x.shape[:2], shape, scale))
    return np.einsum("yh,xw,hwc->yxc", rows, cols, x)


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


def expected_output(params, image, scale, shape, elements, iterations):
    """The published test-time procedure, by transforming the image: NumPy, float64."""
    back = tuple(1 / s for s in scale)

    def back_project(x):
        for _ in range(iterations):
            down = resize_numpy(x, back, image.shape[:2])
            x = np.clip(x + resize_numpy(image - down, scale, shape), 0, 1)
        return x

    views = []
    for k in elements:
        view = np.rot90(image, k % 4)
        view = np.fliplr(view) if k >= 4 else view
        turned = k % 2 == 1
        size, factor = (shape[::-1], scale[::-1]) if turned else (shape, scale)
        out = np.clip(net_numpy(params, resize_numpy(view, factor, size)), 0, 1)
        out = np.fliplr(out) if k >= 4 else out
        views.append(back_project(np.rot90(out, -(k % 4))))
    return back_project(np.median(views, axis=0)), np.std(views, axis=0).mean(-1)


@pytest.mark.parametrize(
    ("scale", "size", "elements"),
    [("2", (20, 26), range(8)), ("3,2", (20, 26), (0, 2, 4, 6)), ("1.5", (20, 26), range(8))],
)
def test_outputs_follow_the_published_procedure(scale, size, elements):
    image = IMAGE[: size[0], : size[1]]
    method, inputs, state = build(image, scale=scale, back_projection=3)
    outputs = jax.jit(method.outputs)(state, inputs)
    factors = tuple(float(s) for s in scale.split(",")) * (1 if "," in scale else 2)
    shape = tuple(int(np.ceil(n * s)) for n, s in zip(size, factors))
    image = image.astype(np.float64)
    result, spread = expected_output(as_numpy(state.params), image, factors, shape, elements, 3)
    np.testing.assert_allclose(outputs["result"].value, result, atol=2e-5)
    np.testing.assert_allclose(outputs["uncertainty"].value, spread, atol=2e-5)
    assert outputs["result"].kind == "image"
    baseline = np.clip(resize_numpy(image, factors, shape), 0, 1)
    np.testing.assert_allclose(method.baseline(inputs), baseline, atol=1e-5)


def test_explicit_output_shape():
    method, inputs, state = build(output_shape="50,77")
    assert jax.eval_shape(method.outputs, state, inputs)["result"].value.shape == (50, 77, 3)


def test_back_projection_makes_the_result_agree_with_the_input():
    errors, image = [], 0.25 + 0.5 * IMAGE  # away from 0 and 1, where clipping would interfere
    for iterations in (0, 2, 10):
        method, inputs, state = build(image, back_projection=iterations, ensemble="off")
        result = jax.jit(method.outputs)(state, inputs)["result"].value
        errors.append(np.abs(resizing.resize(result, scale=0.5) - image).mean())
    assert errors[0] > 2 * errors[1]
    assert errors[1] > 2 * errors[2]


@pytest.mark.slow
def test_a_kernel_turns_flips_off_and_is_used_for_sons_and_back_projection():
    kernel = np.asarray(kernels.gaussian_kernel(7, (2.0, 0.6), theta=0.4))
    method, inputs, state = build(kernel=kernel, p_as_is=1.0, p_dihedral=0.0, crop=32)
    assert set(inputs) == {"image", "kernel"}
    outputs = jax.jit(method.outputs)(state, inputs)
    assert set(outputs) == {"result"}
    k = np.asarray(inputs["kernel"], np.float64)
    image = IMAGE.astype(np.float64)

    def down(x):
        blurred = [scipy.ndimage.correlate(x[..., c], k, mode="reflect") for c in range(3)]
        return np.stack(blurred, -1)[::2, ::2]

    x = np.clip(net_numpy(as_numpy(state.params), resize_numpy(image, (2, 2), (64, 64))), 0, 1)
    for _ in range(4):  # 2 for the only view and 2 for the median
        x = np.clip(x + resize_numpy(image - down(x), (2, 2), (64, 64)), 0, 1)
    np.testing.assert_allclose(outputs["result"].value, x, atol=2e-5)
    _, metrics = jax.jit(method.step)(state, inputs)
    son = resize_numpy(np.clip(down(image), 0, 1), (2, 2), (32, 32))
    loss = np.abs(net_numpy(as_numpy(state.params), son) - image).mean()
    assert metrics["loss"] == pytest.approx(loss, rel=1e-4)


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


def gain_over_cubic(config, truth):
    """dB by which a trained net beats cubic interpolation of a downscaled photograph."""
    inputs = zssr.prepare(config, zssr.example(config, truth).image)
    method = RECIPE.method(config, input_spec(inputs))
    state = method.init(jax.random.key(0), inputs)
    step = jax.jit(method.step, donate_argnums=0)
    for _ in range(method.stages[0].steps):
        state, _ = step(state, inputs)
    result = jax.jit(method.outputs)(state, inputs)["result"].value
    error, cubic = (np.mean((x - truth) ** 2) for x in (result, method.baseline(inputs)))
    return 10 * np.log10(cubic / error)


@pytest.mark.slow
def test_training_beats_cubic_interpolation():
    truth = photo(96)
    fields = {"features": 24, "layers": 5, "crop": 48, "steps": 300, "learning_rate": 3e-3}
    assert gain_over_cubic(RECIPE.build("", **fields), truth) > 1.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": "1"}, "greater than 1"),
        ({"scale": "16.5"}, "at most 16"),
        ({"scale": "2,0.5"}, "greater than 1"),
        ({"scale": "nan"}, "greater than 1"),
        ({"scale": "two"}, "config.scale=two: must be a factor, or 'vertical,horizontal'"),
        ({"scale": "2,2,2"}, "config.scale=2,2,2"),
        ({"scale": ""}, "config.scale=''"),
        ({"output_shape": "64"}, "height,width"),
        ({"output_shape": "64.5,64"}, "whole"),
        ({"output_shape": "16,16"}, "greater than 1"),
        ({"scale": "9"}, "at least 36"),
        ({"flips": "perhaps"}, "config.flips=perhaps: must be one of auto, on, off"),
        ({"crop": 4}, "config.crop=4: must be a whole number of at least 16"),
        ({"patch_batch": 0}, "config.patch_batch"),
        ({"noise_std": float("nan")}, "config.noise_std"),
        ({"noise_std": 25}, "0.098"),
        ({"kernel_use": "given"}, "config.kernel: give the blur kernel"),
        ({"affine_scale_max": 0.2}, "at least affine_scale_min=0.5"),
        ({"kernel_use": "cubic"}, "kernel_use=cubic: needs config.blind=True"),
        ({"featurs": 8}, "config.featurs: there is no such field, did you mean features"),
    ],
)
def test_bad_settings_are_one_line(fields, message):
    with pytest.raises(InputError, match=message) as error:
        build(**fields)
    assert "\n" not in str(error.value)


def test_a_step_refuses_inputs_of_another_shape():
    method, inputs, _ = build()
    with pytest.raises(InputError, match=r"made for image \(32, 32, 3\), not \(16, 32, 3\)"):
        method.init(jax.random.key(0), {"image": inputs["image"][:16]})
    state = method.init(jax.random.key(0), inputs)
    with pytest.raises(InputError, match=r"made for image \(32, 32, 3\), not \(16, 32, 3\)"):
        method.step(state, {"image": inputs["image"][:16]})
    with pytest.raises(InputError, match="give images as float32"):
        method.init(jax.random.key(0), {"image": jnp.zeros((32, 32, 3), jnp.uint8)})


def test_what_the_inputs_lack_is_one_line():
    for name in ("zssr", "dip", "ingan"):
        with pytest.raises(InputError, match=r"the inputs lack 'image1?'; take"):
            registry.make(name, {}, {"img": (64, 64, 3)})


@pytest.mark.parametrize("off", [0.0, 0.7, 1.6])
def test_prepared_kernels_of_one_size_have_one_size(off):
    """So that images with such kernels share programs; they are as `centre_kernel` makes them."""
    config = RECIPE.build("kernel", kernel="some.mat")
    at = np.arange(13) - 6
    bump = lambda centre: np.exp(-(((at - centre) / 1.2) ** 2))
    kernel = np.outer(bump(0.5 + off), bump(0.5)).astype(np.float32)
    made = zssr.prepare(config, IMAGE, kernel / kernel.sum())["kernel"]
    assert made.shape == (17, 17)
    assert made.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(kernels.centre_of_mass(jnp.asarray(made)), [8.5, 8.5], atol=1e-3)
    small = resizing.resize(IMAGE, scale=2)
    expected = kernels.downscale(small, kernels.centre_kernel(kernel, 2), 2)
    np.testing.assert_allclose(kernels.downscale(small, made, 2), expected, atol=1e-5)


def test_small_images_are_refused_and_unknown_methods_named():
    with pytest.raises(InputError, match="8x8"):
        build(np.zeros((8, 8, 3), np.float32))
    with pytest.raises(InputError, match="zssr"):
        registry.make("nothing")
