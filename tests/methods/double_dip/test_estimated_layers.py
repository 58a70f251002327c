"""Layers of one image that are found without nets, through the method."""

import numpy as np
import pytest
import scipy.ndimage
import skimage.data

from deepinternal import methods
from deepinternal.ops.mixtures import balanced
from tests.methods.double_dip.shared import fitted, photograph, prepared


def _behind_a_window(side=96):
    photo = photograph(0, 0, side=side)
    soft = scipy.ndimage.gaussian_filter(photograph(100, 100, side=side), (3, 3, 0))
    return np.float32(np.clip(photo + 0.4 * soft, 0, 1)), photo


def _tiles(side=96):
    rng, made = np.random.default_rng(0), []
    for period in (18, 23):
        tile = scipy.ndimage.gaussian_filter(
            rng.uniform(size=(period, period, 3)), (1, 1, 0), mode="wrap"
        )
        tile = (tile - tile.min()) / np.ptp(tile) / 2
        count = -(-side // period)
        made.append(np.float32(np.tile(tile, (count, count, 1))[:side, :side]))
    return made


def _sum_is(out, image):
    np.testing.assert_allclose(out["layer1"] + out["layer2"], image, atol=1e-6)
    for name in ("layer1", "layer2"):
        assert (out[name] >= 0).all()
        assert (out[name] <= 1).all()
    np.testing.assert_array_equal(out["result"], out["layer1"])


def test_a_reflection_is_weakened():
    image, truth = _behind_a_window()
    out = fitted("transparency", image, "reflection")
    _sum_is(out, image)
    error = lambda x: np.mean((x - truth) ** 2)
    assert error(out["result"]) < 0.8 * error(image)


def test_strength_scales_what_is_removed():
    image, _ = _behind_a_window()
    whole, half, none = (
        fitted("transparency", image, "reflection", strength=s)["layer2"] for s in (1.0, 0.5, 0.0)
    )
    np.testing.assert_allclose(half, whole / 2, atol=1e-6)
    np.testing.assert_array_equal(none, 0)


def test_a_large_photograph_is_measured_at_a_reduced_size():
    """A photograph with doubled pixels is reduced to the original one."""
    small = np.float32(skimage.data.astronaut()[:260, :260] / 255)
    large = np.kron(small, np.ones((2, 2, 1), np.float32))
    recipe = methods.find("transparency")
    config = recipe.build("reflection")
    expected, made = (recipe.prepare(config, x) for x in (small, large))
    np.testing.assert_allclose(made["second"][::2, ::2], expected["second"], atol=0.1)
    np.testing.assert_allclose(made["light"], expected["light"], rtol=1e-3)
    assert (made["second"] <= large).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_remarks_of_reflections(channels):
    recipe = methods.find("transparency")
    config = recipe.build("reflection")
    image = _behind_a_window()[0][:, :, :channels]
    (said,) = recipe.remarks(config, recipe.prepare(config, image), None)
    assert "of the light and" in said
    assert "config.strength" in said
    black = np.zeros((40, 40, channels), np.float32)
    (said,) = recipe.remarks(config, recipe.prepare(config, black), None)
    assert "close to the input" in said


def test_two_regular_patterns_need_no_nets():
    first, second = _tiles()
    image = first + second
    recipe = methods.find("transparency")
    config = recipe.build("single,fast").resolved()
    inputs = recipe.prepare(config, image)
    assert "two regular patterns" in recipe.remarks(config, inputs, None)[0]
    out = fitted("transparency", image, "single,fast")
    _sum_is(out, image)
    correlate = lambda a, b: np.corrcoef(np.ravel(a - a.mean((0, 1))), np.ravel(b - b.mean((0, 1))))
    table = np.array(
        [[correlate(out[n], t)[0, 1] for t in (first, second)] for n in ("layer1", "layer2")]
    )
    table = table if table[0, 0] > table[0, 1] else table[::-1]
    assert table.diagonal().min() > 0.85


def test_nets_are_trained_without_regular_patterns():
    method, inputs = prepared("transparency", photograph(side=64), "single,fast")
    assert "second" not in inputs
    assert method.stages[0].steps == 1500
    _, inputs = prepared("transparency", np.float32(sum(_tiles())), "single")
    assert "second" not in inputs, "the published settings search for no patterns"


def test_balanced_layers_add_up_and_change_the_image_least():
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0, 0.6, (24, 30, 3)), rng.uniform(0, 0.3, (24, 30, 3))
    image = np.float32(first + second)
    offset = np.array([0.2, -0.1, 0.1])
    for pair in ((first - offset, second + offset), (second + offset, first - offset)):
        a, b = (np.asarray(x) for x in balanced(*map(np.float32, pair), image))
        np.testing.assert_allclose(a + b, image, atol=1e-6)
        expected = np.maximum(second - np.percentile(second, 1, axis=(0, 1)), 0)
        np.testing.assert_allclose(b, expected, atol=1e-3)
        assert a.min() >= 0
        assert b.min() >= 0


def test_a_still_background_is_found_in_several_frames():
    """A reflection that moves by 9 pixels from frame to frame, much nearer than by one frame."""
    still, moving = photograph(side=64), photograph(100, 100, side=64)
    soft = 0.4 * scipy.ndimage.gaussian_filter(moving, (2, 2, 0))
    frames = [np.float32(0.6 * still + np.roll(soft, 9 * n, axis=1)) for n in range(7)]
    out = fitted("transparency", frames, "frames")
    _sum_is(out, frames[0])
    spread = lambda x: np.std((x - 0.6 * still) - (x - 0.6 * still).mean((0, 1)))
    assert spread(out["result"]) < 0.4 * spread(frames[0])
