"""A trained InGAN from its work folder, as users call for it."""

import shutil

import numpy as np
import pytest
from PIL import Image

from deepinternal import retargeter
from deepinternal.codecs.image_io import read_image
from deepinternal.types import InputError
from deepinternal.writers import read_jsonl
from tests.launch.conftest import picture, save


@pytest.fixture(scope="module")
def folder(launcher, tmp_path_factory):
    """The work folder of a few steps on two photographs of 48x56, with snapshots and pictures."""
    place = tmp_path_factory.mktemp("retarget")
    (place / "in").mkdir()
    for name, shift in (("a", 0), ("b", 8)):
        save(place / "in" / f"{name}.png", picture(56, 56)[shift:][:48])
    flags = ["--config=configs/ingan.py:smoke", f"--workdir={place / 'out'}"]
    fields = ["steps=4", "snapshot_every=2", "picture_every=2", "checkpoint_every=1000"]
    fields += ["log_every=1", f"input={place / 'in'}"]
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


def test_mistakes_are_one_line(retarget, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    _refused(retarget("--size=40,40", workdir=tmp_path / "empty"), "holds no trained InGAN")
    _refused(retarget("--size=40,40", stem=""), "holds a, b", "--stem")
    _refused(retarget("--size=40,40", stem="c"), "--stem=c", "a, b")
    _refused(retarget("--size=40,40", "--step=3"), "--step=3", "there are 2, 4")
    _refused(retarget("--size=4,40"), "4x40", "at least 8")
    _refused(retarget("--size=100000,100000"), "too large")
    _refused(retarget("--size=wide"), "--size=wide", "224,544")
    _refused(retarget("--size=40,40", "--collage"), "give --size or --scale, or one of")
    _refused(retarget("--size=40,40", out="made.jpg"), "ends in .png")
    _refused(retarget("--video=spin", out="made.mp4"), "spin", "grow_shrink")
    grey = save(tmp_path / "grey.png", picture(64, 64)[..., 0])
    _refused(retarget("--size=40,40", f"--input={grey}"), "grey.png", "1 channels")
    none = folder.parent / "none"
    shutil.copytree(folder, none, dirs_exist_ok=True)
    for name in "ab":
        shutil.rmtree(none / name / "checkpoints")
    _refused(retarget("--size=40,40", workdir=none), "no checkpoint")


def test_too_little_memory_is_said_before_anything_is_made(folder, monkeypatch):
    trained = retargeter.load(str(folder), "a")
    monkeypatch.setattr(retargeter, "free_memory", lambda device: 1000.0)
    with pytest.raises(InputError, match="GB of memory"):
        trained.make((48, 56))
