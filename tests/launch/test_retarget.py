"""A trained InGAN from its work folder, as users call for it."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from deepinternal import retargeter
from deepinternal.codecs.image_io import read_image
from deepinternal.types import InputError
from deepinternal.writers import read_jsonl
from tests.launch.conftest import picture, save

pytestmark = pytest.mark.slow  # most of them need a trained net


@pytest.fixture(scope="module")
def folder(launcher, tmp_path_factory):
    """The work folder of a few steps on two photographs of 48x56, with snapshots and pictures."""
    place = tmp_path_factory.mktemp("retarget")
    (place / "in").mkdir()
    for name, shift in (("a", 0), ("b", 8)):
        save(place / "in" / f"{name}.png", picture(56, 56)[shift:][:48])
    flags = ["--config=configs/ingan.py:smoke", f"--workdir={place / 'out'}"]
    fields = [
        "train_steps=4",
        "blocks=0",
        "samples=0.5,1",
        "snapshot_every=2",
        "picture_every=2",
        "checkpoint_every=1000",
    ]
    fields += ["log_every=1", f"input={place / 'in'}"]
    fields += ["parallel.compiler_options=xla_backend_optimization_level=1"]  # as for users
    status, printed = launcher.run(*flags, *(f"--config.{field}" for field in fields), seconds=400)
    assert status == 0, printed
    return place / "out"


@pytest.fixture
def retarget(launcher, folder, tmp_path):
    """Runs the command; returns exit status and what it printed."""

    def run(*flags, workdir=folder, out="made.png", stem="a"):
        common = [f"--workdir={workdir}", f"--out={tmp_path / out}"]
        common += [f"--stem={stem}"] if stem else []
        return launcher.run(*common, *flags, module="launch.retarget")

    return run


def _refused(done, *words):
    status, printed = done
    assert status == 2, printed
    assert len(printed.splitlines()) == 1
    for word in words:
        assert word in printed


def test_samples_are_images_of_their_own(folder):
    assert read_image(folder / "a/result.png").pixels.shape == (48, 112, 3)
    assert read_image(folder / "a/samples/0.5x1.png").pixels.shape == (24, 56, 3)


def test_snapshots_pictures_and_a_log_that_tells_of_compiling(folder):
    assert {p.name for p in (folder / "a/checkpoints").iterdir()} >= {"2", "4"}
    for name in ("result", "cycle"):
        for step in (2, 4):
            made = read_image(folder / f"a/progress/{name}-{step:06d}.png").pixels
            assert made.shape == ((48, 112, 3) if name == "result" else (48, 56, 3))
    first, second = (read_jsonl(folder / name / "train.jsonl") for name in "ab")
    assert first[-1]["programs"] == 4  # the beginning, a step, an evaluation, whether it is done
    assert first[-1]["compile_seconds"] == first[2]["compile_seconds"] > 0  # none after those
    assert (second[-1]["programs"], second[-1]["compile_seconds"]) == (0, 0)  # nor for b


def test_sizes_steps_and_other_images(retarget, tmp_path):
    status, printed = retarget("--size=31,57", "--scale=1,1.5")
    assert status == 0, printed
    assert read_image(tmp_path / "made-31x57.png").pixels.shape == (31, 57, 3)
    newest = read_image(tmp_path / "made-48x84.png").pixels
    assert retarget("--scale=1,1.5", "--step=2")[0] == 0
    assert np.any(read_image(tmp_path / "made.png").pixels != newest)
    other = save(tmp_path / "other.png", picture(64, 64))
    assert retarget("--size=48,84", f"--input={other}", out="other-made.png")[0] == 0
    assert read_image(tmp_path / "other-made.png").pixels.shape == (48, 84, 3)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(retarget, folder, tmp_path):
    assert retarget("--scale=1,1.5", "--step=2", out="before.png")[0] == 0
    shutil.copytree(folder, tmp_path / "out")
    for file in (tmp_path / "out/a/checkpoints/4").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    status, printed = retarget("--scale=1,1.5", workdir=tmp_path / "out")
    assert status == 0, printed
    assert "checkpoint 4 is damaged" in printed
    made, before = (Image.open(tmp_path / n).tobytes() for n in ("made.png", "before.png"))
    assert made == before
    status, printed = retarget("--scale=1,1.5", "--step=4", workdir=tmp_path / "out")
    assert status == 2
    assert printed.splitlines()[-1].endswith("there are 2, 4")


def test_mistakes_are_one_line(retarget, tmp_path):
    _refused(retarget("--size=40,40", stem="c"), "--stem=c", "a, b")
    _refused(retarget("--size=wide"), "--size=wide", "224,544")
    _refused(retarget("--size=40,40", "--collage"), "give --size or --scale, or one of")
    _refused(retarget("--size=40,40", out="made.jpg"), "ends in .png")
    _refused(retarget("--video=spin", out="made.mp4"), "spin", "grow_shrink")
    grey = save(tmp_path / "grey.png", picture(64, 64)[..., 0])
    _refused(retarget("--size=40,40", f"--input={grey}"), "grey.png", "1 channels")


def test_an_image_alone_is_retargeted_by_its_patches(launcher, tmp_path):
    save(tmp_path / "a.png", picture(48, 56))

    def run(*flags, out="made.png"):
        common = [f"--input={tmp_path / 'a.png'}", f"--out={tmp_path / out}", "--preset=smoke"]
        return launcher.run(*common, *flags, module="launch.retarget")

    status, printed = run("--size=48,64", "--scale=1,1.25")
    assert status == 0, printed
    for size in ((48, 64), (48, 70)):
        name = "made-{}x{}.png".format(*size)
        assert read_image(tmp_path / name).pixels.shape == (*size, 3)
    _refused(run("--nonrect"), "--nonrect: needs --workdir")
    _refused(run("--stem=a", "--size=48,64"), "--stem: needs --workdir")
    _refused(run("--size=4,64"), "4x64")
    _refused(run("--video=trapezoids", out="made.mp4"), "not rectangular", "--workdir")
    _refused(run("--scale=9"), "scale=9: must be vertical,horizontal factors")
    flags = ["--input=", "--scale=2", f"--out={tmp_path / 'made.png'}"]
    _refused(launcher.run(*flags, module="launch.retarget"), "give --input=FILE")


def _config(folder, **fields):
    """Changes the config that a work folder was made with; None leaves a field out."""
    saved = json.loads((folder / "config.json").read_text())
    for name, value in fields.items():
        saved["config"].pop(name) if value is None else saved["config"].update({name: value})
    (folder / "config.json").write_text(json.dumps(saved))


def test_folders_without_a_trained_net_are_refused(folder, tmp_path):
    def refused(words, workdir=folder, stem="", **options):
        with pytest.raises(InputError, match=words):
            retargeter.load(str(workdir), stem, **options)

    (tmp_path / "empty").mkdir()
    refused("holds no results of a run", tmp_path / "empty")
    refused("holds a, b: pick one with --stem")
    refused("--step=3: .* there are 2, 4", stem="a", step=3)
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "a/metrics.json").unlink()
    refused("has not ended", other, "a")
    for name in "ab":
        shutil.rmtree(other / name / "checkpoints")
    refused("no checkpoint", other)
    _config(other, method="dip")
    refused("was made by 'dip'", other)


def test_folders_of_earlier_versions_are_read(folder, tmp_path):
    old = shutil.copytree(folder, tmp_path / "old")
    _config(old, noise=1 / 255, noise_std=None, steps=4, train_steps=75000, required="")
    now, before = (retargeter.load(str(place), "a") for place in (folder, old))
    assert before.config.noise_std == now.config.noise_std
    for a, b in zip(*(jax.tree.leaves(x.weights) for x in (now, before)), strict=True):
        np.testing.assert_array_equal(a, b)
