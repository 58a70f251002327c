"""ZSSR's preset `blind`: the decisions for an image, their remarks, and results with them."""

import io

import imageio.v3 as iio
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

import deepinternal as di
from deepinternal.estimators import gaussian_blur, image_facts
from deepinternal.methods.kernelgan import estimate
from deepinternal.methods.zssr import RECIPE, blind
from deepinternal.ops import kernels
from deepinternal.ops.resizing import resize
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
    made = decisions(photo(), kernel_use="cubic")
    assert made["noise_std"] == 0
    assert made["jpeg_quality"] == 0
    assert made["refine"] == 1


def test_noise_is_measured_and_not_brought_back():
    made = decisions(noisy(10), denoise="off", kernel_use="cubic")
    assert 8 / 255 < made["noise_std"] < 12 / 255
    assert made["refine"] == 0


def test_noise_is_removed_first_unless_it_is_that_of_a_jpeg(monkeypatch):
    clean = photo()
    monkeypatch.setattr(blind.noisy, "denoised", lambda image: clean)
    config, inputs = setting(noisy(10), kernel_use="cubic")
    assert inputs["image"] is clean
    np.testing.assert_allclose(inputs["observed"], noisy(10), atol=1e-6)
    decided = inputs["decisions"]
    assert decided["noise_std"] == pytest.approx(blind.noisy.REST * decided["measured_std"])
    assert "removed first" in " ".join(blind.remarks(config, inputs, None))
    for image, fields in ((compressed(40), {}), (noisy(10), {"noise_std": 0.03})):
        _, inputs = setting(image, kernel_use="cubic", **fields)
        np.testing.assert_array_equal(inputs["image"], inputs["observed"])
    assert setting(compressed(40), denoise="on", kernel_use="cubic")[1]["image"] is clean


@pytest.mark.slow
@pytest.mark.usefixtures("quick_programs")
def test_the_noise_is_removed_by_denoise():
    image = noisy(10)
    made, given = blind.noisy.denoised(image), di.denoise(image)["result"]
    np.testing.assert_allclose(made, given, atol=1e-4)


def test_jpeg_is_found_and_not_brought_back():
    made = decisions(compressed(40), kernel_use="cubic")
    assert abs(made["jpeg_quality"] - 40) <= 3
    assert made["noise_std"] > image_facts.QUIET
    assert made["refine"] == 0


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"noise_std": 0.05}, "noise_std", 0.05),
        ({"back_projection": "3"}, "refine", 1),
        ({"jpeg": "off"}, "jpeg_quality", 0),
        ({"flips": "on", "kernel_use": "estimated"}, "flips", 1),
        ({"flips": "off"}, "flips", 0),
    ],
)
def test_every_decision_can_be_made_by_a_field(fields, name, value):
    made = decisions(compressed(30), **{"kernel_use": "cubic", **fields})
    assert made[name] == pytest.approx(value)


def test_remarks_give_decisions_and_reasons():
    config, inputs = setting(noisy(10), denoise="off", kernel_use="cubic")
    said = " ".join(blind.remarks(config, inputs, None))
    assert "was measured" in said
    assert "no back-projection" in said
    config, inputs = setting(photo(), noise_std=0.02, kernel_use="cubic")
    assert "set by config.noise_std" in " ".join(blind.remarks(config, inputs, None))
    config, inputs = setting(photo(32))
    assert "at least 40 pixels" in " ".join(blind.remarks(config, inputs, None))
    config, inputs = setting(photo(), kernel_use="cubic")
    assert "set by config.kernel_use" in " ".join(blind.remarks(config, inputs, None))


