"""Files that form pairs, and the figures of whole runs."""

import json

import numpy as np
import pytest
import skimage.data
import skimage.metrics

from benchmarks import quality
from deepinternal.codecs import image_io
from deepinternal.types import InputError

TINY = "tests.benchmarks.tiny_recipe:RECIPE"


def touch(folder, *files):
    for name in files:
        (folder / name).write_bytes(b"")


def test_pairs_of_both_kinds(tmp_path):
    touch(tmp_path, "b_LR.png", "b_HR.png", "a.png", "a_gt.tif", "alone.png", "c_LR.png")
    touch(tmp_path, "notes.txt", "d_HR.png", "e_gt.png")
    pairs = quality.find_pairs(tmp_path)
    names = {name: (low.name, high.name) for name, (low, high) in pairs.items()}
    assert names == {"a": ("a.png", "a_gt.tif"), "b": ("b_LR.png", "b_HR.png")}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "X_LR.png"),
        (["a.png", "b_gt.png"], "X_LR.png"),
        (["a.png", "a_gt.png", "a_LR.png", "a_HR.png"], "two pairs"),
        (["a.png", "a.jpg", "a_gt.png"], "one of the two"),
    ],
)
def test_folders_without_clear_pairs_are_refused(tmp_path, files, words):
    touch(tmp_path, *files)
    with pytest.raises(InputError, match=words):
        quality.find_pairs(tmp_path)


def test_links_are_those_of_the_data_and_old_ones_go(tmp_path):
    data, links = tmp_path / "data", tmp_path / "links"
    data.mkdir()
    touch(data, "a.png", "a_gt.png")
    (data / "b_LR.png").write_bytes(b"low")
    (data / "b_HR.png").write_bytes(b"high")
    quality.link_pairs(quality.find_pairs(data), links)
    (data / "a.png").unlink()
    quality.link_pairs(quality.find_pairs(data), links)
    found = {p.name: p.read_bytes() for p in links.iterdir()}
    assert found == {"b.png": b"low", "b_gt.png": b"high"}
    assert sorted(p.name for p in data.iterdir()) == ["a_gt.png", "b_HR.png", "b_LR.png"]


def test_runs_are_scored_and_not_repeated(tmp_path):
    data, workdir = tmp_path / "data", tmp_path / "work"
    data.mkdir()
    for i, name in enumerate(("one", "two")):
        truth = skimage.data.astronaut()[60 * i :][:32, 180:212].astype(np.float32) / 255
        image_io.write_image(data / f"{name}_HR.png", truth)
        image_io.write_image(data / f"{name}_LR.png", np.clip(truth + 0.1, 0, 1))
    fields = {"train_steps": "4", "progress": "false"}
    (result,) = quality.measure(str(data), [f"{TINY}:short"], fields, workdir=str(workdir))
    assert result["status"] == 0
    assert [m["image"] for m in result["images"]] == ["one", "two"]
    assert [m["steps"] for m in result["images"]] == [4, 4]
    folder = workdir / quality.folder_name(f"{TINY}:short", fields)
    column = [m["psnr_y"] for m in result["images"]]
    for name, value in zip(("one", "two"), column, strict=True):
        expected = luma_psnr(folder / name / "result.png", data / f"{name}_HR.png")
        assert value == pytest.approx(expected, abs=2e-3)
    assert result["mean"]["psnr_y"] == pytest.approx(sum(column) / 2)
    text = quality.report(result, fields)
    assert f"| {column[0]:.2f} |" in " ".join(text.split())
    before = json.loads((folder / "summary.json").read_text())
    (again,) = quality.measure(str(data), [f"{TINY}:short"], fields, workdir=workdir)
    assert again["images"] == before["images"]


def luma_psnr(result, truth):
    """By the protocol: 8-bit files, BT.601 luma in 0..255 before rounding."""
    pair = [image_io.read_image(p).pixels.astype(np.float64) for p in (result, truth)]
    luma = [16 + x @ np.array([65.481, 128.553, 24.966]) for x in pair]
    return skimage.metrics.peak_signal_noise_ratio(*luma, data_range=255)
