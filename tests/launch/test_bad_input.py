"""Mistakes in files and values are reported in one line; other images of a folder are trained."""

import csv
import dataclasses
import json
import struct
import zlib

import numpy as np
import pytest
import scipy.io
import tifffile
from PIL import Image

from deepinternal import methods
from deepinternal.codecs.image_io import read_image
from deepinternal.ops.resizing import resize
from deepinternal.types import InputError
from tests import needs
from tests.codecs.image_samples import SIGNATURE, chunk, png_bytes
from tests.launch.conftest import picture, save


def refused(train, *words, source, **fields):
    """Asserts a refusal of one line, before anything is trained."""
    with pytest.raises(InputError) as caught:
        train(source, **fields)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


def empty(path):
    path.write_bytes(b"")


def truncated(path):
    save(path, picture(64, 64))
    path.write_bytes(path.read_bytes()[:1500])


def text(path):
    path.write_text("no image at all")


def dot(path):
    save(path, picture(1, 1))


def tiny(path):
    save(path, picture(8, 8))


def nan(path):
    values = picture().astype(np.float32) / 255
    values[3, 4] = np.nan
    tifffile.imwrite(path, values, photometric="rgb")


def bomb(path):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0))
    path.write_bytes(SIGNATURE + header + chunk(b"IDAT", zlib.compress(bytes(60000))))


def folder(path):
    path.mkdir()


def loop(path):
    path.symlink_to(path)


BAD = {f.__name__: f for f in (empty, truncated, text, dot, tiny, nan, bomb, folder, loop)}


@pytest.mark.parametrize("kind", [k for k in BAD if k != "folder"])
def test_one_bad_file(train, tmp_path, kind):
    path = tmp_path / f"{kind}.png"
    BAD[kind](path)
    refused(train, f"{kind}.png", source=path)
    assert not (tmp_path / "out" / "config.json").exists(), "binds the folder to a failed config"


