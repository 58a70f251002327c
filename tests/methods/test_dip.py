"""Deep image prior: tasks, masks, averaging over runs, and what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

import deepinternal as di
from deepinternal.methods import dip, registry
from deepinternal.ops.resize import resize
from deepinternal.types import InputError, Output, input_spec

TINY = {"channels": "8,16", "skip": "4", "depth": 8, "early_stop": False}


def _photo(side=32):
    photo = skimage.data.astronaut()[60:188, 160:288].astype(np.float32) / 255
    return np.asarray(resize(jnp.asarray(photo), output_shape=(side, side), method="box"))


def _config(presets="denoise", **fields):
    config = registry.preset("dip", presets, dip.defaults())
    registry.override(config, {**TINY, **fields})
    return config


def _mse(a, b):
    return float(np.mean((np.asarray(a) - b) ** 2))


def test_it_denoises():
    photo = _photo()
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 0.15, photo.shape), 0, 1)
    options = {**TINY, "channels": "16,32", "steps": 150, "average": 0.9}
    result = di.denoise(noisy.astype(np.float32), preset="", **options)["result"]
    assert _mse(result, photo) < 0.6 * _mse(noisy, photo)


def test_it_fills_holes_and_keeps_what_is_known():
    photo = (255 * _photo(24)).astype(np.uint8)
    known = np.random.default_rng(1).random((24, 24)) < 0.7
    torn = np.where(known[..., None], photo, 0).astype(np.uint8)
    result = di.inpaint(torn, known, preset="", steps=80, **{**TINY, "skip": "8"})["result"]
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result[known], photo[known])
    constant = photo[known].mean(axis=0)
    missing = (result[~known].astype(float), photo[~known].astype(float))
    assert _mse(*missing) < 0.8 * _mse(np.broadcast_to(constant, missing[1].shape), missing[1])


def test_a_missing_mask_means_black_pixels():
    photo = _photo(16) + 0.01
    photo[3:6, 4:9] = 0
    mask = dip.prepare(_config("restore"), photo)["mask"]
    assert mask.sum() == 256 - 15
    assert mask[3:6, 4:9].max() == 0


@pytest.mark.parametrize("preset", ["denoise", "inpaint", "sr", "restore", "flash"])
def test_the_loss_is_that_of_the_degraded_layer(preset):
    """Against NumPy: mean squared error, over known pixels, after Lanczos2 of width 4 x the factor."""
    config = _config(preset)
    rng = np.random.default_rng(2)
    image, made = rng.random((8, 12, 3)), rng.random((8, 12, 3))
    inputs = {"image": image}
    expected = (made - image) ** 2
    if preset in ("inpaint", "restore"):
        inputs["mask"] = (rng.random((8, 12, 1)) < 0.5).astype(float)
        expected = expected * inputs["mask"]
    if preset == "sr":
        made = rng.random((32, 48, 3))
        expected = (_lanczos(_lanczos(made, 0), 1) - image)[2:-2, 2:-2] ** 2
        layers = {"image": jnp.asarray(made)}
        small = resize(layers["image"], scale=(0.25, 0.25), method="lanczos2")
        np.testing.assert_allclose((small - image)[2:-2, 2:-2] ** 2, expected, atol=1e-5)
        expected = (np.asarray(small) - image) ** 2
    loss, terms = dip._loss(config.task, {"image": jnp.asarray(made)}, inputs, 0)
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(terms["psnr"], -10 * np.log10(expected.mean()), rtol=1e-5)


def _lanczos(x, axis):
    """Downscaling by 4: 16 taps of Lanczos2 at half a pixel, stride 4, borders left out of account."""
    t = (np.arange(16) - 7.5) / 4
    taps = np.sinc(t) * np.sinc(t / 2)
    taps /= taps.sum()
    x = np.moveaxis(x, axis, 0)
    padded = np.pad(x, [(6, 6)] + [(0, 0)] * (x.ndim - 1), mode="edge")
    made = [np.tensordot(taps, padded[i : i + 16], 1) for i in range(0, len(x), 4)]
    return np.moveaxis(np.stack(made), 0, axis)


@pytest.mark.parametrize("presets", ["sr", "flash", "inpaint,large_hole", "inpaint,region"])
def test_shapes_of_other_nets(presets):
    config = registry.preset("dip", presets, dip.defaults())
    shape = (20, 24)
    inputs = {"image": np.zeros((*shape, 3), np.float32)}
    if config.task == "inpaint":
        inputs["mask"] = np.ones((*shape, 1), np.float32)
    if config.task == "flash":
        inputs["flash"] = inputs["image"]
    method = dip.make(config, input_spec(inputs))
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    state, _ = jax.eval_shape(functools.partial(method.step, variant=None), state, inputs)
    made = jax.eval_shape(method.outputs, state, inputs)["result"].value
    assert made.shape == ((80, 96, 3) if presets == "sr" else (*shape, 3))


def test_published_parameter_counts():
    for presets, count in (("denoise", 2_217_831), ("inpaint", 3_002_627)):
        config = registry.preset("dip", presets, dip.defaults())
        inputs = {"image": np.zeros((32, 32, 3), np.float32)}
        method = dip.make(config, input_spec(inputs))
        params = jax.eval_shape(method.init, jax.random.key(0), inputs).params
        assert sum(x.size for x in jax.tree.leaves(params)) == count


def test_runs_are_averaged():
    method = dip.make(_config(runs=2), input_spec({"image": np.zeros((16, 16, 3), np.float32)}))
    assert method.replicas == 2
    made = method.reduce({"result": Output(jnp.asarray([[1.0], [3.0]]))})
    assert float(made["result"].value[0]) == 2


@pytest.mark.parametrize(
    ("presets", "sides", "fields", "message"),
    [
        ("inpaint", {"mask": np.ones((16, 16))}, {}, "nothing is missing"),
        ("inpaint", {"mask": np.zeros((16, 16))}, {}, "nothing is known"),
        ("inpaint", {"mask": np.eye(12)}, {}, "config.mask: is 12x12, the image 16x16"),
        ("restore", {}, {}, "give config.mask"),
        ("flash", {}, {}, "config.flash: give the photograph"),
        ("flash", {"flash": np.ones((8, 16, 3))}, {}, "config.flash: is 8x16"),
        ("denoise", {}, {"task": "paint"}, "config.task='paint': choose one of denoise"),
        ("denoise", {}, {"channels": "8,x"}, "config.channels='8,x'"),
        ("denoise", {}, {"skip": "4,4,4"}, "config.skip='4,4,4': give one or 2"),
        ("denoise", {}, {"average": 1.0}, "config.average=1.0: must be less than 1"),
        ("sr", {}, {"scale": "1.5"}, "config.scale=1.5"),
    ],
)
def test_what_is_refused(presets, sides, fields, message):
    config = _config(presets, **fields)
    image = np.full((16, 16, 3), 0.5, np.float32)
    run = lambda: dip.make(config, input_spec(dip.prepare(config, image, **sides)))
    with pytest.raises(InputError) as caught:
        run()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_presets_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match="no preset 'sharpen'; there are: denoise, inpaint"):
        di.denoise(np.zeros((16, 16)), preset="sharpen")
