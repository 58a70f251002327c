"""Transparency and masks on their way to a method: what it sees, what it fills in, what is scored."""

import dataclasses
import json

import numpy as np
import pytest
import skimage.metrics
from PIL import Image

from deepinternal import in_memory
from deepinternal.methods import find, registry
from deepinternal.recipe import Grouping
from deepinternal.runs import jobs, opening, settings, sources
from deepinternal.runs.inputs import Job
from deepinternal.task import read
from deepinternal.types import InputError
from tests import tiny_sets

COLOUR = np.array([200, 100, 50], np.uint8)
Y, X = np.mgrid[:24, :32]
SHAPE = np.hypot(Y - 11, X - 15) < 9
FILLS = dataclasses.replace(tiny_sets.RECIPE, name="tiny_fills", holes=lambda config: "mask")


def sticker(inside=SHAPE):
    """A shape of one colour; what is transparent is black."""
    image = np.zeros((*inside.shape, 4), np.uint8)
    image[inside] = (*COLOUR, 255)
    return image


@pytest.fixture(autouse=True)
def _recipes(monkeypatch):
    monkeypatch.setitem(registry._registered, "tiny_sets", tiny_sets.RECIPE)
    monkeypatch.setitem(registry._registered, "tiny_fills", FILLS)


@pytest.fixture
def run(tmp_path):
    """Runs a tiny method on files; returns the result and the metrics of the image 'a'."""

    def start(recipe, image, **fields):
        Image.fromarray(image).save(tmp_path / "a.png")
        config = settings.to_config_dict(recipe)
        config.update({"input": str(tmp_path / "a.png"), "progress": False, **fields})
        status = jobs.run_all(recipe, *settings.split(recipe, config), str(tmp_path / "out"))
        assert status == 0
        metrics = json.loads((tmp_path / "out/a/metrics.json").read_text())
        return np.asarray(Image.open(tmp_path / "out/a/result.png")), metrics

    return start


@pytest.mark.parametrize("kind", ["single", "together", "video"])
def test_a_method_sees_no_invisible_colours(tmp_path, kind):
    """Neither of files nor of arrays."""
    number, paths = 1 if kind == "single" else 3, []
    for i in range(number):
        Image.fromarray(sticker()).save(tmp_path / f"{i}.png")
        paths.append(tmp_path / f"{i}.png")
    job = Job("a", paths[0], tuple(paths) if number > 1 else ())
    arrays = sticker() if kind == "single" else [sticker()] * number
    arrays = np.stack(arrays) if kind == "video" else arrays
    for source in (
        sources.read_source(job, Grouping(kind)),
        sources.from_memory(arrays, Grouping(kind)),
    ):
        given = np.asarray(source.given, np.float32) / (255 if kind == "video" else 1)
        np.testing.assert_allclose(given, np.broadcast_to(COLOUR / 255, given.shape), atol=1e-5)
        if kind != "video":
            np.testing.assert_array_equal(source.images[-1].alpha, SHAPE)


def test_a_side_input_has_no_invisible_colours():
    image = np.zeros_like(sticker()[..., :3])
    made = in_memory.run("tiny_sets", image, group="single", flash=sticker(), steps=1)
    np.testing.assert_array_equal(made["flash"], np.broadcast_to(COLOUR, image.shape))


def test_an_invisible_image_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"^image: every pixel is transparent"):
        in_memory.run("tiny_sets", 0 * sticker(), group="single")
    Image.fromarray(0 * sticker()).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: every pixel is transparent"):
        sources.read_source(Job("a", tmp_path / "a.png"), Grouping())


def test_transparent_pixels_are_filled_in(run, tmp_path):
    """Without a mask: alpha from 0.5 on is known, and the result is opaque."""
    image = sticker(~SHAPE)
    image[22, :, 3], image[23, :, 3] = 128, 127
    result, metrics = run(FILLS, image)
    assert (result[..., 3] == 255).all()
    known = ~SHAPE & (Y != 23)
    np.testing.assert_array_equal(result[known, :3], np.broadcast_to(COLOUR, (known.sum(), 3)))
    assert (result[~known, :3] == 128).all()  # the tiny method moves only what is known
    count = np.count_nonzero(~known)
    said = f"the {count} pixels with an alpha below 0.5 are filled in, and the result is opaque"
    assert metrics["remarks"] == [said]
    before = np.asarray(Image.open(tmp_path / "out/a/baseline.png"))
    np.testing.assert_array_equal(before[..., 3], image[..., 3])
    np.testing.assert_array_equal(in_memory.run("tiny_fills", image)["result"], result)


def test_what_a_mask_has_filled_in_is_opaque(run, tmp_path):
    image, known = sticker(), (X < 15) | (X > 19)
    Image.fromarray(known).save(tmp_path / "known.png")
    result, metrics = run(FILLS, image, mask=str(tmp_path / "known.png"))
    np.testing.assert_array_equal(result[..., 3], np.where(SHAPE | ~known, 255, 0))
    assert "remarks" not in metrics
    np.testing.assert_array_equal(in_memory.run("tiny_fills", image, mask=known)["result"], result)


