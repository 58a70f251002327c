"""The method `denoise`: its decisions, the images that it leaves unchanged, and canvases."""

import io

import jax
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import deepinternal as di
from deepinternal.methods import make
from deepinternal.methods.denoise import RECIPE, canvas, groups, scales
from deepinternal.methods.denoise.fill import filled
from deepinternal.types import InputError, input_spec
from tests.tiny_methods import photo

pytestmark = pytest.mark.usefixtures("quick_programs")
RNG = np.random.default_rng(0)
SMALL = {"preset": "smoke", "noise_std": 0.1}


def noisy(image, std):
    """A photograph with gaussian noise, rounded and clipped to 8 bits."""
    image = image + RNG.normal(0, std, image.shape)
    return np.round(255 * image.clip(0, 1)).astype(np.uint8)


def prepared(image, preset="", mask=None, **fields):
    config = RECIPE.build(preset, **fields)
    image = image if image.ndim == 3 else image[..., None]
    image = image / 255 if image.dtype == np.uint8 else image
    sides = {} if mask is None else {"mask": mask}
    return config, RECIPE.prepare(config, np.asarray(image, np.float32), **sides)


def remarks_of(image, preset="", mask=None, **fields):
    config, inputs = prepared(image, preset, mask, **fields)
    return "; ".join(RECIPE.remarks(config, inputs, None))


def runner(method):
    """A function from inputs to the outputs of a method, without the engine."""
    init, outputs = jax.jit(method.init), jax.jit(method.outputs)
    steps = [jax.jit(lambda state, x, s=stage: s.step(state, x, None)) for stage in method.stages]

    def run(inputs):
        state = init(jax.random.key(0), inputs)
        for stage, step in zip(method.stages, steps):
            while state.step < stage.steps and not stage.done(state):
                state, _ = step(state, inputs)
            if stage.advance:
                state, inputs = stage.advance(state, inputs)
        return outputs(state, inputs)

    return run


def trained(method, inputs):
    return runner(method)(inputs)


# Decisions


@pytest.mark.parametrize("level", [8, 25, 60])
def test_the_noise_is_measured(level):
    _, inputs = prepared(noisy(0.3 + 0.4 * photo(128), level / 255))
    np.testing.assert_allclose(inputs["noise"]["std"], level / 255, rtol=0.15)
    ((name, variants),) = inputs["algorithm"].items()
    wanted = {8: "low mosaic", 25: "middle mosaic", 60: "high mosaic"}[level]
    assert (name, [*variants]) == ("ridge", [wanted])


def test_fields_replace_what_was_measured():
    image = noisy(photo(64), 0.1)
    noise = prepared(image, noise_std=0.2, noise_gain=0.02, strength=0.5)[1]["noise"]
    mean = image.mean(axis=(0, 1)) / 255
    np.testing.assert_allclose(noise["std"], 0.1, rtol=1e-6)
    np.testing.assert_allclose(noise["gain"], 0.005, rtol=1e-6)
    np.testing.assert_allclose(noise["gain"] * mean + noise["offset"], 0.1**2, rtol=1e-5)
    text = remarks_of(image, noise_std=0.2, noise_gain=0.02, strength=0.5)
    assert "standard deviation of 51 (of 255), as given" in text
    assert "with config.strength=0.5" in text
    assert "it grows with brightness" in text


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((40, 44, 3), 77, np.uint8), "all pixels are equal"),
        (np.zeros((40, 44), np.uint8), "all pixels are equal"),
        (np.full((40, 44), 255, np.uint8), "all pixels are equal"),
        (np.round(255 * photo(96)).astype(np.uint8), "noise that weak"),
        (255 * (photo(40) > 0.4).astype(np.uint8), "most of its values are black or white"),
        (RNG.random((9, 40, 3)).astype(np.float32), "a side is shorter than 16 pixels"),
        (RNG.random((1, 1)).astype(np.float32), "a side is shorter than 8 pixels"),
    ],
    ids=["constant", "black", "white", "clean", "binary", "narrow", "pixel"],
)
def test_an_image_without_measurable_noise_is_left_as_it_is(image, words):
    result = di.denoise(image, full=True)
    np.testing.assert_array_equal(result.outputs["result"], image)
    assert words in "; ".join(result.remarks)
    assert "left as it is" in result.remarks[-1]


def test_the_errors_of_a_jpeg_are_removed():
    file = io.BytesIO()
    Image.fromarray(np.uint8(np.round(255 * photo(128)))).save(file, "jpeg", quality=50)
    image = np.asarray(Image.open(file))
    assert "ridge" in prepared(image)[1]["algorithm"]
    assert "JPEG of quality 50" in remarks_of(image)


def test_strength_0_removes_nothing():
    image = noisy(photo(32), 0.1)
    np.testing.assert_array_equal(di.denoise(image, noise_std=0.1, strength=0)["result"], image)


# Images


@pytest.mark.slow
def test_results_have_the_form_of_the_image():
    image = noisy(photo(32), 0.1)
    alpha = np.full((32, 32, 1), 200, np.uint8)
    with_alpha = di.denoise(np.concatenate([image, alpha], axis=-1), **SMALL)["result"]
    colour = di.denoise(image, **SMALL)
    np.testing.assert_array_equal(with_alpha[..., :3], colour["result"])
    np.testing.assert_array_equal(with_alpha[..., 3:], alpha)
    grey = di.denoise(image[..., 0], **SMALL)["result"]
    assert (grey.dtype, grey.shape) == (np.uint8, (32, 32))
    deep = di.denoise(image[..., 0].astype(np.uint16) * 257, **SMALL)["result"]
    assert deep.dtype == np.uint16
    np.testing.assert_allclose(deep / 257, grey, atol=0.51)
    floats = di.denoise((image[..., 0] / 255).astype(np.float32), **SMALL)["result"]
    np.testing.assert_allclose(255 * floats, deep / 257, atol=0.01)


