"""ZSSR's preset `blind`: what is decided for an image, and that it holds."""

import io

import imageio.v3 as iio
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

from deepinternal.estimators import image_facts
from deepinternal.methods.kernelgan import estimate
from deepinternal.methods.zssr import RECIPE, blind
from deepinternal.ops import kernels
from deepinternal.types import InputError, input_spec


def photo(size=96):
    return skimage.data.astronaut()[60 : 60 + size, 160 : 160 + size].astype(np.float32) / 255


def noisy(std, size=96):
    noise = np.random.default_rng(0).normal(0, std / 255, (size, size, 3))
    return np.round(np.clip(photo(size) + noise, 0, 1) * 255).astype(np.float32) / 255


def compressed(quality, size=96):
    file = io.BytesIO()
    iio.imwrite(file, np.uint8(np.round(photo(size) * 255)), extension=".jpg", quality=quality)
    return iio.imread(file.getvalue(), extension=".jpg").astype(np.float32) / 255


def setting(image, presets="blind,smoke", kernel=None, **fields):
    config = RECIPE.build(presets, **{**RECIPE.given({"kernel": kernel}), **fields})
    inputs = RECIPE.prepare(config, image, kernel)
    return config, inputs


def decisions(image, **fields):
    _, inputs = setting(image, **fields)
    return {name: float(value) for name, value in inputs["decisions"].items()}


def test_clean_photographs_are_trusted():
    made = decisions(photo())
    assert made["noise_std"] == 0
    assert made["jpeg_quality"] == 0
    assert made["refine"] == 1


def test_noise_is_measured_and_not_brought_back():
    made = decisions(noisy(10))
    assert 8 / 255 < made["noise_std"] < 12 / 255
    assert made["refine"] == 0


def test_jpeg_is_found_and_not_brought_back():
    made = decisions(compressed(40))
    assert abs(made["jpeg_quality"] - 40) <= 3
    assert made["noise_std"] > image_facts.QUIET
    assert made["refine"] == 0


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"noise_std": 0.05}, "noise_std", 0.05),
        ({"back_projection": "3"}, "refine", 1),
        ({"jpeg": "off"}, "jpeg_quality", 0),
        ({"flips": "on"}, "flips", 1),
        ({"flips": "off"}, "flips", 0),
    ],
)
def test_every_decision_can_be_made_by_a_field(fields, name, value):
    assert decisions(compressed(30), **fields)[name] == pytest.approx(value)


def test_remarks_say_what_and_why():
    config, inputs = setting(noisy(10))
    said = " ".join(blind.remarks(config, inputs, None))
    assert "was measured" in said
    assert "no back-projection" in said
    config, inputs = setting(photo(), noise_std=0.02)
    assert "set by config.noise_std" in " ".join(blind.remarks(config, inputs, None))
    config, inputs = setting(photo(32))
    assert "at least 40 pixels" in " ".join(blind.remarks(config, inputs, None))
    config, inputs = setting(photo(), kernel_use="cubic")
    assert "set by config.kernel_use" in " ".join(blind.remarks(config, inputs, None))


