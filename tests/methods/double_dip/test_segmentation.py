"""Segmentation of images and videos: its masks, and the hints that it accepts and refuses."""

import jax
import numpy as np
import pytest

from deepinternal.methods.double_dip import hints, segmentation
from tests.methods.double_dip.shared import TINY, fitted, photograph, prepared, refused, white_rows


def _composite(side=32):
    """A striped disc on a dotted ground, hints of 5 % of the pixels each, and the truth."""
    y, x = np.mgrid[:side, :side]
    truth = np.hypot(y - side / 2, x - side / 2) < side / 3
    fore = np.where((x // 2 % 2)[..., None], [0.8, 0.3, 0.2], [0.6, 0.5, 0.1])
    back = np.where(((x // 3 + y // 3) % 2)[..., None], [0.2, 0.3, 0.7], [0.1, 0.5, 0.5])
    image = np.where(truth[..., None], fore, back).astype(np.float32)
    foreground = (np.abs(y - side // 2) < 3) & (np.abs(x - side // 2) < 5)
    return image, foreground, (y < 2) | (x < 1), truth


def _iou(mask, truth):
    mask = mask > 0.5
    return (mask & truth).sum() / (mask | truth).sum()


@pytest.mark.slow
def test_segmentation_finds_the_disc():
    image, foreground, background, truth = _composite()
    sides = {"foreground": foreground, "background": background}
    options = {"hint_steps": 40, "fit_steps": 40, "channels": "8", "skip": "0"}
    out = fitted("segmentation", image, "fast", sides, **options)
    assert _iou(out["mask"], truth) > 0.9
    np.testing.assert_array_equal(out["result"], image * out["mask"][..., None])
    assert out["foreground"].shape == out["background"].shape == image.shape


def test_the_edge_of_an_enlarged_mask_stays_where_it_was():
    """In a flat image, a straight edge keeps its place, whatever the size and the radius are."""
    mask, full = np.zeros((40, 40, 1), np.float32), np.full((80, 80, 3), 0.5, np.float32)
    mask[:, :20] = 1
    cut = jax.jit(segmentation.cut, static_argnums=0)
    for edges in (2, 5):
        config = segmentation.RECIPE.build(edges=edges)
        refined = cut(config, mask, full)
        np.testing.assert_array_equal(refined, np.repeat(np.repeat(mask[..., 0], 2, 0), 2, 1))


@pytest.mark.slow
def test_segmentation_of_a_video_with_hints_of_the_first_frame():
    image, foreground, background, truth = _composite()
    video = np.stack([np.roll(image, shift, axis=1) for shift in (0, 2, 4)])
    video = np.round(255 * video).astype(np.uint8)
    truths = [np.roll(truth, shift, axis=1) for shift in (0, 2, 4)]
    options = {"hint_steps": 60, "fit_steps": 20, "channels": "8", "skip": "4", "batch": 3}
    sides = {"foreground": foreground[None], "background": background[None]}
    out = fitted("video_segmentation", video, "fast", sides, **options)
    assert out["mask"].shape == (3, 32, 32)
    assert min(_iou(m, t) for m, t in zip(out["mask"], truths)) > 0.8
    assert out["result"].shape == video.shape


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        (
            {"foreground": white_rows((16, 16)), "background": white_rows()},
            "config.foreground: is 16x16",
        ),
        (
            {"foreground": 0 * white_rows(), "background": white_rows()},
            "config.foreground: nothing is white",
        ),
        (
            {"foreground": white_rows(), "background": 1 + 0 * white_rows()},
            "config.background: everything is white",
        ),
        ({"foreground": white_rows(), "background": white_rows()}, "overlap in 160 pixels"),
        ({"foreground": white_rows()}, "config.background: give this hint as well"),
    ],
)
def test_hints_that_are_refused(sides, message):
    assert message in refused("segmentation", photograph(), sides=sides)
    masks = {name: mask[None] for name, mask in sides.items()}
    video = np.zeros((3, 32, 32, 3), np.uint8)
    assert message in refused("video_segmentation", video, sides=masks)


def test_hints_that_are_one_pixel_of_the_reduced_image_are_refused():
    image, hints = np.zeros((32, 600, 3), np.float32), np.zeros((2, 32, 600), np.float32)
    hints[0, 9, 300] = hints[1, 10, 301] = 1
    text = refused("segmentation", image, "fast", {"foreground": hints[0], "background": hints[1]})
    assert "config.background: the image is reduced to 11x200" in text


def test_hints_of_frames_that_are_refused():
    video = np.zeros((3, 32, 32, 3), np.uint8)
    top, bottom = np.stack([white_rows()] * 2), np.stack([white_rows(rows=slice(20, 30))] * 2)
    text = refused("video_segmentation", video, sides={"foreground": top, "background": bottom[:1]})
    assert "config.foreground has 2 masks and config.background 1" in text
    bottom[1] = top[1]
    text = refused("video_segmentation", video, sides={"foreground": top, "background": bottom})
    assert "overlap in frame 1" in text


def test_automatic_hints_and_files_exclude_each_other():
    sides = {"foreground": white_rows(), "background": white_rows(rows=slice(20, 30))}
    text = refused("segmentation", photograph(), sides=sides, hints="auto")
    assert "config.hints=auto and config.foreground" in text


def test_a_reduced_hint_keeps_the_pixels_of_which_at_least_half_is_hinted():
    """Compared with the mean of each cell; a hint that is too thin for this rule is kept."""
    hint = np.random.default_rng(0).random((10, 14)) < 0.5
    shares = hint.reshape(5, 2, 7, 2).mean((1, 3))
    assert (shares == 0.5).any()
    np.testing.assert_array_equal(hints.fitted(hint, (5, 7)), shares >= 0.5)
    thin = np.zeros((10, 14), bool)
    thin[4, 7] = True
    assert np.argwhere(hints.fitted(thin, (5, 7))).tolist() == [[2, 3]]


def test_videos_have_the_frame_rate_of_the_config():
    video = np.stack([_composite()[0]] * 2)
    sides = {"foreground": _composite()[1][None], "background": _composite()[2][None]}
    method, inputs = prepared(
        "video_segmentation", np.uint8(255 * video), sides=sides, frame_rate=12, **TINY
    )
    outputs = jax.eval_shape(lambda i: method.outputs(method.init(jax.random.key(0), i), i), inputs)
    assert {output.frame_rate for output in outputs.values()} == {12.0}
    assert {output.kind for output in outputs.values()} == {"frames"}
