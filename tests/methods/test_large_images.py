"""Images of more than `fit_pixels`: windows of DIP, and layers that are fitted at a reduced size."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deepinternal as di
from deepinternal.engine.parallel import Programs
from deepinternal.methods import dip, dip_windows
from deepinternal.methods.double_dip import (
    dehazing,
    hints,
    segmentation,
    transparency,
    video,
    watermark,
)
from deepinternal.ops import atmosphere, fitting
from deepinternal.types import InputError, input_spec


def _texture(shape, seed=0):
    """A smooth random image with fine detail, (H, W, 3) in [0, 1]."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((shape[0] // 8 + 2, shape[1] // 8 + 2, 3))
    coarse = coarse.repeat(8, 0).repeat(8, 1)[: shape[0], : shape[1]]
    return (0.2 + 0.6 * coarse + 0.2 * rng.random((*shape, 3))).astype(np.float32) / 1.01


def _shrunk(x, shape):
    return np.asarray(fitting.shrunk(jnp.asarray(x), shape))


def _outputs(method, config, layers, inputs):
    """The outputs of a decomposition for given layers."""
    return jax.jit(functools.partial(method._outputs, config))(layers, inputs)


def _psnr(made, truth):
    return -10 * np.log10(np.mean((np.asarray(made) - truth) ** 2))


