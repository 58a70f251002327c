"""Deep image prior: tasks, masks, averaging over runs, and what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

from deepinternal import methods
from deepinternal.losses.pixel import l2
from deepinternal.losses.smoothness import gradient_l1
from deepinternal.methods import dip
from deepinternal.methods.dip_tasks import TASKS
from deepinternal.ops.resizing import resize
from deepinternal.types import InputError, Output, input_spec

TINY = {"channels": "8,16", "skip": "4", "depth": 8, "early_stop": False}
RECIPE = dip.RECIPE


def _photo(side=32):
    photo = skimage.data.astronaut()[60:188, 160:288].astype(np.float32) / 255
    return np.asarray(resize(jnp.asarray(photo), output_shape=(side, side), method="box"))


def _fitted(image, presets="", sides=None, injected=None, **fields):
    """The result, and what each step logged."""
    config = RECIPE.build(presets, **{**TINY, **fields})
    inputs = RECIPE.prepare(config, image, **(sides or {}))
    method = RECIPE.method(config, input_spec(inputs), **(injected or {}))
    state, metrics = jax.jit(method.init)(jax.random.key(0), inputs), []
    step = jax.jit(method.step).lower(state, inputs).compile()
    for _ in range(method.stages[0].steps):
        state, logged = step(state, inputs)
        metrics.append({name: float(value) for name, value in logged.items()})
    return np.asarray(jax.jit(method.outputs)(state, inputs)["result"].value), metrics


def _mse(a, b):
    return float(np.mean((np.asarray(a) - b) ** 2))


@pytest.mark.slow
def test_it_denoises():
    photo = _photo()
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 0.15, photo.shape), 0, 1)
    options = {"channels": "16,32", "train_steps": 150, "average": 0.9}
    result, _ = _fitted(noisy.astype(np.float32), **options)
    assert _mse(result, photo) < 0.6 * _mse(noisy, photo)


@pytest.mark.slow
def test_it_fills_holes_and_keeps_what_is_known():
    photo = _photo(24)
    known = np.random.default_rng(1).random((24, 24)) < 0.7
    torn = np.where(known[..., None], photo, 0)
    options = {"train_steps": 80, "skip": "8"}
    result, _ = _fitted(torn, "inpaint", {"mask": known.astype(np.float32)}, **options)
    np.testing.assert_array_equal(result[known], photo[known])
    constant = np.broadcast_to(photo[known].mean(axis=0), photo[~known].shape)
    assert _mse(result[~known], photo[~known]) < 0.8 * _mse(constant, photo[~known])


@pytest.mark.slow
def test_a_custom_data_term_and_regularizer():
    """A data term replaces the squared error; a regularizer is added, logged, and smoothes."""
    photo, own = _photo(16), lambda image, inputs: 2 * l2(image, inputs["image"])
    smooth = gradient_l1
    options = {"train_steps": 12, "average": 0.0, "channels": "4", "skip": "0", "depth": 2}
    plain, usual = _fitted(photo, **options)
    regular, logged = _fitted(photo, injected={"data": own, "regularizer": smooth}, **options)
    assert logged[0]["data"] == pytest.approx(2 * usual[0]["loss"], rel=1e-5)  # equal weights
    for m in logged:
        assert m["data"] == pytest.approx(2 * 10 ** (-m["psnr"] / 10), rel=1e-4)
        assert m["loss"] == pytest.approx(m["data"] + m["regularizer"], rel=1e-5)
    assert gradient_l1(jnp.asarray(regular)) < gradient_l1(jnp.asarray(plain))
    with pytest.raises(InputError, match="takes no regulariser, did you mean regularizer"):
        methods.make("dip", {}, (16, 16, 3), regulariser=smooth)


FIELDS = (
    *("train_steps", "channels", "skip", "upsample", "jitter", "learning_rate", "schedule"),
    *("average", "backtrack", "early_stop", "patience"),
)
NARROW, WIDE, LARGE = (16, 32, 64, 128, 128), (128,) * 5, (16, 32, 64, 128, 128, 128)


@pytest.mark.parametrize(
    ("presets", "values"),
    [
        ("", (3000, WIDE, 4, "bilinear", 1 / 30, 0.01, "constant", 0.99, 5.0, True, 500)),
        ("fast", (2400, NARROW, 4, "bilinear", 1 / 30, 0.01, "constant", 0.99, 5.0, True, 200)),
        ("sr,fast", (1800, NARROW, 4, "bilinear", 0.03, 0.01, "cosine", 0.0, 0.0, True, 200)),
        ("inpaint", (6001, WIDE, 128, "nearest", 0.03, 0.01, "constant", 0.0, 0.0, True, 500)),
        ("inpaint,fast", (1200, NARROW, 4, "nearest", 0.03, 0.01, "cosine", 0.99, 0.0, False, 200)),
        ("fast,inpaint", (1200, NARROW, 4, "nearest", 0.03, 0.01, "cosine", 0.99, 0.0, False, 200)),
        ("inpaint,region", (3001, LARGE, 0, "nearest", 0.0, 0.01, "constant", 0.0, 0.0, True, 500)),
        (
            "region,inpaint,fast",
            (1200, LARGE, 4, "nearest", 0.03, 0.01, "cosine", 0.99, 0.0, False, 200),
        ),
        ("sr", (2000, WIDE, 4, "bilinear", 0.03, 0.01, "constant", 0.0, 0.0, True, 500)),
        ("restore", (11000, WIDE, 4, "bilinear", 0.03, 1e-3, "constant", 0.0, 0.0, True, 500)),
        (
            "restore,fast",
            (1200, NARROW, 4, "bilinear", 0.03, 0.01, "cosine", 0.99, 0.0, False, 200),
        ),
        ("flash", (601, WIDE, 4, "bilinear", 0.0, 0.1, "constant", 0.0, 0.0, True, 500)),
        ("flash,fast", (400, NARROW, 4, "bilinear", 0.0, 0.1, "cosine", 0.0, 0.0, True, 200)),
        ("fast,smoke", (20, (8,) * 3, 4, "bilinear", 1 / 30, 0.01, "constant", 0.99, 5.0, True, 8)),
    ],
)
def test_values_of_auto_fields(presets, values):
    config = RECIPE.build(presets)
    expected = dict(zip(FIELDS, values)) | {"skip": (values[2],)}
    assert {name: getattr(config, name) for name in FIELDS} == expected
    assert "auto" not in config.plain().values()


@pytest.mark.parametrize("preset", ["denoise", "restore", "sr"])
def test_held_out_pixels_are_not_fitted(preset):
    """The loss does not depend on them, and the error that ends the fit depends only on them."""
    rng = np.random.default_rng(3)
    photo = _photo(16) + 0.01
    photo[3:6, 4:9] = 0
    config = RECIPE.build(preset, held_out=0.1, scale=2)
    inputs = RECIPE.prepare(config, photo)
    held, known = inputs["held_out"], inputs.get("mask", np.ones((16, 16, 1), np.float32))
    assert held.sum() == round(0.1 * known.sum())
    assert (known[held > 0] == 1).all()
    observe, side = TASKS[preset].observe, 32 if preset == "sr" else 16
    layers = {"image": jnp.asarray(rng.random((side, side, 3), np.float32))}

    def errors(image):
        changed = {**inputs, "image": image}
        loss, _ = dip._loss(observe, None, None, layers, changed, 0)
        return float(loss), float(dip._held_out_error(observe, layers, changed))

    loss, error = errors(photo)
    other_loss, other_error = errors(np.where(held > 0, 1 - photo, photo))
    assert other_loss == loss
    assert other_error != error
    other_loss, other_error = errors(np.where(held > 0, photo, 1 - photo))
    assert other_loss != loss
    assert other_error == error
    if preset == "denoise":
        fitted = (np.asarray(layers["image"]) - photo)[held[..., 0] == 0]
        np.testing.assert_allclose(loss, np.mean(fitted**2), rtol=1e-5)


def test_a_tiny_image_has_a_pixel_that_is_held_out():
    inputs = RECIPE.prepare(RECIPE.build(), np.full((3, 3, 1), 0.5, np.float32))
    assert inputs["held_out"].sum() == 1


def test_a_missing_mask_means_black_pixels():
    photo = _photo(16) + 0.01
    photo[3:6, 4:9] = 0
    mask = RECIPE.prepare(RECIPE.build("restore"), photo)["mask"]
    assert mask.sum() == 256 - 15
    assert mask[3:6, 4:9].max() == 0


@pytest.mark.parametrize("preset", ["denoise", "inpaint", "sr", "restore", "flash"])
def test_the_loss_is_that_of_the_degraded_layer(preset):
    """Against NumPy: mean squared error, over known pixels, after Lanczos2 of width 4 x the factor."""
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
    layers = {"image": jnp.asarray(made)}
    loss, terms = dip._loss(TASKS[preset].observe, None, None, layers, inputs, 0)
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(terms["psnr"], -10 * np.log10(expected.mean()), rtol=1e-5)


def _lanczos(x, axis):
    """Downscaling by 4: 16 taps of Lanczos2 at half a pixel, stride 4, borders ignored."""
    t = (np.arange(16) - 7.5) / 4
    taps = np.sinc(t) * np.sinc(t / 2)
    taps /= taps.sum()
    x = np.moveaxis(x, axis, 0)
    padded = np.pad(x, [(6, 6)] + [(0, 0)] * (x.ndim - 1), mode="edge")
    made = [np.tensordot(taps, padded[i : i + 16], 1) for i in range(0, len(x), 4)]
    return np.moveaxis(np.stack(made), 0, axis)


@pytest.mark.slow
@pytest.mark.parametrize("presets", ["sr", "flash", "inpaint,large_hole", "inpaint,region"])
def test_shapes_of_other_nets(presets):
    config = RECIPE.build(presets)
    shape = (20, 24)
    inputs = {"image": np.zeros((*shape, 3), np.float32)}
    if config.task == "inpaint":
        inputs["mask"] = np.ones((*shape, 1), np.float32)
    if config.task == "flash":
        inputs["flash"] = inputs["image"]
    method = RECIPE.method(config, input_spec(inputs))
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    state, _ = jax.eval_shape(functools.partial(method.step, variant=None), state, inputs)
    made = jax.eval_shape(method.outputs, state, inputs)["result"].value
    assert made.shape == ((80, 96, 3) if presets == "sr" else (*shape, 3))


def test_published_parameter_counts():
    for presets, count in (("denoise", 2_217_831), ("inpaint", 3_002_627)):
        inputs = {"image": np.zeros((32, 32, 3), np.float32)}
        method = methods.make("dip", {}, inputs, preset=presets)
        params = jax.eval_shape(method.init, jax.random.key(0), inputs).params
        assert sum(x.size for x in jax.tree.leaves(params)) == count


def test_replicas_are_averaged():
    method = methods.make("dip", {**TINY, "replicas": 2}, (16, 16, 3))
    assert method.replicas == 2
    made = method.reduce({"result": Output(jnp.asarray([[1.0], [3.0]]))})
    assert float(made["result"].value[0]) == 2


@pytest.mark.parametrize(
    ("presets", "sides", "fields", "message"),
    [
        ("inpaint", {"mask": np.ones((16, 16))}, {}, "nothing is missing"),
        ("inpaint", {"mask": np.zeros((16, 16))}, {}, "nothing is known"),
        ("inpaint", {"mask": np.eye(12)}, {}, "config.mask: is 12x12, but the image is 16x16"),
        ("restore", {}, {}, "give config.mask"),
        ("flash", {}, {}, "config.flash: give the photograph"),
        ("flash", {"flash": np.ones((8, 16, 3))}, {}, "config.flash: is 8x16"),
        ("denoise", {}, {"task": "paint"}, "config.task=paint: must be one of denoise"),
        ("denoise", {}, {"channels": "8,x"}, "config.channels=8,x: must be whole numbers"),
        ("denoise", {}, {"skip": "4,4,4"}, "config.skip=4,4,4: give one number or 2"),
        ("denoise", {}, {"average": 1.0}, "config.average=1.0: must be auto or a number"),
        ("denoise", {}, {"noise_std": 25}, "config.noise_std=25: must be"),
        ("denoise", {}, {"filter_up": 4}, "config.filter_up=4: must be an odd whole number"),
        ("sr", {}, {"scale": "1.5"}, "config.scale=1.5: must be a whole number from 2 to 16"),
    ],
)
def test_invalid_inputs_are_refused_in_one_line(presets, sides, fields, message):
    image = np.full((16, 16, 3), 0.5, np.float32)
    with pytest.raises(InputError) as caught:
        RECIPE.prepare(RECIPE.build(presets, **{**TINY, **fields}), image, **sides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_presets_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match="no preset 'sharpen'; there are: denoise, inpaint"):
        RECIPE.build("sharpen")


@pytest.mark.parametrize("task", TASKS)
def test_examples_can_be_prepared(task):
    photo = skimage.data.astronaut().astype(np.float32) / 255
    config = RECIPE.build(task, scale=2, early_stop=False)
    sample = RECIPE.example(config, photo)
    assert sample.name.endswith(f"degraded for {task}")
    assert (sample.truth.shape == sample.image.shape) == (task != "sr")
    inputs = RECIPE.prepare(config, sample.image, **sample.sides)
    assert set(inputs) == {"image", *sample.sides}
    assert not RECIPE.example(config, photo, mask=0, flash=0).sides
