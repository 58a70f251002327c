"""ZSSR's gradual factors, averaged weights, and degradations and nets given by the user."""

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
from tests.methods.zssr_reference import IMAGE, SUBPIXEL, as_numpy, build, resize_numpy
from tests.tiny_methods import photo


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
def test_a_custom_degradation_makes_the_sons_and_is_inverted():
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


class TwoLayers(nn.Module):
    """A net of two layers; `factor` copies of each pixel, refined."""

    factor: tuple[int, int] = (1, 1)

    @nn.compact
    def __call__(self, x):
        n, h, w, c = x.shape
        v, u = self.factor
        y = nn.Conv(v * u * c, (3, 3))(nn.relu(nn.Conv(6, (3, 3))(x)))
        y = y.reshape(n, h, w, v, u, c).swapaxes(2, 3).reshape(n, h * v, w * u, c)
        return x.repeat(v, 1).repeat(u, 2) + y


def method_with(net, image=IMAGE, **fields):
    fields = {"crop": 24, "back_projection": "0", "learning_rate": 1e-2, **fields}
    return methods.make("zssr", fields, {"image": image}, net=net)


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "reduce"), [((1, 1), "median"), ((2, 2), "mean")])
def test_a_custom_net_trains_and_sees_flipped_images(factor, reduce):
    net, image = TwoLayers(factor), photo(24)[:20]
    method = method_with(net, image, crop=16, ensemble_reduce=reduce)
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


class Normalised(TwoLayers):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=False)(x)


@pytest.mark.parametrize(
    ("net", "fields", "message"),
    [
        (lambda x: x, {}, "net: function is not an instance; give an instance of a linen module"),
        (TwoLayers, {}, "net: TwoLayers is not an instance; give an instance"),
        (nn.Conv(4, (3, 3)), {}, r"net: returns \(1, 24, 24, 4\) for \(1, 24, 24, 3\)"),
        (Normalised(), {}, "net: has batch_stats, params"),
        (TwoLayers(), {"optimizer": "muon"}, "config.optimizer=muon"),
        (TwoLayers(), {"tile": 16}, "config.tile"),
    ],
)
def test_invalid_nets_are_refused_in_one_line(net, fields, message):
    with pytest.raises(InputError, match=message) as caught:
        method_with(net, **fields)
    assert "\n" not in str(caught.value)


def test_custom_nets_are_refused_on_canvases():
    config = RECIPE.build("")
    inputs = RECIPE.canvas.pad(config, RECIPE.prepare(config, IMAGE), (40, 40))
    with pytest.raises(InputError, match="canvas"):
        RECIPE.method(config, input_spec(inputs), net=TwoLayers())