def compiled(function):
    """As `jax.jit`, in half the time; what runs here is small."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def two_steps(stage, state, inputs):
    step = compiled(lambda state: stage.step(state, inputs, None)[0]).lower(state).compile()
    return step(step(state))


def estimated(config, inputs, averages=None):
    """The method, and state and inputs after an estimation that has found, or made, kernels."""
    method = RECIPE.method(config, input_spec(inputs))
    first = method.stages[0]
    state = compiled(method.init)(jax.random.key(0), inputs)
    if averages is None:
        state = two_steps(first, state, inputs)
    else:
        state = state.replace(model_state={**state.model_state, "average": averages})
    return method, *compiled(first.advance)(state, inputs)


@pytest.mark.slow
def test_kernel_then_super_resolution():
    config, inputs = setting(photo(), kernel_use="estimated")
    method, state, after = estimated(config, inputs)
    made = compiled(method.outputs)(two_steps(method.stages[1], state, after), after)
    assert made["result"].value.shape == (192, 192, 3)
    assert bool(made["kernel_estimated"].value)
    np.testing.assert_allclose(made["kernel"].value, after["estimate"]["kernel"])
    assert not bool(after["decisions"]["flips"])
    assert float(jnp.abs(after["kernel"] - inputs["kernel"]).max()) > 1e-3


@pytest.mark.slow
def test_of_several_replicas_the_best_kernel_is_used():
    config, inputs = setting(photo(64), kernel_use="estimated", estimation={"replicas": 3})
    averages = jnp.stack([kernels.gaussian_kernel(13, width) for width in (0.6, 1.0, 2.0)])
    _, state, after = estimated(config, inputs, averages)
    made = [estimate.finished(average, "peak") for average in averages]
    errors = [float(estimate.divergence(kernel, inputs["statistics"])) for kernel in made]
    assert len(set(errors)) == 3
    np.testing.assert_allclose(after["kernel"], made[np.argmin(errors)], atol=1e-6)
    assert float(after["estimate"]["kernel_divergence"]) == pytest.approx(min(errors), rel=1e-4)
    assert state.params["net"]["conv0"].shape == (3, 3, 3, 16)
    assert (state.step.shape, state.key.shape) == ((), ())


@pytest.mark.slow
def test_flat_images_keep_the_cubic_kernel():
    flat = 0.5 + 0.002 * np.random.default_rng(0).normal(size=(64, 64, 3)).astype(np.float32)
    config, inputs = setting(flat)
    _, _, after = estimated(config, inputs, kernels.gaussian_kernel(13, 1.0))
    np.testing.assert_array_equal(after["kernel"], kernels.cubic_kernel(2, estimate.kernel_size(2)))
    made = blind.outputs(after)
    assert not bool(made["kernel_estimated"].value)
    assert bool(made["flips"].value)
    figures = {k: np.asarray(o.value).tolist() for k, o in made.items() if o.kind == "scalar"}
    assert any("too little texture" in said for said in blind.remarks(config, inputs, figures))


def test_inputs_that_were_not_prepared_are_refused():
    config = RECIPE.build("blind")
    with pytest.raises(InputError, match=r"config\.blind: the inputs lack `decisions`"):
        RECIPE.method(config, input_spec({"image": photo()}))


def test_saturated_images_are_told():
    bright = np.clip(photo() * 2.5, 0, 1)
    config, inputs = setting(bright)
    share = np.mean((bright == 0) | (bright == 1))
    assert float(inputs["statistics"]["saturated"]) == pytest.approx(share, abs=0.01)
    assert share > 0.3
    assert "saturated" in " ".join(blind.remarks(config, inputs, None))


def test_a_given_kernel_is_not_estimated():
    kernel = np.asarray(kernels.gaussian_kernel(9, 1.2))
    config, inputs = setting(photo(), kernel=kernel)
    assert "statistics" not in inputs
    method = RECIPE.method(config, input_spec(inputs))
    assert len(method.stages) == 1
    np.testing.assert_allclose(inputs["kernel"], kernels.centre_kernel(kernel, 2))
    assert "given by config.kernel" in " ".join(blind.remarks(config, inputs, None))


def test_four_times_larger():
    config, inputs = setting(photo(64), scale="4")
    assert inputs["kernel"].shape == (estimate.kernel_size(4),) * 2
    method = RECIPE.method(config, input_spec(inputs))
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    made = jax.eval_shape(method.outputs, *jax.eval_shape(method.stages[0].advance, state, inputs))
    assert made["result"].value.shape == (256, 256, 3)
    assert made["kernel"].value.shape == inputs["kernel"].shape


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"scale": "3"}, "config.scale=3"),
        ({"output_shape": "50,50"}, "config.output_shape"),
        ({"kernel_use": "mine"}, "config.kernel_use"),
        ({"jpeg": "maybe"}, "config.jpeg"),
        ({"estimation": {"crop": 8}}, "config.estimation.crop=8"),
        ({"estimation": {"seeds": 8}}, "config.estimation.seeds: there is no such field"),
    ],
)
def test_bad_settings_are_one_line(fields, named):
    with pytest.raises(InputError, match=named) as caught:
        RECIPE.build("blind", **fields)
    assert "\n" not in str(caught.value)