@pytest.mark.parametrize("shape", [(300, 400), (64, 2000), (17, 4096), (1000, 1000)])
@pytest.mark.parametrize("pixels", [100, 5000, 10**6])
def test_the_factor_is_the_least_that_is_small_enough(shape, pixels):
    by = fitting.factor(shape, pixels=pixels)
    fits = lambda by: shape[0] * shape[1] <= pixels * by * by
    assert fits(by)
    assert by == 1 or not fits(by - 1)
    assert fitting.factor(shape, side=100, pixels=pixels) == max(by, -(-max(shape) // 100))
    assert fitting.factor(shape) == 1


def test_hints_of_a_panorama_are_reduced_like_the_image():
    image, hint = np.zeros((19, 600, 3), np.float32), np.zeros((19, 600), bool)
    hint[:, 100:130] = True
    small = fitting.reduced(image, pixels=700)
    assert hints.fitted(hint, small.shape[:2]).shape == small.shape[:2]


# Windows


def _in_order(inputs, layer_of):
    """The result if the layer of each window is `layer_of(inputs)`."""
    following = jax.jit(dip_windows.following)
    for _ in range(len(inputs["corners"]) - 1):
        inputs = following({"image": layer_of(inputs)}, inputs)
    return np.asarray(jax.jit(dip_windows.blended)(layer_of(inputs), inputs)), inputs


@pytest.mark.parametrize("scale", [1, 2])
def test_windows_cover_the_image_and_blend_to_it(scale):
    image = _texture((70, 90))
    inputs = dip_windows.split({"image": image}, pixels=32 * 32, scale=scale)
    assert inputs["image"].shape[:2] == (32 // scale, 32 // scale)
    large = lambda x: jnp.repeat(jnp.repeat(x, scale, 0), scale, 1)
    made, last = _in_order(inputs, lambda inputs: large(jnp.asarray(inputs["image"])))
    np.testing.assert_allclose(made, large(image), atol=1e-6)
    y, x = inputs["corners"][-1]
    np.testing.assert_array_equal(last["image"], image[y:, x:][: 32 // scale, : 32 // scale])


def test_windows_of_holes_cover_them_with_surroundings():
    rng, side = np.random.default_rng(3), 40
    holes = np.zeros((300, 420), bool)
    for y, x in zip(rng.integers(0, 295, 9), rng.integers(0, 415, 9)):
        holes[y : y + 5, x : x + 5] = True
    mask = (~holes[..., None]).astype(np.float32)
    inputs = dip_windows.split({"image": _texture(holes.shape), "mask": mask}, pixels=side**2)
    near, reach = np.zeros_like(holes), side // 4
    for y, x in inputs["corners"]:
        assert 0 <= y <= 300 - side
        assert 0 <= x <= 420 - side
        rows = slice(y + reach if y else 0, y + side - reach if y + side < 300 else 300)
        near[rows, slice(x + reach if x else 0, x + side - reach if x + side < 420 else 420)] = True
    assert near[holes].all()
    assert len(inputs["corners"]) <= 9 + 3  # a hole may lie across a border
    made, _ = _in_order(inputs, lambda inputs: jnp.zeros_like(inputs["image"]))
    assert (made[holes] == 0).all()
    assert (made != 0).any()


def test_one_window_is_preferred_if_it_is_smaller():
    holes = np.zeros((2000, 3000), bool)
    holes[1000:1040, 500:600] = True
    (size, places) = dip_windows._around(holes, 1_200_000)
    assert size == (256, 256)
    assert len(places) == 1


def test_a_hole_that_fills_a_window_is_refused():
    mask = np.ones((200, 200, 1), np.float32)
    mask[20:180, 20:180] = 0
    with pytest.raises(InputError, match=r"config\.mask: a hole leaves.*fit_pixels"):
        dip_windows.split({"image": np.ones((200, 200, 3)), "mask": mask}, pixels=32 * 32)


@pytest.mark.usefixtures("quick_programs")
def test_windows_share_their_programs_and_keep_what_is_known():
    image, mask = _texture((48, 64)), np.full((48, 64), 255, np.uint8)
    mask[4:8, 4:8] = mask[40:44, 50:56] = mask[4:8, 50:54] = 0
    options = {"channels": "4", "skip": "0", "depth": 2, "steps": 2, "early_stop": False}
    made = di.run("dip", image, preset="inpaint", mask=mask, fit_pixels=576, full=True, **options)
    stages, known = made.method.stages, mask > 0
    assert len(stages) == 3 == len(made.inputs["corners"])
    assert len({stage.step for stage in stages}) == len({s.advance for s in stages[:-1]}) == 1
    programs = Programs(made.method)
    assert {programs._first(i, "step", "done") for i in range(3)} == {0}
    np.testing.assert_array_equal(made.outputs["result"][known], image[known])
    assert (made.outputs["result"][~known] != image[~known]).all(-1).mean() > 0.9
    assert "3 windows of 24x24" in made.remarks[0]
    assert "config.fit_pixels=576" in made.remarks[0]
    np.testing.assert_array_equal(np.asarray(made.history["step"])[-1], 6)


def test_each_window_of_flash_gets_its_own_input():
    image, flash = _texture((24, 48)), _texture((24, 48), 1)
    config = dip.RECIPE.build("flash,smoke", channels="4", skip="0", fit_pixels=576)
    inputs = dip.RECIPE.prepare(config, image, flash=flash)
    method = dip.RECIPE.method(config, input_spec(inputs))
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    state = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), state.replace(key=None))
    state = state.replace(key=jax.random.key(0))
    state, inputs = method.stages[0].advance(state, inputs)
    z = state.model_state["z"]["image"]
    y, x = inputs["corners"][1]
    np.testing.assert_array_equal(z[:24, :24], flash[y : y + 24, x : x + 24])


# Reduced fits


def test_small_images_are_prepared_as_before():
    image, mask = _texture((40, 40)), np.ones((40, 40), np.float32)
    mask[4:9, 5:9] = 0
    take = lambda recipe, presets, *given, **sides: recipe.prepare(
        recipe.build(presets, fit_pixels=1600), *given, **sides
    )
    found = take(dip.RECIPE, "inpaint", image, mask=mask)
    assert set(found) == {"image", "mask", "held_out"}
    assert set(take(transparency.RECIPE, "single", image)) == {"image"}
    found = take(watermark.RECIPE, "single", image, mask=1 - mask)
    assert set(found) == {"full", "image", "corner", "region"}
    np.testing.assert_array_equal(found["image"], image)
    for recipe in (segmentation.RECIPE, dehazing.RECIPE):
        np.testing.assert_array_equal(take(recipe, "", image)["image"], image)


@pytest.fixture(scope="module")
def scene():
    """An image (96, 120, 3), a disk in it (96, 120), and the size of an image a quarter as long."""
    y, x = np.mgrid[:96, :120]
    disk = (np.hypot(y - 50, x - 60) < 30).astype(np.float32)
    image = np.where(disk[..., None] > 0, [0.8, 0.5, 0.2], [0.2, 0.4, 0.7]) * _texture((96, 120))
    return image.astype(np.float32), disk, (24, 30)


def test_the_mask_of_a_reduced_fit_has_the_edges_of_the_full_image(scene):
    image, disk, small = scene
    config = segmentation.RECIPE.build("", fit_pixels=720, edges=2)
    ring = np.zeros_like(disk), np.zeros_like(disk)
    ring[0][45:55, 55:65] = ring[1][:8] = 1
    inputs = segmentation.prepare(config, image, *ring)
    assert inputs["image"].shape[:2] == inputs["foreground"].shape[:2] == small
    blurred = _shrunk(image, small)
    layers = {"mask": _shrunk(disk[..., None], small), "foreground": blurred, "background": blurred}
    made = _outputs(segmentation, config, layers, inputs)
    made = {name: np.asarray(output.value) for name, output in made.items()}
    inside, both = made["mask"] > 0, disk > 0
    assert (inside & both).sum() > 0.95 * (inside | both).sum()
    mask = made["mask"][..., None]
    composed = mask * made["foreground"] + (1 - mask) * made["background"]
    np.testing.assert_array_equal(composed, image)
    (remark,) = segmentation.RECIPE.remarks(config, inputs, None)
    assert "96x120 to 24x30" in remark
    assert "fit_pixels=720" in remark
    (remark,) = segmentation.RECIPE.remarks(config.replace(fit_side=16), inputs, None)
    assert "fit_side=16" in remark


def test_frames_are_reduced_by_the_same_factor(scene):
    frames = np.round(np.stack([scene[0]] * 2) * 255).astype(np.uint8)
    config = video.RECIPE.build("smoke", fit_pixels=720)
    inputs = video.prepare(config, frames)
    assert inputs["image"].shape == (2, 24, 30, 3)
    assert inputs["full"].shape == frames.shape
    assert "24x30" in video.RECIPE.remarks(config, inputs, None)[0]


def test_a_reduced_fit_removes_the_haze_of_the_full_image(scene):
    image, disk, small = scene
    t = 0.4 + 0.4 * disk[..., None]
    light = np.array([0.8, 0.85, 0.9], np.float32)
    hazy = np.asarray(atmosphere.haze(image, t, light), np.float32)
    config = dehazing.RECIPE.build("uniform", fit_side=0, fit_pixels=720, airlight="0.8,0.85,0.9")
    inputs = dehazing.prepare(config, hazy)
    assert inputs["image"].shape[:2] == small
    made = _outputs(dehazing, config, {"t": _shrunk(t, small)}, inputs)
    assert made["result"].value.shape == image.shape
    assert _psnr(made["result"].value, image) > max(_psnr(hazy, image) + 5, 22)


@pytest.mark.parametrize("seeds", [(0, 1), (2, 3)])
def test_layers_of_a_reduced_fit_add_up_to_the_full_image(seeds):
    smooth = lambda x: np.asarray(fitting.enlarged(_shrunk(x, (12, 15)), (96, 120)))
    first, second = 0.6 * _texture((96, 120), seeds[0]), 0.4 * smooth(_texture((96, 120), seeds[1]))
    image = (first + second).astype(np.float32)
    small = [jnp.asarray(_shrunk(x, (24, 30))) for x in (first, second)]
    made = jax.jit(fitting.split_details)(*small, image)
    np.testing.assert_allclose(made[0] + made[1], image, atol=1e-6)
    for layer, reduced, truth in zip(made, small, (first, second)):
        assert _psnr(layer, truth) > min(_psnr(fitting.enlarged(reduced, (96, 120)), truth) + 3, 35)


def test_full_mixtures_are_solved_for_layers_with_their_details():
    first, second = _texture((96, 120), 4), _texture((96, 120), 5)
    mixed = [np.float32(a * first + (1 - a) * second) for a in (0.7, 0.3)]
    config = transparency.RECIPE.build("pair,fast", fit_pixels=720)
    inputs = transparency.prepare(config, mixed)
    assert inputs["first"].shape[:2] == (24, 30)
    inputs["alphas"] = np.array([0.7, 0.3], np.float32)
    layers = {f"layer{n}": _shrunk(x, (24, 30)) for n, x in enumerate((first, second), 1)}
    made = _outputs(transparency, config, layers, inputs)
    assert _psnr(made["layer1"].value, first) > 35
    assert _psnr(made["layer2"].value, second) > 35


def _marked(shape=(96, 120), opacity=0.4):
    clean, mark = _texture(shape), np.zeros(shape, np.float32)
    mark[30:60, 40:48] = mark[44:50, 30:80] = opacity
    return clean, mark, np.float32(mark[..., None] + (1 - mark[..., None]) * clean)


def test_the_part_around_a_mark_is_as_large_as_it_may_be():
    image = _marked((600, 700))[2]
    config = watermark.RECIPE.build("single", box="30,30,60,80", fit_pixels=40000)
    found = watermark.prepare(config, image)
    (h, w), (y, x) = found["image"].shape[:2], found["corner"]
    assert h * w <= 40000 < (h + 2) * (w + 2)
    assert "part" not in found
    np.testing.assert_array_equal(found["image"], image[y : y + h, x : x + w])


@pytest.mark.parametrize("opacity", [0.4, 0.9])
def test_behind_a_reduced_mark_details_are_those_of_the_image_if_there_are_any(opacity):
    clean, mark, image = _marked(opacity=opacity)
    config = watermark.RECIPE.build("single,smoke", box="24,24,66,86", fit_pixels=720)
    inputs = watermark.prepare(config, image)
    part, small = inputs["part"].shape[:2], inputs["image"].shape[:2]
    assert max(small) < max(part)
    window = tuple(slice(c, c + n) for c, n in zip(inputs["corner"], part))
    layers = {
        "clean": _shrunk(clean[window], small),
        "watermark": np.ones((*small, 3), np.float32),
        "mask": _shrunk(mark[window][..., None], small),
    }
    finish = lambda *given: watermark._finish_single(watermark._single_outputs(*given))
    outputs = jax.jit(finish)(layers, inputs)
    made, inside = np.asarray(outputs["result"].value), mark > 0
    outside = np.ones_like(inside)
    outside[24:66, 24:86] = False
    np.testing.assert_array_equal(made[outside], image[outside])
    enlarged = image.copy()
    enlarged[window] = fitting.enlarged(layers["clean"], part)
    gain = _psnr(made[inside], clean[inside]) - _psnr(enlarged[inside], clean[inside])
    assert gain > (2 if opacity < 0.5 else -1)
    assert _psnr(made[inside], clean[inside]) > _psnr(image[inside], clean[inside]) + 6


def test_several_large_images_are_reduced_by_the_same_factor():
    _, _, image = _marked()
    config = watermark.RECIPE.build("many", fit_pixels=720)
    inputs = watermark.prepare(config, [image, image[:90, ::-1]])
    assert inputs["image1"].shape == inputs["image2"].shape
    assert "part2" in inputs
    layers = {f"clean{n}": inputs[f"image{n}"] for n in (1, 2)}
    shape = inputs["image1"].shape
    layers |= {
        "watermark": np.ones(shape, np.float32),
        "mask": np.zeros((*shape[:2], 1), np.float32),
    }
    finish = lambda *given: watermark._finish_many(2, watermark._many_outputs(2, *given))
    made = jax.jit(finish)(layers, inputs)
    np.testing.assert_array_equal(made["clean1"].value, image)
    np.testing.assert_array_equal(made["clean2"].value, image[:90, ::-1])
    assert made["mask"].value.shape == (90, 120)


def test_phases_that_differ_in_more_than_their_names_have_programs_of_their_own():
    config = segmentation.RECIPE.build("smoke")
    inputs = segmentation.prepare(config, _texture((32, 32)))
    stages = segmentation.RECIPE.method(config, input_spec(inputs)).stages
    for a, b in itertools.combinations(stages, 2):
        assert a.step != b.step
