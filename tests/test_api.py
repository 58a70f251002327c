"""The one-call functions keep the caller's dtype and rank, and refuse in one line."""

import dataclasses

import numpy as np
import pytest
from flax import linen as nn

import deepinternal as di
from deepinternal.methods import registry
from deepinternal.ops.resizing import resize
from deepinternal.types import InputError, Output
from tests.tiny_methods import photo
from tests.tiny_sets import RECIPE

pytestmark = pytest.mark.usefixtures("quick_programs")
FAST = {"preset": "ideal", "features": 4, "layers": 2, "crop": 16, "steps": 2, "ensemble": "off"}
IMAGE = (photo(24) * 255).astype(np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        IMAGE[..., 0],
        IMAGE[..., 0].astype(np.uint16) * 257,
        np.dstack([IMAGE, IMAGE[..., 0]]),
        IMAGE.astype(np.float64) / 255,
    ],
    ids=["grey8", "grey16", "rgba8", "float"],
)
def test_dtype_and_rank_are_kept(image):
    out = di.super_resolve(image, scale=2, **FAST)
    result = out["result"]
    assert result.shape == (2 * image.shape[0], 2 * image.shape[1], *image.shape[2:])
    assert result.dtype == (image.dtype if image.dtype.kind == "u" else np.float32)
    # Back-projection holds the result to the image: on average it keeps its brightness.
    assert np.mean(result) == pytest.approx(np.mean(image), rel=0.02)


@pytest.mark.slow
def test_options_seed_and_kernel():
    kernel = np.ones((3, 3))
    out = [
        di.super_resolve(IMAGE, scale=(1.5, 2), kernel=kernel, seed=s, **FAST)["result"]
        for s in (0, 0, 1)
    ]
    assert out[0].shape == (36, 48, 3)
    np.testing.assert_array_equal(out[0], out[1])
    assert np.any(out[0] != out[2])
    out = di.super_resolve(IMAGE, output_shape=(30, 40), **{**FAST, "ensemble": "on"})
    assert out["result"].shape == (30, 40, 3)
    assert out["uncertainty"].shape == (30, 40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 1}, r"config\.scale=1: must be .* greater than 1"),
        ({"stepz": 3}, r"config\.stepz: there is no such field, did you mean steps\?"),
        ({"steps": "many"}, r"config\.steps=many: must be a whole number of at least 0"),
        ({"noise_std": 25}, r"config\.noise_std=25: .* 25 of 255 is 0\.098"),
        ({"preset": "fst"}, "no preset 'fst', did you mean fast"),
        ({"kernel": np.zeros((3, 3))}, "sum"),
        ({"kernel": np.ones((3, 4))}, "square"),
        ({"kernel": "kernel.mat"}, "kernel=kernel.mat: give an array"),
        ({"kernel": np.ones((3, 3)), "down": lambda x: x[::2, ::2]}, "exclude each other"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        di.super_resolve(IMAGE, **{**FAST, **arguments})
    assert "\n" not in str(error.value)


def test_values_that_are_no_images_are_refused():
    with pytest.raises(InputError, match="NaN"):
        di.super_resolve(np.full((20, 20), np.nan), **FAST)
    with pytest.raises(InputError, match="shape"):
        di.super_resolve(np.zeros((3, 20, 20, 3)), **FAST)
    with pytest.raises(InputError, match="image: is None; give an array"):
        di.denoise(None)


def test_a_user_defined_net():
    """It learns nothing to speak of, so that the result is the interpolated image."""

    class Plus(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x + self.param("bias", nn.initializers.zeros, ())

    plain = {**FAST, "back_projection": 0, "learning_rate": 1e-9}
    out = di.super_resolve(IMAGE, scale=2, net=Plus(), **plain)["result"]
    expected = np.asarray(resize(IMAGE / np.float32(255), scale=2)).clip(0, 1) * 255
    np.testing.assert_allclose(out, expected, atol=0.51)


def test_any_method_by_name(monkeypatch):
    """Side inputs are arrays, other options fields; outputs of several images are nested."""
    monkeypatch.setattr(registry, "_registered", {})
    di.methods.register(dataclasses.replace(RECIPE, make=make))
    mask = np.ones(IMAGE.shape[:2])
    out = di.run("tiny_sets", IMAGE, mask=mask, flash=None, factor=lambda x: 0.5 * x, steps=99)
    np.testing.assert_array_equal(out["result"], IMAGE)
    assert out["samples"].keys() == {"half", "same"}
    assert np.abs(out["samples"]["half"] - IMAGE / 2.0).max() <= 0.5
    np.testing.assert_array_equal(out["samples"]["same"], IMAGE)
    with pytest.raises(InputError, match="colour: there is no such field"):
        di.run("tiny_sets", IMAGE, colour=3)
    with pytest.raises(InputError, match="no method 'tiny_set', did you mean tiny_sets"):
        di.run("tiny_set", IMAGE)


def make(config, spec, *, factor):
    method = RECIPE.make(config, spec)

    def outputs(state, inputs):
        result = method.outputs(state, inputs)["result"]
        samples = {"half": factor(result.value), "same": result.value}
        return {"result": result, "samples": Output(samples, "images")}

    return dataclasses.replace(method, outputs=outputs)


def test_presets_and_fields_are_shown():
    presets = di.presets("dip")
    assert presets["fast"].doc
    assert {"fast", "smoke", "inpaint"} <= presets.keys()
    shown = di.fields("dip", preset="fast")
    published = di.fields("dip")
    steps = shown["train_steps"]
    assert (steps.value, steps.default, steps.unit) == (2400, "auto", "steps")
    assert published["train_steps"].value == 3000
    assert shown["noise_std"].form == "a number from 0 to 1"
    assert "flash" in shown["task"].choices
    assert all(info.doc for info in shown.values())
    assert di.fields("zssr", preset="kernel")["kernel"].value == "", "which only the user knows"
    with pytest.raises(InputError, match="no preset"):
        di.fields("dip", preset="quick")
