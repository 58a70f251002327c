"""ZSSR's gradual factors, and what goes beyond the paper: sub-pixel net, tiles, degradations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import deepinternal as di
from deepinternal import methods
from deepinternal.methods import optimizers
from deepinternal.methods.zssr import RECIPE
from deepinternal.ops import resizing
from deepinternal.types import InputError, input_spec
from tests.methods.test_zssr import (
    IMAGE,
    as_numpy,
    build,
    gain_over_cubic,
    layers_numpy,
    resize_numpy,
)
from tests.tiny_methods import photo

SUBPIXEL = {
    "net": "subpixel",
    "schedule": "cosine",
    "evaluate_every": 0,
    "affine_sampling": "linear",
}
WIDE = np.concatenate([photo(64), photo(48)[:, ::-1].repeat(2, 0)[:64]], 1)[:61]  # 61x112


def subpixel_numpy(params, x, factor):
    """The net at low resolution: (H, W, C) -> (f H, f W, C)."""
    hidden = layers_numpy(params, x)
    h, w, c = x.shape
    large = hidden.reshape(h, w, *factor, c).swapaxes(1, 2).reshape(h * factor[0], w * factor[1], c)
    return resize_numpy(x, factor, large.shape[:2]) + large


@pytest.mark.parametrize(
    ("scale", "factor"), [("2", (2, 2)), ("3,2", (3, 2)), ("1.5", (2, 2)), ("1,2.5", (1, 3))]
)
def test_the_subpixel_net_enlarges_by_any_factor(scale, factor):
    method, inputs, state = build(scale=scale, ensemble="off", back_projection=0, **SUBPIXEL)
    params, image = as_numpy(state.params), np.asarray(inputs["image"], np.float64)
    factors = tuple(float(s) for s in scale.split(",")) * (1 if "," in scale else 2)
    shape = tuple(int(np.ceil(n * s)) for n, s in zip(image.shape, factors))
    large = subpixel_numpy(params, image, factor)
    rest = tuple(s / f for s, f in zip(factors, factor))
    expected = np.clip(resize_numpy(large, rest, shape), 0, 1)
    result = jax.jit(method.outputs)(state, inputs)["result"].value
    np.testing.assert_allclose(result, expected, atol=2e-5)


def test_the_mean_of_the_ensemble_is_back_projected_once():
    fields = {**SUBPIXEL, "ensemble_reduce": "mean", "back_projection": 2}
    method, inputs, state = build(photo(24)[:20], **fields)
    image = np.asarray(inputs["image"], np.float64)
    params, views = as_numpy(state.params), []
    for k in range(8):
        turned = np.rot90(image, k % 4)
        turned = np.fliplr(turned) if k >= 4 else turned
        out = np.clip(subpixel_numpy(params, turned, (2, 2)), 0, 1)
        views.append(np.rot90(np.fliplr(out) if k >= 4 else out, -(k % 4)))
    x = np.mean(views, axis=0)
    for _ in range(2):
        small = resize_numpy(x, (0.5, 0.5), image.shape[:2])
        x = np.clip(x + resize_numpy(image - small, (2, 2), x.shape[:2]), 0, 1)
    outputs = jax.jit(method.outputs)(state, inputs)
    np.testing.assert_allclose(outputs["result"].value, x, atol=2e-5)
    spread = np.std(views, axis=0).mean(-1)
    np.testing.assert_allclose(outputs["uncertainty"].value, spread, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"back_projection": 2},
        {**SUBPIXEL, "ensemble_reduce": "mean", "back_projection": 3},
        {**SUBPIXEL, "scale": "1.5,2", "back_projection": 1},
        {"scale": "1.25", "ensemble": "off", "back_projection": 1},
    ],
    ids=["published", "subpixel", "subpixel-1.5,2", "1.25"],
)
def test_tiles_equal_the_whole(fields):
    results = []
    for tile in (0, 8):
        method, inputs, state = build(WIDE, tile=tile, **fields)
        results.append(jax.jit(method.outputs)(state, inputs))
    for name, whole in results[0].items():
        np.testing.assert_allclose(results[1][name].value, whole.value, atol=2e-5)


@pytest.mark.slow
def test_tiles_with_a_kernel_equal_the_whole():
    kernel = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    results = []
    for tile in (0, 8):
        method, inputs, state = build(WIDE, kernel=kernel / kernel.sum(), tile=tile)
        results.append(jax.jit(method.outputs)(state, inputs)["result"].value)
    np.testing.assert_allclose(results[1], results[0], atol=2e-5)


@pytest.mark.slow
def test_gradual_results_join_the_pool_and_weights_carry_over():
    fields = {"scale": "1,1.5;2,2", "back_projection": "1,3", "ensemble": "off"}
    method, inputs, state = build(steps=3, **fields)
    assert [stage.name for stage in method.stages] == ["1: 1x1.5", "2: 2x2"]
    first = method.stages[0]
    before, _ = jax.jit(first.step)(state, inputs)
    state, inputs = jax.jit(first.advance)(before, inputs)
    assert inputs["pool"].shape == (2, 32, 48, 3)
    np.testing.assert_array_equal(inputs["pool"][0, :32, :32], inputs["image"])
    alone, _, _ = build(scale="1,1.5", back_projection=1, ensemble="off")
    expected = jax.jit(alone.outputs)(before, {"image": inputs["image"]})["result"].value
    np.testing.assert_allclose(inputs["pool"][1], expected, atol=1e-6)
    assert int(state.step) == 0
    assert state.model_state["learning_rate"] == np.float32(1e-3)
    assert np.all(state.model_state["test_mse"] == optimizers.UNKNOWN)
    jax.tree.map(np.testing.assert_array_equal, state.params, before.params)
    jax.tree.map(np.testing.assert_array_equal, state.opt_state, before.opt_state)
    _, metrics = jax.jit(method.stages[1].step)(state, inputs)
    assert np.isfinite(metrics["loss"])
    result = jax.jit(method.outputs)(state, inputs)["result"].value
    assert result.shape == (64, 64, 3)
    # Back-projection ties it to the image.
    np.testing.assert_allclose(resizing.resize(result, scale=0.5), inputs["image"], atol=0.1)


def test_after_a_change_of_base_the_result_is_the_input():
    fields = {"scale": "1.5;3", "base_change": "1.5", "ensemble": "off"}
    method, inputs, state = build(steps=1, **fields)
    new_state, new = jax.jit(method.stages[0].advance)(state, inputs)
    assert set(new) == {"image"}
    assert new["image"].shape == (48, 48, 3)
    twice, _, _ = build(new["image"], scale="2", ensemble="off")
    expected = jax.jit(twice.outputs)(new_state, new)["result"].value
    assert expected.shape == (96, 96, 3)
    np.testing.assert_allclose(
        jax.jit(method.outputs)(new_state, new)["result"].value, expected, atol=1e-6
    )
    assert method.baseline(inputs).shape == (96, 96, 3)


def test_rounds_repeat_the_last_factor_also_with_a_kernel():
    kernel = np.random.default_rng(0).random((5, 5)).astype(np.float32)
    fields = {"rounds": 2, "output_shape": "61,64", "ensemble": "off"}
    method, inputs, state = build(kernel=kernel / kernel.sum(), **fields)
    assert [stage.name[3:] for stage in method.stages] == ["1.90625x2"] * 2
    state, inputs = jax.jit(method.stages[0].advance)(state, inputs)
    assert inputs["pool"].shape == (2, 61, 64, 3)
    _, metrics = jax.jit(method.stages[1].step)(state, inputs)
    assert np.isfinite(metrics["loss"])
    assert jax.eval_shape(method.outputs, state, inputs)["result"].value.shape == (61, 64, 3)


def test_average_and_schedule():
    fields = {**SUBPIXEL, "average": 0.9, "steps": 8, "warmup": 3, "learning_rate": 1e-2}
    method, inputs, state = build(**fields)
    assert method.stages[0].evaluate is None
    average = as_numpy(state.params)
    rates, step = [], jax.jit(method.step)
    for i in range(8):
        state, metrics = step(state, inputs)
        rates.append(float(metrics["learning_rate"]))
        decay = min(0.9, (1 + i) / (10 + i))
        params = as_numpy(state.params)
        average = {k: decay * average[k] + (1 - decay) * params[k] for k in params}
    for name, value in average.items():
        np.testing.assert_allclose(state.model_state["average"][name], value, atol=1e-6)
    expected = optax.warmup_cosine_decay_schedule(1e-3, 1e-2, 3, 8)(np.arange(8))
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
    plain, _, _ = build(**{**fields, "average": 0.0})
    averaged = state.replace(params={"net": state.model_state["average"]}, model_state={})
    np.testing.assert_allclose(
        jax.jit(method.outputs)(state, inputs)["result"].value,
        jax.jit(plain.outputs)(averaged, inputs)["result"].value,
        atol=1e-6,
    )


def motion_blur(x):
    """A blur along the rows, and every second pixel: (h, w, C) -> (ceil(h / 2), ceil(w / 2), C)."""
    blurred = sum(jnp.roll(x, shift, axis=1) for shift in (-1, 0, 1, 2)) / 4
    return blurred[::2, ::2]


@pytest.mark.slow
def test_a_degradation_of_ones_own_makes_the_sons_and_is_inverted():
    truth = photo(96)
    image = np.asarray(motion_blur(jnp.asarray(truth)))
    fields = {"features": 12, "layers": 4, "crop": 32, "steps": 150, "learning_rate": 4e-3}
    fields |= {"schedule": "cosine", "evaluate_every": 0, "net": "subpixel"}
    out = di.super_resolve(image, scale=2, down=motion_blur, **fields)["result"]
    cubic = np.asarray(resizing.resize(jnp.asarray(image), scale=2))
    errors = [np.mean((x - truth)[4:-4, 4:-4] ** 2) for x in (out, cubic)]
    assert 10 * np.log10(errors[1] / errors[0]) > 1.0
    assert np.abs(motion_blur(out) - image).mean() < 0.01


def test_a_degradation_of_another_size_or_with_tiles_is_refused():
    image = photo(32)
    with pytest.raises(InputError, match=r"down: returns \(24, 24, 3\)"):
        di.super_resolve(image, scale=2, down=lambda x: x, crop=24)
    with pytest.raises(InputError, match=r"config\.tile"):
        di.super_resolve(image, scale=2, down=motion_blur, tile=16)
    with pytest.raises(InputError, match="exclude"):
        di.super_resolve(image, scale=2, down=motion_blur, kernel=np.ones((3, 3)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": "2;1"}, "greater than 1"),
        ({"scale": "1.5;2", "base_change": "3"}, "base_change"),
        ({"scale": "2;1.5", "base_change": "2"}, "after a base change"),
        (
            {"scale": "1.5;2", "back_projection": "1,2,3"},
            "=1,2,3: give one number, or 2",
        ),
        ({"back_projection": "many"}, "back_projection"),
        ({"net": "large"}, "config.net"),
        ({"average": 1.0}, "config.average"),
        ({"optimizer": "muon", "layers": 2}, "config.layers"),
        ({"scale": "2.0123", "tile": 8}, "config.tile"),
        ({"evaluate_every": 0}, "config.evaluate_every"),
    ],
)
def test_bad_settings_are_one_line(fields, message):
    with pytest.raises(InputError, match=message) as error:
        build(**fields)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "names", ["ideal", "gradual", "fast", "best", "real", "kernel", "fast,kernel", "best,smoke"]
)
def test_presets_make_methods(names):
    kernel = "some.mat" if "kernel" in names else ""
    config = RECIPE.build(names, kernel=kernel)
    spec = {"image": jax.ShapeDtypeStruct((40, 36, 3), jnp.float32)}
    if "kernel" in names:
        spec["kernel"] = jax.ShapeDtypeStruct((7, 7), jnp.float32)
        with pytest.raises(InputError, match=r"config\.kernel: give"):
            RECIPE.build(names)
    method = RECIPE.method(config, spec)
    state = jax.eval_shape(method.init, jax.random.key(0), spec)
    for stage in method.stages[:-1]:
        state, spec = jax.eval_shape(stage.advance, state, spec)
    result = jax.eval_shape(method.outputs, state, spec)
    assert result["result"].value.shape == (80, 72, 3)
    assert ("uncertainty" in result) == (names not in ("real", "kernel", "fast,kernel"))


def test_unknown_presets_are_named():
    with pytest.raises(InputError, match="'quick'; there are: ideal, gradual"):
        di.super_resolve(photo(32), preset="quick")


def test_presets_apply_in_the_order_given():
    """What they set by hand; `methods.make` and `RECIPE.build` agree."""
    least = {"real,fast": 0.7, "fast,real": 0.75}
    for names, expected in least.items():
        assert RECIPE.build(names).affine_scale_min == expected
    smoke = RECIPE.build("gradual,smoke")
    assert smoke.train_steps == 30
    made = methods.make("zssr", {}, (32, 32, 3), preset="gradual,smoke")
    assert [stage.name for stage in made.stages] == ["1: 1x1.5", "2: 2x2"]
    assert {stage.steps for stage in made.stages} == {30}


def test_one_kernel_does_not_serve_several_factors():
    with pytest.raises(InputError, match="a single factor"):
        build(kernel=np.full((5, 5), 0.04, np.float32), scale="1.5;2")


@pytest.mark.slow
def test_the_fast_preset_beats_cubic_interpolation():
    config = RECIPE.build("fast", steps=60, features=24, crop=48)
    assert gain_over_cubic(config, photo(128)) > 1.0


class Own(nn.Module):
    """A net of two layers; `factor` copies of each pixel, refined."""

    factor: tuple[int, int] = (1, 1)

    @nn.compact
    def __call__(self, x):
        n, h, w, c = x.shape
        v, u = self.factor
        y = nn.Conv(v * u * c, (3, 3))(nn.relu(nn.Conv(6, (3, 3))(x)))
        y = y.reshape(n, h, w, v, u, c).swapaxes(2, 3).reshape(n, h * v, w * u, c)
        return x.repeat(v, 1).repeat(u, 2) + y


def own(net, image=IMAGE, **fields):
    fields = {"crop": 24, "back_projection": "0", "learning_rate": 1e-2, **fields}
    return methods.make("zssr", fields, {"image": image}, net=net)


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "reduce"), [((1, 1), "median"), ((2, 2), "mean")])
def test_a_net_of_ones_own_trains_and_sees_flipped_images(factor, reduce):
    net, image = Own(factor), photo(24)[:20]
    method = own(net, image, crop=16, ensemble_reduce=reduce)
    inputs = {"image": image}
    state = method.init(jax.random.key(0), inputs)
    test, step = jax.jit(method.evaluate), jax.jit(method.step)
    before = test(state, inputs)[1]["test_psnr"]
    for _ in range(40):
        state, _ = step(state, inputs)
    assert test(state, inputs)[1]["test_psnr"] > before + 0.1

    views = []
    for k in range(8):
        x = np.rot90(image, k % 4)
        x = np.fliplr(x) if k >= 4 else x
        if factor == (1, 1):
            x = resize_numpy(x, (2, 2), (2 * x.shape[0], 2 * x.shape[1]))
        x = np.clip(net.apply({"params": state.params["net"]}, x[None])[0], 0, 1)
        views.append(np.rot90(np.fliplr(x) if k >= 4 else x, -(k % 4)))
    outputs = jax.jit(method.outputs)(state, inputs)
    expected = getattr(np, reduce)(views, axis=0)
    np.testing.assert_allclose(outputs["result"].value, expected, atol=2e-5)
    spread = np.std(views, axis=0).mean(-1)
    np.testing.assert_allclose(outputs["uncertainty"].value, spread, atol=2e-5)
    assert spread.max() > 1e-3


class Normalised(Own):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=False)(x)


@pytest.mark.parametrize(
    ("net", "fields", "message"),
    [
        (lambda x: x, {}, "net: function is no instance; give an instance of a linen module"),
        (Own, {}, "net: Own is no instance; give an instance"),
        (nn.Conv(4, (3, 3)), {}, r"net: returns \(1, 24, 24, 4\) for \(1, 24, 24, 3\)"),
        (Normalised(), {}, "net: has batch_stats, params"),
        (Own(), {"optimizer": "muon"}, "config.optimizer=muon"),
        (Own(), {"tile": 16}, "config.tile"),
    ],
)
def test_what_is_no_net_is_refused_in_one_line(net, fields, message):
    with pytest.raises(InputError, match=message) as caught:
        own(net, **fields)
    assert "\n" not in str(caught.value)


def test_a_net_of_ones_own_is_not_for_canvases():
    config = RECIPE.build("")
    inputs = RECIPE.canvas.pad(config, RECIPE.prepare(config, IMAGE), (40, 40))
    with pytest.raises(InputError, match="canvas"):
        RECIPE.method(config, input_spec(inputs), net=Own())