def test_missing_pixels_do_not_matter():
    image, known = noisy(photo(32), 0.1), RNG.random((32, 32)) > 0.3
    other = np.where(known[..., None], image, 255 - image)
    found = [prepared(x, mask=known.astype(np.float32))[1] for x in (image, other)]
    jax.tree.map(np.testing.assert_array_equal, *found)
    np.testing.assert_array_equal(found[0]["mask"][..., 0], known)
    text = remarks_of(image, mask=known.astype(np.float32))
    assert f"{100 * np.mean(~known):.2g} % of the pixels are missing" in text


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((16, 16)), "config.mask: nothing is known"),
        (np.ones((16, 15)), "config.mask: is 16x15, but the image is 16x16"),
    ],
)
def test_masks_that_cannot_be_used_are_refused(mask, words):
    with pytest.raises(InputError, match=words):
        prepared(photo(16), mask=mask)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"noise_std": 25}, "config.noise_std=25: must be a standard deviation"),
        ({"noise_gain": -1}, "config.noise_gain=-1"),
        ({"algorithm": "bm3d"}, "config.algorithm=bm3d: must be one of auto, ridge, pairs"),
        ({"correlated": "yes"}, "config.correlated=yes: must be one of auto, on, off"),
        ({"strength": -1}, "config.strength=-1"),
    ],
)
def test_values_that_cannot_be_used_are_refused(fields, words):
    with pytest.raises(InputError, match=words):
        di.denoise(photo(16), **fields)


def test_unknown_methods_and_presets_are_refused():
    with pytest.raises(InputError, match="method='bm3d': give 'denoise' or 'dip'"):
        di.denoise(photo(16), method="bm3d")
    with pytest.raises(InputError, match=r"no preset 'ridge'.*there are: denoise, inpaint"):
        di.denoise(photo(16), method="dip", preset="ridge")


# Filling


def test_pixels_are_filled_from_their_neighbours_and_others_are_kept():
    plane = np.add.outer(np.arange(30), 2 * np.arange(20))[..., None] / 70
    known = RNG.random((30, 20)) > 0.5
    known[8:18, 6:14] = False
    made = filled(plane, known)
    np.testing.assert_array_equal(made[known], plane[known].astype(np.float32))
    away = ndimage.distance_transform_edt(~known)
    error = np.abs(made - plane)[..., 0]
    assert error[away <= 1].mean() < 0.02
    assert error.max() < 0.2
    alone = np.zeros((300, 9), bool)
    alone[0, 0] = True
    np.testing.assert_allclose(filled(np.full((300, 9, 1), 0.25), alone), 0.25, atol=1e-5)


# Canvases


@pytest.mark.parametrize("least", [30, 48])  # with a mosaic and without
def test_results_depend_neither_on_the_canvas_nor_on_the_strips(monkeypatch, least):
    """Results are equal up to rounding, which may change the choice of the most similar patches."""
    monkeypatch.setattr(scales, "LEAST", least)
    config, inputs = prepared(noisy(photo(48)[:37, :43], 0.1), "smoke", noise_std=0.1)
    method = RECIPE.method(config, input_spec(inputs))
    alone = trained(method, inputs)
    monkeypatch.setattr(groups, "_STRIP", 12)
    placed = canvas.pad(config, inputs, (52, 47))
    on_canvas = RECIPE.method(config, input_spec(placed))
    assert method.stages[0].steps == 1 < on_canvas.stages[0].steps
    run = runner(on_canvas)
    made = run(placed)
    np.testing.assert_array_equal(made["result"].size, (37, 43))
    error = np.asarray(made["result"].value)[:37, :43] - alone["result"].value
    assert np.sqrt(np.mean(error**2)) < 5e-4
    for name in ("uncertainty", "expected_psnr"):
        value = (
            np.asarray(made[name].value)[..., :37, :43]
            if name == "uncertainty"
            else made[name].value
        )
        np.testing.assert_allclose(value, alone[name].value, rtol=0.05)
    placed["image"][37:] = placed["image"][:, 43:] = 0.5
    if "mosaic" in placed:
        placed["mosaic"][scales.mosaic_size(37, 43)[0] :] = placed["mosaic"][:, 43:] = 0.5
    other = run(placed)
    for name in ("result", "uncertainty"):
        both = (np.asarray(x[name].value)[:37, :43] for x in (made, other))
        np.testing.assert_array_equal(*both, err_msg="the rest of the canvas is read")


def test_images_that_may_share_a_canvas():
    group = lambda *shape, **fields: canvas.group(RECIPE.build("", **fields), shape, {})
    assert group(80, 100, 3) == group(300, 60, 3) is not None
    assert group(80, 100, 3) != group(80, 100, 1)
    assert group(80, 100, 3) != group(16, 100, 3), "whose patches are smaller"
    assert group(5, 100, 3) is None


def test_the_unchanged_image_on_a_canvas():
    config, inputs = prepared(photo(24)[:20], strength=0)
    placed = canvas.pad(config, inputs, (26, 30))
    made = trained(make("denoise", config, placed), placed)["result"]
    np.testing.assert_array_equal(made.value[:20, :24], inputs["image"])
    np.testing.assert_array_equal(made.size, (20, 24))
