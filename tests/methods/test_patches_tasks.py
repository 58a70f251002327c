"""The tasks of the method `patches`: their inputs, their refusals, and the pixels that they keep."""

import jax.numpy as jnp
import numpy as np
import pytest

from deepinternal.in_memory import run
from deepinternal.methods.patches import RECIPE, coarse, filling, tasks
from deepinternal.ops.patches.voting import voted_by_both
from deepinternal.runs.sides import Side, joined
from deepinternal.runs.sources import from_memory
from deepinternal.types import InputError

pytestmark = pytest.mark.usefixtures("quick_programs")
RNG = np.random.default_rng(0)
NOISE = RNG.random((48, 56, 3), np.float32)


def pattern(height, width, period=8):
    """A grey image that repeats itself, with a different value at every place of a period."""
    tile = np.random.default_rng(1).permutation(period * period).reshape(period, period, 1)
    repeats = (-(-height // period), -(-width // period), 1)
    return np.tile(tile / period**2, repeats)[:height, :width].astype(np.float32)


def mask_of(shape, rows, columns):
    mask = np.ones(shape[:2], np.float32)
    mask[rows, columns] = 0
    return mask


def prepared(task, image, **sides):
    return RECIPE.prepare(RECIPE.build(task), image, **sides)


def test_hole_of_a_pattern_is_filled_exactly():
    image = pattern(32, 40)
    mask = mask_of(image.shape, slice(12, 22), slice(14, 27))
    given = jnp.asarray(image * mask[..., None])
    made = filling.peeled(given, jnp.asarray(mask), given, jnp.asarray(mask > 0), patch=5)
    np.testing.assert_allclose(made, image, atol=1e-5)


def test_depth_of_a_hole_is_that_of_the_largest_disc_inside():
    known = np.ones((40, 60), bool)
    known[10:21, 5:50] = False
    assert filling.depth(known) == 11
    known[:21, 5:50] = False  # up to the border, beyond which nothing is known
    assert filling.depth(known) > 30


def test_window_surrounds_all_holes_and_stays_inside():
    known = np.ones((100, 120), bool)
    known[40:44, 60:64] = known[2:5, 70:73] = False
    rows, columns = filling.window(known, least=24)
    assert rows.start == 0
    assert 52 <= rows.stop <= 60
    assert 0 < columns.start <= 52
    assert 81 <= columns.stop < 120
    assert known[rows, columns].sum() == known.sum() - known.size + known[rows, columns].size
    whole = filling.window(known, least=500)
    assert whole == (slice(0, 100), slice(0, 120))


def test_unknown_pixels_continue_the_nearest_known_ones():
    image = np.arange(6, dtype=np.float32).reshape(1, 6, 1)
    known = np.array([[True, True, False, False, True, True]])
    np.testing.assert_array_equal(filling.continued(image, known).ravel(), [0, 1, 1, 4, 4, 5])


def test_texture_distinguishes_stripes_from_flat_parts_and_their_direction():
    image = np.zeros((40, 80, 1), np.float32)
    image[:, :40] = (np.arange(40) % 2)[:, None, None] * 0.1
    found = filling.texture(image, np.ones((40, 80), bool))
    np.testing.assert_allclose(found[20, 10], [0.7, 0], atol=1e-4)  # 7 times the mean difference
    np.testing.assert_allclose(found[20, 70], [0, 0], atol=1e-6)


def test_inpainting_takes_patches_of_known_pixels_and_keeps_them():
    image = NOISE.copy()
    mask = mask_of(image.shape, slice(20, 30), slice(20, 32))
    inputs = prepared("inpaint", image, mask=mask)
    np.testing.assert_array_equal(inputs["allowed"], mask)
    y, x = inputs["corner"]
    (h, w), channels = inputs["fixed"].shape, inputs["image"].shape[-1]
    np.testing.assert_array_equal(inputs["fixed"], mask[y : y + h, x : x + w])
    made = RNG.random((2, h, w, channels), np.float32)
    results = np.asarray(tasks.TASKS["inpaint"].finish(inputs, jnp.asarray(made)))
    assert results.shape == (2, *image.shape)
    known = mask > 0
    np.testing.assert_array_equal(results[:, known], np.stack([image[known]] * 2))
    inside = results[1][20:30, 20:32]
    np.testing.assert_array_equal(inside, made[1, 20 - y : 30 - y, 20 - x : 32 - x, :3])


def test_black_pixels_are_missing_without_a_mask():
    image = NOISE + 0.01
    image[10:20, 30:40] = 0
    expected = mask_of(image.shape, slice(10, 20), slice(30, 40))
    np.testing.assert_array_equal(prepared("inpaint", image)["allowed"], expected)


def test_large_hole_is_filled_from_a_scale_with_whole_patches():
    image = RNG.random((120, 120, 1), np.float32)
    mask = mask_of(image.shape, slice(10, 110), slice(10, 110))
    # The known frame of 10 pixels is as wide as a patch at 120 and at 90 pixels, but not at 68.
    config = RECIPE.build("inpaint", ratio=4 / 3)
    assert len(RECIPE.prepare(config, image, mask=mask)["scales"]) == 2


def test_whole_run_fills_a_pattern_and_keeps_known_pixels():
    image = pattern(48, 48)
    mask = mask_of(image.shape, slice(16, 30), slice(18, 32))
    options = {"preset": "inpaint", "iterations": 2, "ratio": 2.0}
    result = run("patches", image * mask[..., None], mask=mask, **options)["result"]
    np.testing.assert_array_equal(result[mask > 0], image[mask > 0])
    assert np.abs(result - image).mean() / np.mean(mask == 0) < 0.02


def test_structure_has_the_colours_of_the_image_at_the_size_of_the_layout():
    layout = 0.2 + 0.1 * RNG.random((60, 72, 3), np.float32)
    guess = prepared("structure", 0.25 + NOISE / 2, layout=layout)["guess"]
    assert guess.shape == layout.shape
    np.testing.assert_allclose(guess.mean((0, 1)), (0.25 + NOISE / 2).mean((0, 1)), atol=1e-2)
    np.testing.assert_allclose(guess.std((0, 1)), (NOISE / 2).std((0, 1)), rtol=0.05)
    flat = [np.corrcoef(g.ravel(), x.ravel())[0, 1] for g, x in zip(guess.T, layout.T)]
    assert min(flat) > 0.999


def test_edit_starts_from_the_edited_image_and_keeps_what_is_white():
    edited = np.roll(NOISE, 5, axis=1)
    inputs = prepared("edit", NOISE, layout=edited, mask=mask_of(NOISE.shape, slice(9), slice(9)))
    np.testing.assert_array_equal(inputs["guess"], edited)
    assert inputs["fixed"].sum() == 48 * 56 - 81
    assert "fixed" not in prepared("edit", NOISE, layout=edited)


def test_grey_images_take_layouts_of_equal_channels():
    grey = NOISE[..., :1]
    layout = np.repeat(np.roll(grey, 3, axis=0), 3, axis=-1)
    np.testing.assert_allclose(
        prepared("edit", grey, layout=layout)["guess"], layout[..., :1], atol=1e-6
    )


def test_collage_puts_images_side_by_side_and_separates_them_in_the_source():
    parts = [np.full((48, 40, 3), 0.2, np.float32), np.full((96, 120, 3), 0.8, np.float32)]
    inputs = prepared("collage", parts)
    height, width = inputs["guess"].shape[:2]
    assert (height, width) == (72, 112)  # 0.75 of 60 + 90
    np.testing.assert_allclose(inputs["guess"][:, :30], 0.2, atol=0.02)
    np.testing.assert_allclose(inputs["guess"][:, -50:], 0.8, atol=0.02)
    columns = inputs["allowed"].all(axis=0)
    gap = np.flatnonzero(~columns)
    assert gap[0] == 60
    assert gap[-1] + 1 + 90 == len(columns)
    assert len(gap) >= 72 / 24
    np.testing.assert_allclose(inputs["image"][:, gap], 0.2, atol=1e-6)


def test_four_images_of_a_collage_form_two_rows():
    parts = [np.full((40, 40, 1), v, np.float32) for v in (0.1, 0.3, 0.5, 0.7)]
    guess = prepared("collage", parts)["guess"]
    h, w = guess.shape[:2]
    corners = guess[[3, 3, h - 4, h - 4], [3, w - 4, 3, w - 4], 0]
    np.testing.assert_allclose(corners, [0.1, 0.3, 0.5, 0.7], atol=0.02)


def test_parts_of_the_source_that_may_not_be_used_do_not_vote():
    guess, source = RNG.random((2, 14, 14, 1), np.float32)
    allowed = np.arange(14) < 9
    source[:, ~allowed] = 5.0
    size, options = jnp.asarray([14, 14]), {"patch": 5, "alpha": 0.0, "both": True}
    allowed = jnp.broadcast_to(allowed, (14, 14))
    found = coarse.matched(guess, size, source, size, allowed=allowed, **options)
    assert (np.asarray(found.back)[:, :5] >= 0).all()
    assert (np.asarray(found.back)[:, 5:] == -1).all()
    made = voted_by_both(found.place, found.back, source, patch=5)
    assert made.max() <= 1


WHITE, BLACK = np.ones((48, 56), np.float32), np.zeros((48, 56), np.float32)
NARROW = mask_of(NOISE.shape, slice(3, None), slice(None))
REFUSED = {
    "no hole": ("inpaint", NOISE, {"mask": WHITE}, "config.mask: nothing is missing"),
    "nothing known": ("inpaint", NOISE, {"mask": BLACK}, "config.mask: nothing is known"),
    "no source": ("inpaint", NOISE, {"mask": NARROW}, "config.mask: .* no whole patch of 7x7"),
    "no black pixels": ("inpaint", NOISE + 0.1, {}, "config.task=inpaint: nothing is missing"),
    "size of mask": ("inpaint", NOISE, {"mask": WHITE[:-1]}, "config.mask: is 47x56"),
    "no edit": ("edit", NOISE, {"layout": NOISE}, "config.layout: is the image itself"),
    "missing edit": ("edit", NOISE, {}, "config.layout: must be given"),
    "size of edit": ("edit", NOISE, {"layout": NOISE[1:]}, "config.layout: is 47x56"),
    "all stays": (
        "edit",
        NOISE,
        {"layout": 1 - NOISE, "mask": WHITE},
        "config.mask: is white every",
    ),
    "equal images": ("structure", NOISE, {"layout": NOISE}, "config.layout: is the image itself"),
    "single colour": ("structure", NOISE, {"layout": 0 * NOISE + 0.5}, "has a single colour"),
    "equal sources": ("collage", [NOISE, NOISE], {}, "config.input: all images are equal"),
}


@pytest.mark.parametrize(("task", "image", "sides", "said"), REFUSED.values(), ids=list(REFUSED))
def test_impossible_input_is_refused_in_one_line(task, image, sides, said):
    with pytest.raises(InputError, match=said) as caught:
        prepared(task, image, **sides)
    assert "\n" not in str(caught.value)


def test_layout_may_have_another_size_than_the_image():
    config = RECIPE.build("structure", layout="given")
    source = from_memory(NOISE, RECIPE.grouping(config))
    layout = Side(NOISE[:40])
    assert joined(RECIPE, config, source, {"layout": layout}, {})[1]["layout"].shape == (40, 56, 3)


@pytest.mark.parametrize("task", ["edit", "inpaint", "structure", "collage"])
def test_examples_can_be_prepared(task):
    config = RECIPE.build(task)
    photo = RNG.random((512, 512, 3), np.float32)
    example = RECIPE.example(config, photo)
    inputs = RECIPE.prepare(config, example.image, **example.sides)
    assert max(inputs["guess"].shape[:2]) <= 320
