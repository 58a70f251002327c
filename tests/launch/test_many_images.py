"""Folders of images of several sizes: lanes, canvases, and what goes wrong with one of them."""

import json

import numpy as np
import pytest
from PIL import Image

from deepinternal.writers import read_jsonl
from tests.launch.conftest import picture, save, tiny_command

SIZES = [(24, 32), (32, 24), (40, 26)]
FIELDS = {"crop": 24, "steps": 6, "ensemble": "on"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i, (height, width) in enumerate(SIZES):
        save(folder / f"{i}.png", np.roll(picture(height, width), 3 * i, axis=1))
    return folder


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_side_by_side_as_one_by_one(train, tmp_path, folder):
    """Two images alone, and all on a common canvas, one after another and two at a time."""
    for i in range(2):
        assert train(folder / f"{i}.png", workdir=tmp_path / f"alone{i}", **FIELDS) == 0
    outs = {"one": {}, "two": {"parallel": {"images_per_device": 2}}}
    for name, fields in outs.items():
        assert train(folder, workdir=tmp_path / name, **FIELDS, **fields) == 0
    for i, (height, width) in enumerate(SIZES):
        names = [f"alone{i}", "one", "two"][i >= 2 :]
        results = [
            np.asarray(Image.open(tmp_path / name / f"{i}/result.png")).astype(int)
            for name in names
        ]
        assert results[0].shape == (2 * height, 2 * width, 3)
        for other in results[1:]:
            assert np.abs(results[0] - other).max() <= 1
        baseline = np.asarray(Image.open(tmp_path / f"two/{i}/baseline.png"))
        assert baseline.shape == results[0].shape
        losses = [
            [e["loss"] for e in read_jsonl(tmp_path / name / f"{i}/train.jsonl")]
            for name in (names[0], "two")
        ]
        np.testing.assert_allclose(*losses, rtol=1e-3)
    metrics = [read(tmp_path / f"two/{i}/metrics.json") for i in range(len(SIZES))]
    assert all(m["images_per_device"] == 2 for m in metrics)
    assert [m["output_shape"] for m in metrics] == [[2 * h, 2 * w, 3] for h, w in SIZES]
    one = [read(tmp_path / f"one/{i}/metrics.json")["programs"] for i in range(len(SIZES))]
    assert one[1:] == [0, 0], "compiled again for another size"


@pytest.mark.slow
def test_a_bad_image_in_a_folder_costs_only_itself(train, tmp_path, folder, capfd):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    tiny = save(tmp_path / "tiny.png", picture(6, 6))
    source = f"{folder},{bad},{tiny}"
    assert train(source, **FIELDS, parallel={"images_per_device": 2}) == 1
    summary = read(tmp_path / "out/summary.json")["images"]
    assert {m["image"]: m["status"] for m in summary} == {
        **{str(i): "done" for i in range(len(SIZES))},
        "bad": "failed",
        "tiny": "failed",
    }
    page = (tmp_path / "out/bad/report.html").read_text(encoding="utf-8")
    assert summary[-2]["error"].split(":")[-1] in page
    printed = capfd.readouterr().err
    assert sum("failed:" in line for line in printed.splitlines()) == 2


def test_a_loss_that_is_nan(train, tmp_path, folder, capfd):
    assert train(folder / "0.png", **FIELDS, learning_rate=1e30) == 1
    metrics = read(tmp_path / "out/0/metrics.json")
    assert metrics["status"] == "failed"
    assert "a smaller learning rate" in metrics["error"]
    assert "Traceback" not in capfd.readouterr().err


def test_tensorboard_has_the_curves_and_the_pictures(train, tmp_path, folder):
    pytest.importorskip("tensorboardX")
    assert train(folder / "0.png", **FIELDS, tensorboard=True) == 0
    (events,) = (tmp_path / "out/0/tensorboard").iterdir()
    data = events.read_bytes()
    for name in (b"loss", b"test_psnr", b"result", b"before", b"config"):
        assert name in data


def test_run_fields_out_of_range(train, folder):
    from deepinternal.types import InputError

    for name, value in (("images_per_device", -1), ("devices", 9)):
        with pytest.raises(InputError, match=f"config.parallel.{name}={value}"):
            train(folder, **FIELDS, parallel={name: value})


def test_the_cpu_is_split_into_several_devices_on_request(launcher, tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(3):
        save(tmp_path / f"in/{i}.png", picture())
    argv = tiny_command(tmp_path / "in", tmp_path / "out", steps=3)
    status, printed = launcher.run(*argv, "--config.parallel.devices=2")
    assert status == 0, printed
    for i in range(3):
        assert read(tmp_path / f"out/{i}/metrics.json")["device_count"] == 2
