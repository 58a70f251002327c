"""Each image is read once, when its turn comes; finished images are not read."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
import skimage.metrics
from PIL import Image

from deepinternal import files
from deepinternal.codecs.image_io import read_image
from deepinternal.recipe import Canvas
from deepinternal.runs import jobs, settings
from deepinternal.types import InputError, Output
from tests import tiny_sets

SIZES = {"a": (6, 8), "b": (9, 7), "c": (6, 8)}
FAST = {"train_steps": 3, "rate": 0.5, "progress": False, "log_every": 1}


@pytest.fixture
def source(tmp_path):
    """Images of two sizes."""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for name, size in SIZES.items():
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(
            tmp_path / f"in/{name}.png"
        )
    return tmp_path / "in"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def run(source, out):
    def start(recipe=tiny_sets.RECIPE, **fields):
        config = settings.to_config_dict(recipe)
        config.update({**FAST, "input": str(source), **fields})
        return jobs.run_all(recipe, *settings.split(recipe, config), str(out))

    return start


@pytest.fixture
def opened(monkeypatch):
    """Names of the files that were opened, in order."""
    found, original = [], files.open_file

    def noted(path):
        found.append(os.path.basename(path))
        return original(path)

    monkeypatch.setattr(files, "open_file", noted)
    return found


def read(path):
    return json.loads(path.read_text())


def test_each_image_is_read_and_prepared_once_on_its_turn(run, out, opened):
    turns = []

    def prepare(config, image, **sides):
        turns.append(image.shape[:2])
        return tiny_sets.prepare(config, image, **sides)

    assert run(dataclasses.replace(tiny_sets.RECIPE, prepare=prepare)) == 0
    assert turns == [(6, 8), (6, 8), (9, 7)], "a and c share programs"
    for name in SIZES:  # the header of each, for the groups; then its bytes are hashed, and decoded
        assert opened.count(f"{name}.png") == 3
    assert read(out / "c/metrics.json")["programs"] == 0 < read(out / "b/metrics.json")["programs"]


def test_what_is_finished_is_not_read(run, source, out, opened):
    assert run() == 0
    made = {name: (out / name / "result.png").stat().st_mtime_ns for name in SIZES}
    opened.clear()
    assert run() == 0
    assert [opened.count(f"{name}.png") for name in SIZES] == [1, 1, 1], "headers, for the groups"
    # One that was touched is hashed, once; one that was changed is refused before any training.
    os.utime(source / "a.png", ns=(1, 1))
    opened.clear()
    assert run() == 0
    assert [opened.count(f"{name}.png") for name in SIZES] == [2, 1, 1]
    opened.clear()
    assert run() == 0
    assert opened.count("a.png") == 1
    assert made == {name: (out / name / "result.png").stat().st_mtime_ns for name in SIZES}
    shutil.copy(source / "b.png", source / "0.png")
    shutil.copy(source / "a.png", source / "c.png")
    told = r"c was made from different files \(input\) than .*/c.png; remove .*out/c to make"
    with pytest.raises(ValueError, match=told):
        run()
    assert not (out / "0").exists()
    # Without the folder that the message names, only this image is made again.
    shutil.rmtree(out / "c")
    assert run() == 0
    assert sorted(p.parent.name for p in out.glob("*/result.png")) == ["0", *sorted(SIZES)]
    now = {name: (out / name / "result.png").stat().st_mtime_ns for name in SIZES}
    assert {name for name in SIZES if now[name] != made[name]} == {"c"}


def test_a_finished_image_of_an_older_version_is_recognised(run, out, opened):
    """Its input.json holds hashes only: it is read once more, and not trained again."""
    assert run() == 0
    for name in SIZES:
        noted = read(out / name / "input.json")
        text = json.dumps({"files": noted["files"], "steps": noted["steps"]})
        (out / name / "input.json").write_text(text)
    made = {name: (out / name / "result.png").stat().st_mtime_ns for name in SIZES}
    assert run() == 0
    opened.clear()
    assert run() == 0
    assert [opened.count(f"{name}.png") for name in SIZES] == [1, 1, 1]
    assert made == {name: (out / name / "result.png").stat().st_mtime_ns for name in SIZES}


def test_more_steps_continue_a_finished_run(run, out):
    assert run() == 0
    assert run(train_steps=5) == 0
    assert read(out / "a/metrics.json")["resumed_steps"] == [3]
    assert run(steps=7) == 0
    assert read(out / "a/metrics.json")["steps"] == 7
    with pytest.raises(ValueError, match=r"steps \(7 there, 5 now\)"):
        run(train_steps=5)


def test_inputs_that_fit_no_program_of_their_group_train_afterwards(run, source, out):
    """What a method makes of an image is not known from its header."""

    def prepare(config, image, **sides):
        flash = np.ones((4, 4, 3), np.float32) if image[0, 0, 0] > 0.5 else None
        return tiny_sets.prepare(config, image, flash=flash)

    def pad(config, inputs, canvas):
        room = [(0, c - n) for c, n in zip(canvas, inputs["mask"].shape)]
        image = np.pad(inputs["images"], [(0, 0), *room, (0, 0)])
        return {**inputs, "images": image, "mask": np.pad(inputs["mask"], room)}

    for number in range(4):
        image = np.full((8 + number, 12 - number, 3), 200 * (number % 2), np.uint8)
        Image.fromarray(image).save(source / f"{number}.png")
    for name in SIZES:
        (source / f"{name}.png").unlink()
    canvas = Canvas(lambda config, shape, sides: shape[2], pad)
    recipe = dataclasses.replace(tiny_sets.RECIPE, prepare=prepare, canvas=canvas)
    assert run(recipe) == 0
    for number in range(4):
        metrics = read(out / f"{number}/metrics.json")
        assert (metrics["status"], metrics["steps"]) == ("done", 3)
        assert (out / f"{number}/flash.png").exists() == bool(number % 2)
    programs = [read(out / f"{number}/metrics.json")["programs"] for number in range(4)]
    assert programs[2] == programs[3] == 0 < min(programs[:2]), "two sets of programs in all"


def test_the_written_result_is_scored(run, source, out, tmp_path):
    """Transparency and a ground truth: the figures are those of the file as seen on white."""
    for name in SIZES:
        (source / f"{name}.png").unlink()
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 256, (24, 30, 3), np.uint8)
    noisy = np.clip(truth + rng.normal(0, 20, truth.shape), 0, 255).round().astype(np.uint8)
    Image.fromarray(np.dstack([noisy, noisy[..., 0]])).save(source / "x.png")
    Image.fromarray(truth).save(source / "x_gt.png")
    assert run(rate=0.3) == 0
    metrics = read(out / "x/metrics.json")
    file = read_image(out / "x/result.png")
    alpha = file.alpha[..., None]
    result = file.pixels * alpha + 1 - alpha
    psnr = skimage.metrics.peak_signal_noise_ratio(truth / 255, result, data_range=1)
    assert metrics["psnr_rgb"] == pytest.approx(psnr, abs=1e-3)
    os.utime(source / "x_gt.png", ns=(1, 1))
    Image.fromarray(truth[::-1]).save(source / "x_gt.png")
    assert run(rate=0.3) == 0
    again = read(out / "x/metrics.json")
    psnr = skimage.metrics.peak_signal_noise_ratio(truth[::-1] / 255, result, data_range=1)
    assert again["psnr_rgb"] == pytest.approx(psnr, abs=1e-3)
    assert again["spans"] == metrics["spans"], "it did not train again"


def test_several_images_in_one_output(run, source, out):
    def make(config, spec):
        method = tiny_sets.make(config, spec)

        def outputs(state, inputs):
            made = method.outputs(state, inputs)
            pixels = made["result"].value
            return made | {"samples": Output({"2x1": pixels[::2], "1x2": pixels[:, ::2]}, "images")}

        return dataclasses.replace(method, outputs=outputs)

    recipe = dataclasses.replace(tiny_sets.RECIPE, make=make)
    assert run(recipe, input=str(source / "b.png")) == 0
    metrics = read(out / "b/metrics.json")
    names = ["samples/2x1.png", "samples/1x2.png"]
    assert set(metrics["outputs"]) == {"result.png", *names}
    whole = read_image(out / "b/result.png").pixels
    np.testing.assert_array_equal(read_image(out / "b" / names[0]).pixels, whole[::2])
    np.testing.assert_array_equal(read_image(out / "b" / names[1]).pixels, whole[:, ::2])
    page = (out / "b/report.html").read_text()
    assert all(f'href="{name}"' in page for name in names)


def test_what_is_refused_before_anything_is_read(run, out, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for fields, words in (
        ({"tensorboard": True}, "tensorboard: needs tensorboardX; pip install 'tensorboardX>=2.6'"),
        ({"parallel": {"devices": 99}}, "parallel.devices=99: must be from 0 to "),
        ({"ground_truth": "x", "group": "video"}, "ground_truth: videos are not scored; leave it"),
    ):
        with pytest.raises(InputError, match=f"^config.{words}") as caught:
            run(**fields)
        assert "\n" not in str(caught.value)
    assert not out.exists()