def compiled(function):
    """Like `jax.jit`, but it compiles in half the time; the programs here are small."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def two_steps(stage, state, inputs):
    step = compiled(lambda state: stage.step(state, inputs, None)[0]).lower(state).compile()
    return step(step(state))


def blurred(size=112):
    """A photograph downscaled with a slanted Gaussian."""
    kernel = kernels.centre_kernel(kernels.gaussian_kernel(15, (2.1, 1.2), theta=0.6), 2)
    image = np.asarray(kernels.downscale(jnp.asarray(photo(2 * size)), kernel, 2))
    return np.round(np.clip(image, 0, 1) * 255).astype(np.float32) / 255, np.asarray(kernel)


@pytest.mark.slow
def test_the_estimated_kernel_is_that_of_super_resolution():
    image, true = blurred()
    config = RECIPE.build("blind,smoke")
    inputs = RECIPE.prepare(config, image, None, true)
    method = RECIPE.method(config, input_spec(inputs))
    (stage,) = method.stages
    state = compiled(method.init)(jax.random.key(0), inputs)
    made = compiled(method.outputs)(two_steps(stage, state, inputs), inputs)
    assert made["result"].value.shape == (224, 224, 3)
    assert bool(made["kernel_estimated"].value)
    assert float(made["kernel_correlation"].value) > 0.97
    np.testing.assert_array_equal(made["kernel"].value, inputs["estimate"]["kernel"])
    assert not bool(inputs["decisions"]["flips"])
    figures = {k: np.asarray(o.value).tolist() for k, o in made.items() if o.kind == "scalar"}
    assert 0 < figures["kernel_confidence"] < 1
    said = " ".join(blind.remarks(config, inputs, figures))
    assert f"a probability of {figures['kernel_confidence']:.2f}" in said


@pytest.mark.parametrize(
    ("use", "steps", "ends"), [("estimated", 0, 2), ("cubic", 0, 30), ("estimated", 9, 9)]
)
def test_training_is_short_with_an_estimated_kernel(use, steps, ends):
    config, inputs = setting(photo(48), kernel_use=use, blind_steps=2, steps=steps)
    method = RECIPE.method(config, input_spec(inputs))
    (stage,) = method.stages
    key = jax.random.key(0)
    state = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(method.init, key, inputs)
    )
    model = {**state.model_state, "estimated": inputs["decisions"]["estimated"]}
    over = [bool(stage.done(state.replace(step=n, model_state=model))) for n in range(stage.steps)]
    assert (over.index(True) if True in over else stage.steps) == ends


def remarks(config, inputs):
    made = blind.outputs(inputs)
    figures = {k: np.asarray(o.value).tolist() for k, o in made.items() if o.kind == "scalar"}
    return " ".join(blind.remarks(config, inputs, figures))


def kept(inputs):
    cubic = kernels.cubic_kernel(2, estimate.kernel_size(2))
    decided = inputs["decisions"]
    return bool((inputs["kernel"] == cubic).all() and decided["flips"] and ~decided["estimated"])


def test_flat_images_keep_the_cubic_kernel():
    flat = 0.5 + 0.002 * np.random.default_rng(0).normal(size=(64, 64, 3)).astype(np.float32)
    config, inputs = setting(flat)
    assert kept(inputs)
    assert "too little texture" in remarks(config, inputs)


def test_doubtful_estimates_keep_the_cubic_kernel(monkeypatch):
    image, _ = blurred()
    monkeypatch.setattr(gaussian_blur.Blur, "confidence", 0.4)
    config, inputs = setting(image)
    assert kept(inputs)
    assert "only a probability of 0.40" in remarks(config, inputs)


def test_cubic_downscalings_keep_the_cubic_kernel():
    image = np.clip(np.asarray(resize(jnp.asarray(photo(224)), scale=0.5)), 0, 1)
    config, inputs = setting(image)
    assert kept(inputs)
    assert "because it explains the image" in remarks(config, inputs)
    config, inputs = setting(image, kernel_use="estimated")
    assert not kept(inputs)
    assert "set by config.kernel_use" in remarks(config, inputs)


def test_inputs_that_were_not_prepared_are_refused():
    config = RECIPE.build("blind")
    with pytest.raises(InputError, match=r"config\.blind: the inputs lack `decisions`"):
        RECIPE.method(config, input_spec({"image": photo()}))


def test_saturated_images_are_mentioned():
    bright = np.clip(photo() * 2.5, 0, 1)
    config, inputs = setting(bright)
    share = np.mean((bright == 0) | (bright == 1))
    assert float(inputs["estimate"]["saturated"]) == pytest.approx(share, abs=0.01)
    assert share > 0.3
    assert "saturated" in " ".join(blind.remarks(config, inputs, None))


def test_a_given_kernel_is_not_estimated():
    kernel = np.asarray(kernels.gaussian_kernel(9, 1.2))
    config, inputs = setting(photo(), kernel=kernel)
    assert "estimate" not in inputs
    method = RECIPE.method(config, input_spec(inputs))
    assert len(method.stages) == 1
    np.testing.assert_allclose(inputs["kernel"], kernels.centre_kernel(kernel, 2))
    assert "given by config.kernel" in " ".join(blind.remarks(config, inputs, None))


def test_four_times_larger():
    config, inputs = setting(photo(64), scale="4")
    assert inputs["kernel"].shape == (estimate.kernel_size(4),) * 2
    method = RECIPE.method(config, input_spec(inputs))
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    made = jax.eval_shape(method.outputs, state, inputs)
    assert made["result"].value.shape == (256, 256, 3)
    assert made["kernel"].value.shape == inputs["kernel"].shape


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"scale": "3"}, "config.scale=3"),
        ({"output_shape": "50,50"}, "config.output_shape"),
        ({"kernel_use": "mine"}, "config.kernel_use"),
        ({"jpeg": "maybe"}, "config.jpeg"),
    ],
)
def test_bad_settings_are_refused_in_one_line(fields, named):
    with pytest.raises(InputError, match=named) as caught:
        RECIPE.build("blind", **fields)
    assert "\n" not in str(caught.value)