def test_images_without_transparent_pixels_are_unchanged(run):
    image = sticker(SHAPE | True)
    image[5, 5, 3] = 130
    result, metrics = run(FILLS, image)
    np.testing.assert_array_equal(result, image)
    assert "remarks" not in metrics


def test_an_image_without_known_pixels_is_refused():
    image = sticker()
    image[..., 3] //= 3
    with pytest.raises(
        InputError, match=r"^image: every pixel has an alpha below 0.5.*config.mask"
    ):
        in_memory.run("tiny_fills", image)


@pytest.mark.parametrize("task", ["inpaint", "restore", "denoise", "sr", "flash"])
def test_dip_fills_holes_only_where_it_inpaints(task):
    recipe = find("dip")
    field = recipe.holes(recipe.build(task))
    assert field == ("mask" if task in ("inpaint", "restore") else "")


def test_results_are_scored_as_seen_on_white(run, tmp_path):
    """Whatever colours are stored under the transparency of the result and of the truth."""
    rng, image, truth = np.random.default_rng(0), sticker(), sticker()
    truth[..., 3] = np.where(X < 15, truth[..., 3] // 2, truth[..., 3])
    truth[~SHAPE, :3] = rng.integers(0, 256, (np.count_nonzero(~SHAPE), 3))
    Image.fromarray(truth).save(tmp_path / "truth.png")
    result, metrics = run(tiny_sets.RECIPE, image, ground_truth=str(tmp_path / "truth.png"))
    on_white = lambda x: x[..., :3] / 255 * (x[..., 3:] / 255) + 1 - x[..., 3:] / 255
    wanted = skimage.metrics.peak_signal_noise_ratio(
        on_white(truth), on_white(result), data_range=1
    )
    np.testing.assert_allclose(metrics["psnr_rgb"], wanted, atol=1e-3)
    flat = np.where(SHAPE[..., None], COLOUR, 255).astype(np.uint8)  # without alpha
    flat[11, 15, 0] += 1
    Image.fromarray(flat).save(tmp_path / "truth.png")
    _, metrics = run(tiny_sets.RECIPE, image, ground_truth=str(tmp_path / "truth.png"))
    assert metrics["psnr_rgb"] > 70


def prepared(tmp_path, method, **fields):
    """The inputs that a method makes from a photograph of 48x64 pixels and masks."""
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(np.kron(image, np.ones((2, 2, 1), np.uint8))).save(tmp_path / "a.png")
    recipe = find(method)
    config = recipe.build(**fields)
    source, sides, _ = opening.read(recipe, config, Job("a", tmp_path / "a.png"))
    return recipe.prepare(config, source.given, **sides)


def test_a_field_chooses_among_labels(tmp_path):
    """One file of labels gives the object and the background of a segmentation."""
    labels = np.kron(np.where(SHAPE, 1, np.where(X > 28, 2, 0)), np.ones((2, 2))).astype(np.uint8)
    image = Image.fromarray(labels, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    path = tmp_path / "labels.png"
    image.save(path)
    files = {"foreground": str(path), "background": str(path)}
    for label, wanted in (("1", labels == 1), (2, labels == 2), ("any", labels > 0)):
        fields = {**files, "label": label, "background_label": 0}
        inputs = prepared(tmp_path, "segmentation", **fields)
        np.testing.assert_array_equal(inputs["foreground"][..., 0], wanted)
        np.testing.assert_array_equal(inputs["background"][..., 0], labels == 0)
    with pytest.raises(InputError, match=r"overlap in .* pixels.*config\.background_label=0 takes"):
        prepared(tmp_path, "segmentation", **files)
    with pytest.raises(InputError, match=r"labels\.png: config\.background_label=5: no pixel"):
        prepared(tmp_path, "segmentation", **files, background_label=5)
    inputs = prepared(tmp_path, "watermark", mask=str(path), label=2)
    np.testing.assert_array_equal(inputs["region"][..., 0], labels == 2)
    inputs = prepared(tmp_path, "dip", task="inpaint", mask=str(path), label=0)
    np.testing.assert_array_equal(inputs["mask"][..., 0], labels == 0)


def test_changes_of_a_mask_are_reported(tmp_path, run):
    Image.fromarray(np.kron(SHAPE, np.ones((2, 2), bool))).convert("L").save(tmp_path / "m.jpg")
    image = sticker(np.ones((48, 64), bool))
    _, metrics = run(FILLS, image, mask=str(tmp_path / "m.jpg"))
    assert len(metrics["remarks"]) == 1
    assert "m.jpg: its grey levels, altered by compression, are set" in metrics["remarks"][0]


def test_masks_of_labels_in_memory():
    image = np.full((24, 32, 3), 0.5, np.float32)
    labels = np.where(SHAPE, 2, 1 * (X > 28))  # int64

    def known(mask, **fields):
        recipe = find("dip")
        config = recipe.build("inpaint", **fields)
        return read(recipe, config, image, {"mask": mask}, {}).inputs()["mask"][..., 0]

    np.testing.assert_array_equal(known((labels == 0).astype(np.uint8)), labels == 0)
    np.testing.assert_array_equal(known(labels == 0), labels == 0)
    np.testing.assert_array_equal(known(labels, label=2), labels == 2)
    with pytest.raises(InputError, match=r"^mask: has the values 0, 7, which may be"):
        known(SHAPE * 7)
