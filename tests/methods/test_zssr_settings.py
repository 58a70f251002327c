"""The settings and presets of ZSSR, its prepared kernels, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepinternal as di
from deepinternal import methods
from deepinternal.methods import registry, zssr
from deepinternal.methods.zssr import RECIPE
from deepinternal.ops import kernels, resizing
from deepinternal.types import InputError
from tests.methods.zssr_reference import IMAGE, build
from tests.tiny_methods import photo


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
def test_bad_settings_are_refused_in_one_line(fields, message):
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


def test_missing_inputs_are_named_in_one_line():
    for name in ("zssr", "dip", "ingan"):
        with pytest.raises(InputError, match=r"the inputs lack 'image1?'; take"):
            registry.make(name, {}, {"img": (64, 64, 3)})


def test_small_images_are_refused_and_unknown_methods_named():
    with pytest.raises(InputError, match="8x8"):
        build(np.zeros((8, 8, 3), np.float32))
    with pytest.raises(InputError, match="zssr"):
        registry.make("nothing")


@pytest.mark.parametrize("off", [0.0, 0.7, 1.6])
def test_prepared_kernels_of_one_size_have_one_size(off):
    """Images with such kernels then share programs; the kernels downscale like `centre_kernel`'s."""
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
    """The expected values are given by hand; `methods.make` and `RECIPE.build` agree."""
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