def test_libraries_log_nothing_about_a_bad_file(launcher, tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0\x08\0\0\0" + b"\0\0\x08\0\0\0")
    status, printed = launcher.run(
        "--config=zssr", f"--config.input={path}", f"--workdir={tmp_path}/o"
    )
    assert status == 2
    assert printed.startswith(f"error: {path}: ")
    assert printed.count("\n") == 1


@pytest.mark.slow
def test_in_a_folder_the_others_are_done(train, tmp_path, capfd):
    source = tmp_path / "in"
    source.mkdir()
    for kind, make in BAD.items():
        make(source / f"{kind}.png")
    save(source / "zz last one.png", picture())
    capfd.readouterr()
    assert train(source) == 1
    printed = capfd.readouterr().err.splitlines()
    jobs = BAD.keys() - {"folder"}  # of that name
    assert len(printed) == len(jobs)
    metrics = {}
    for kind in jobs:
        line = next(x for x in printed if x.startswith(f"{kind}: failed: "))
        metrics[kind] = json.loads((tmp_path / "out" / kind / "metrics.json").read_text())
        assert metrics[kind]["status"] == "failed"
        assert line == f"{kind}: failed: {metrics[kind]['error']}"
        assert not (tmp_path / "out" / kind / "result.png").exists()
        assert not (tmp_path / "out" / kind / "traceback.txt").exists()
    last = json.loads((tmp_path / "out/zz last one/metrics.json").read_text())
    assert last["status"] == "done"
    assert set(metrics["nan"]) <= set(last), "a failed image has the keys of one that is done"
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert {m["image"]: m for m in summary["images"]} == {**metrics, "zz last one": last}
    assert summary["mean"]["steps"] == last["steps"], "failed images count in the means"
    with open(tmp_path / "out/summary.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted(r["image"] for r in rows) == sorted([*metrics, "zz last one"])
    index = (tmp_path / "out/index.html").read_text()
    assert 'href="zz%20last%20one/report.html"' in index

    # Repaired, it is tried again; the one that is done is not.
    before = (tmp_path / "out/zz last one/result.png").stat().st_mtime_ns
    for path in source.iterdir():
        if path.name == "empty.png":
            save(path, picture(26, 24))
        elif path.name != "zz last one.png":
            path.rmdir() if path.is_dir() else path.unlink()
    assert train(source) == 0
    again = json.loads((tmp_path / "out/empty/metrics.json").read_text())
    assert (again["status"], again["error"]) == ("done", "")
    assert (tmp_path / "out/zz last one/result.png").stat().st_mtime_ns == before


def test_an_internal_error_is_one_line(train, tmp_path, small_png, capfd):
    faulty = dataclasses.replace(methods.find("zssr"), prepare=lambda *a, **k: 1 / 0)
    assert train(small_png, recipe=faulty) == 1
    assert capfd.readouterr().err == "small: failed: ZeroDivisionError: division by zero\n"
    assert "Traceback" in (tmp_path / "out/small/traceback.txt").read_text()


@pytest.mark.parametrize("name", ["with  spaces.png", "écran 画像 🖼.png", "a, b [1].png"])
def test_unusual_names_work(train_tiny, tmp_path, name):
    (tmp_path / "in put é").mkdir()
    path = save(tmp_path / "in put é" / name, picture())
    stem = name.removesuffix(".png")
    for source in (path, path.parent, path.parent / "*.png"):
        assert train_tiny(source, workdir=tmp_path / "wörk dir", overwrite=True, steps=1) == 0
        metrics = json.loads((tmp_path / "wörk dir" / stem / "metrics.json").read_text())
        assert metrics["image"] == stem
        assert metrics["input"] == str(path)
        assert (tmp_path / "wörk dir" / stem / "result.png").exists()
        page = (tmp_path / "wörk dir" / "index.html").read_text()
        assert f">{stem}</a>" in page


@needs.ANY_NAME
def test_a_name_that_is_not_utf8(train_tiny, tmp_path):
    (tmp_path / "in").mkdir()
    path = save(tmp_path / "in" / "\udcff.png", picture())
    assert train_tiny(path, steps=1) == 0
    assert train_tiny(path.parent, workdir=tmp_path / "other", steps=1) == 0
    assert (tmp_path / "other" / "?" / "result.png").exists()


def test_inputs_without_any_file(train, tmp_path):
    (tmp_path / "none").mkdir()
    refused(train, "config.input", "nowhere.png", source=tmp_path / "nowhere.png")
    refused(train, "config.input", "no images", source=tmp_path / "none")
    refused(train, "config.input", "nothing matches", source=tmp_path / "*.png")
    refused(train, "config.input", source=" , ")
    refused(train, "config.input", "no such file", source="x" * 5000)


@pytest.mark.parametrize("below", ["small.png", "small.png/deeper", "loop/deeper"])
def test_a_workdir_that_cannot_be_written(train, tmp_path, small_png, below):
    loop(tmp_path / "loop")
    refused(train, "--workdir", below, source=small_png, workdir=tmp_path / below)


def test_a_file_in_place_of_the_folder_of_an_image(train_tiny, tmp_path, small_png, capfd):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/small").write_text("the user's own")
    refused(train_tiny, "small", "--workdir", source=small_png)
    other = save(tmp_path / "other.png", picture())
    assert train_tiny(f"{small_png},{other}") == 1
    assert capfd.readouterr().err.startswith("small: failed: ")
    assert (tmp_path / "out/small").read_text() == "the user's own"
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert [m["status"] for m in summary["images"]] == ["failed", "done"]


def kernels(folder):
    """Kernel files, with what is said of them; None for a good one."""
    good = np.outer([1, 2, 1], [1, 2, 1]) / 16
    cases = {
        "good.npy": (good, None),
        "long.npy": (np.ones((3, 5)) / 15, "(3, 5)"),
        "deep.npy": (np.ones((3, 3, 3)), "(3, 3, 3)"),
        "nan.npy": (np.where(good > 0.2, np.nan, good), "NaN"),
        "zero.npy": (np.zeros((3, 3)), "zero"),
        "null.npy": (good - good.mean(), "sum"),
        "good.mat": ({"Kernel": good}, None),
        "other.mat": ({"k": good}, "Kernel"),
        "text.mat": (None, "MATLAB"),
    }
    for name, (value, message) in cases.items():
        path = folder / name
        if value is None:
            path.write_text("no kernel")
        elif name.endswith(".npy"):
            np.save(path, value)
        else:
            scipy.io.savemat(path, value)
        yield path, message


@pytest.mark.slow
def test_kernels(train, tmp_path, small_png):
    for path, message in kernels(tmp_path):
        if message:
            refused(train, path.name, message, source=small_png, kernel=str(path))
        else:
            options = {"preset": "kernel", "workdir": tmp_path / f"out {path.name}", "steps": 1}
            assert train(small_png, kernel=str(path), **options) == 0
    missing = str(tmp_path / "missing.mat")
    refused(train, "config.kernel", "missing.mat", source=small_png, kernel=missing)
    refused(train, "config.kernel", "x" * 100, source=small_png, kernel="x" * 5000)
    (tmp_path / "kernels").mkdir()
    refused(train, "config.kernel", "small", source=small_png, kernel=str(tmp_path / "kernels"))
    refused(train, "config.kernel: give the blur kernel", source=small_png, preset="kernel")


@pytest.mark.parametrize(
    "fields",
    [
        {"scale": "1"},
        {"scale": "0.5"},
        {"scale": "-2"},
        {"scale": "16.1"},
        {"scale": "nan"},
        {"scale": "inf"},
        {"scale": "two"},
        {"scale": "2,2,2"},
        {"scale": ""},
        {"output_shape": "48"},
        {"output_shape": "48,64,3"},
        {"output_shape": "48.5,64"},
        {"output_shape": "large"},
        {"output_shape": "24,32"},
        {"output_shape": "12,64"},
        {"output_shape": "4800,64"},
        {"flips": "maybe"},
        {"steps": -1},
        {"seed": -1},
        {"seed": 2**32},
        {"log_every": 0},
        {"checkpoint_every": -1.0},
        {"checkpoint_every": float("nan")},
        {"snapshot_every": -1},
        {"parallel": {"steps_per_dispatch": -1}},
        {"features": 0},
        {"noise_std": -0.1},
    ],
    ids=str,
)
def test_values_out_of_range(train, small_png, fields):
    name = next(iter(fields))
    refused(train, f"config.{name}", source=small_png, **fields)


def test_a_ground_truth_of_another_size_is_refused_before_training(train, tmp_path, small_png):
    truth = save(tmp_path / "truth.png", picture(48, 60))
    words = "48x60", "48x64", "truth.png"
    refused(train, *words, source=small_png, ground_truth=str(truth))
    assert not (tmp_path / "out/small").exists()
    refused(train, "ground_truth", "gone", source=small_png, ground_truth=str(tmp_path / "gone"))
    # In a folder it is that image's own failure.
    (tmp_path / "truth").mkdir()
    save(tmp_path / "truth/small.png", picture(48, 60))
    other = save(tmp_path / "other.png", picture())
    save(tmp_path / "truth/other.png", picture(48, 64))
    source = f"{small_png},{other}"
    assert train(source, ground_truth=str(tmp_path / "truth"), steps=1) == 1
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert [m["status"] for m in summary["images"]] == ["failed", "done"]
    assert summary["images"][1]["psnr_y"] > 0


@pytest.mark.parametrize(
    ("mode", "depth"), [("L", 8), ("I;16", 16), ("LA", 8), ("RGB", 8), ("RGBA", 8), ("RGB", 16)]
)
def test_results_keep_depth_and_channels(train_tiny, tmp_path, mode, depth):
    """A method that makes the image itself; of a larger result, see the tests of alpha below."""
    path, rgb = tmp_path / "a.png", picture(20, 28)
    if mode == "RGB" and depth == 16:
        path.write_bytes(png_bytes(rgb.astype(np.uint16) * 257))
    elif mode == "I;16":
        Image.fromarray(rgb[..., 0].astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(rgb).convert(mode).save(path)
    assert train_tiny(path, steps=1, rate=1) == 0
    header = (tmp_path / "out/a/result.png").read_bytes()[16:26]
    width, height, bits, colour = struct.unpack(">IIBB", header)
    assert (height, width, bits) == (20, 28, depth)
    assert colour == {"L": 0, "I;16": 0, "LA": 4, "RGB": 2, "RGBA": 6}[mode]
    metrics = json.loads((tmp_path / "out/a/metrics.json").read_text())
    channels = 1 if mode[0] in "LI" else 3
    assert metrics["image_shape"] == metrics["output_shape"] == [20, 28, channels]
    made, given = (read_image(p) for p in (tmp_path / "out/a/result.png", path))
    np.testing.assert_array_equal(made.pixels, given.pixels)


def test_a_cmyk_photograph_from_a_camera_held_upright(train, tmp_path):
    rgb = picture(20, 28)
    exif = Image.Exif()
    exif[274] = 6  # the top of the scene is at the right
    turned = Image.fromarray(np.rot90(rgb)).convert("CMYK")
    turned.save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    assert train(tmp_path / "a.jpg", steps=1, learning_rate=1e-9) == 0
    result = np.asarray(Image.open(tmp_path / "out/a/result.png"))
    assert result.shape == (40, 56, 3)
    expected = np.asarray(Image.fromarray(rgb).resize((56, 40), Image.Resampling.BICUBIC))
    assert np.abs(result.astype(float) - expected).mean() < 12


def test_alpha_is_enlarged_and_does_not_touch_visible_colours(train, tmp_path):
    rgb = picture(20, 28)
    alpha = np.linspace(8, 255, 28).round().astype(np.uint8) * np.ones((20, 1), np.uint8)
    save(tmp_path / "a.png", np.dstack([rgb, alpha]))
    save(tmp_path / "b.png", rgb)
    assert train(f"{tmp_path}/a.png,{tmp_path}/b.png", steps=3, scale="2,1.5") == 0
    a, b = (np.asarray(Image.open(tmp_path / f"out/{n}/result.png")) for n in "ab")
    np.testing.assert_array_equal(a[..., :3], b)
    assert a.shape == (40, 42, 4)
    larger = resize(np.float32(alpha[..., None] / 255.0), scale=(2, 1.5))
    expected = np.clip(larger, 0, 1)[..., 0] * 255
    np.testing.assert_allclose(a[..., 3], expected, atol=0.51)
