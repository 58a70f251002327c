"""Pages: one file that needs no other, with everything a user named escaped."""

import base64
import io
import json
import re
import runpy
import sys
import types
import zipfile
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from deepinternal.codecs import image_io
from deepinternal.codecs.image_io import write_image
from deepinternal.report import downloads, equations
from deepinternal.report.report import write_report
from deepinternal.writers import to_json
from tests.report.page_reader import EVIL, Page, shown

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def made(tmp_path):
    """A folder with the pictures of an image with an evil name, and its metrics."""
    rng = np.random.default_rng(0)
    images = {name: rng.random((6, 8, 3)) for name in ("result", "uncertainty", "mine", EVIL[2:-1])}
    images |= {"before": rng.random((6, 8, 3)), "own": rng.random((3, 4, 3))}
    names = {n: n.replace("/", "") for n in images}
    for name, image in images.items():
        if name not in ("before", "own"):
            write_image(tmp_path / f"{names[name]}.png", image)
    write_image(tmp_path / "own picture.png", images["own"])
    for name in ("k%23.npy", "film <1>.mp4"):
        (tmp_path / name).touch()
    lines = [{"step": i, "seconds": 0.1 * i, "loss": 100 / i**2, EVIL: i * i} for i in range(1, 17)]
    lines[3]["loss"] = None
    for line in lines:
        line |= {"stage": f"1: {EVIL}" if line["step"] <= 8 else "2: x", "same": line["loss"]}
    (tmp_path / "train.jsonl").write_text("".join(to_json(e) + "\n" for e in lines))
    metrics = {"image": EVIL, "status": "done", "psnr_y": 31.4159265, "baseline_psnr_y": 30.25}
    metrics |= {"error": EVIL, "input": str(tmp_path / "own picture.png"), "uncertainty_max": 0.25}
    metrics["outputs"] = ["result.png", "uncertainty.png", f"{names[EVIL[2:-1]]}.png"]
    metrics["outputs"] += ["k%23.npy", "film <1>.mp4", "missing.png"]
    return tmp_path, metrics, images, lines


@pytest.fixture
def page(made):
    folder, metrics, images, _ = made
    config = {"input": EVIL, "seed": 77, "parallel": {"steps": {"deep": 5}, "empty": {}}}
    write_report(folder, metrics, config, before=images["before"])
    return Page(folder / "report.html")


def test_names_are_escaped(page):
    assert len(page.all("script")) == 3 == len(page.scripts), "curves, files, program; nothing else"
    assert page.text.count(EVIL) >= 5, "title, heading, error, curve, tables"
    for text in ("31.42", "+1.17 over 30.25", "77", "parallel.steps.deep", "white stands for 0.25"):
        assert text in page.text
    assert json.loads(page.scripts[0])["points"]


def test_every_picture_is_in_the_page(page, made):
    _, _, images, _ = made
    figures = [a for a in page.all("img") if "src" in a]
    names = ("before", "result", "uncertainty", EVIL[2:-1], "own")
    for attrs, name in zip(figures, names, strict=True):
        np.testing.assert_array_equal(shown(attrs["src"]), np.round(images[name] * 255))
        height, width = images[name].shape[:2]
        assert (attrs["data-width"], attrs["data-height"]) == (str(width), str(height))
    titles = ["before", "result", "uncertainty", EVIL[2:-1].replace("/", ""), "input"]
    assert [a["data-title"] for a in figures] == titles


def test_nothing_is_loaded_from_elsewhere(page, made):
    folder, *_ = made
    for tag, attrs in page.tags:
        assert tag not in ("iframe", "object", "base")
        for name, value in attrs.items():
            if name in ("src", "href") and not value.startswith("data:"):
                index = "../" * (EVIL.count("/") + 1) + "index.html"
                assert value == index or (folder / unquote(value)).is_file()
                assert tag in ("a", "video")
            assert not name.startswith("on"), "no scripts in attributes"
            assert name == "src" or not re.search(r"https?:|//|url\(", value or "")
    assert not re.search(r"https?:|import |fetch|XMLHttp|url\(", "".join(page.scripts[2:]))
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'")
    films = [unquote(a["src"]) for a in page.all("video")]
    assert films == ["film <1>.mp4"]
    assert "k%23.npy" in [unquote(a["href"]) for a in page.all("a")]


def test_curves_follow_the_log(made):
    """Values are read off the drawing by its axes' labels, as a reader does it."""
    folder, metrics, images, lines = made
    write_report(folder, metrics, {}, before=images["before"])
    text = (folder / "report.html").read_text(encoding="utf-8")
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) == 2, "the loss, of which another term is a copy, and one more"
    assert "<b>loss = same</b> <small>logarithmic scale" in text
    for drawing, name in zip(drawings, ("loss", EVIL)):
        curve = re.search(r'class="curve" d="(.*?)"', drawing)[1]
        points = np.array(re.findall(r"([\d.]+) ([\d.]+)", curve), float)
        number = r'<text class="{}" x="([\d.]+)" y="([\d.]+)">([-\d.e]+)<'
        x = np.array(re.findall(number.format("x"), drawing), float)
        y = np.array(re.findall(number.format("y"), drawing), float)
        assert len(x) >= 3 <= len(y)
        steps = np.polyval(np.polyfit(x[:, 0], x[:, 2], 1), points[:, 0])
        values = 10 ** np.polyval(np.polyfit(y[:, 1], np.log10(y[:, 2]), 1), points[:, 1])
        known = [e for e in lines if e[name] is not None]
        np.testing.assert_allclose(steps, [e["step"] for e in known], atol=0.05)
        np.testing.assert_allclose(values, [e[name] for e in known], rtol=0.02)
        assert curve.count("M") == (2 if name == "loss" else 1), "a gap where there is no number"
        boundary = re.findall(r'M([\d.]+) [\d.]+V[\d.]+"><title>(.*?)</title>', drawing)
        assert [b[0] for b in boundary] == [f"{points[0, 0]}", f"{points[-8, 0]}"]
        assert boundary[1][1] == "2: x"


def test_a_report_of_what_there_is(tmp_path):
    """A run that failed or was stopped left a few files, or none."""
    metrics = {"image": "x", "status": "failed", "error": "why", "input": "no such file.png"}
    metrics |= {"psnr_y": None, "steps": 0, "seconds": 0.0}
    write_report(tmp_path, metrics, {}, before=None)
    page = Page(tmp_path / "report.html")
    assert not page.all("img")
    assert "why" in page.text
    assert not page.all("a", href="traceback.txt")
    (tmp_path / "traceback.txt").touch()
    write_report(tmp_path, metrics, {}, before=np.zeros((4, 4, 1)))
    page = Page(tmp_path / "report.html")
    assert [a["data-title"] for a in page.all("img") if "src" in a] == ["before"]
    assert page.all("a", href="traceback.txt")


def test_the_input_is_shown_once(made):
    """Where there is no baseline, the input is what the result is compared with."""
    folder, metrics, *_ = made
    own = image_io.read_image(metrics["input"]).pixels
    write_report(folder, metrics, {}, before=own)
    titles = [a["data-title"] for a in Page(folder / "report.html").all("img") if "src" in a]
    assert titles.count("before") == 1
    assert "input" not in titles


def test_an_equation_shows_layers_and_numbers(tmp_path):
    """Of one image, of several, and of what is only known as a sign."""
    rng = np.random.default_rng(0)
    colours = {"mask": 0.2, "foreground": 0.4, "clean2": 0.6}
    for name, value in colours.items():
        write_image(tmp_path / f"{name}.png", np.full((40, 60, 1), value))
    (tmp_path / "back").mkdir()
    write_image(tmp_path / "back/00000.png", np.full((40, 60, 1), 0.8))
    given = [image_io.to_array(np.full((40, 60), v), name="x") for v in (0.1, 0.9)]
    formulas = [
        "input = mask * foreground + (1 - mask) * back",
        "input2=a[1]*clean2 - noise + (1 - a[0])*nothing + scale",
    ]
    metrics = {"image": "x", "a": [0.25, 0.123456], "scale": 2}
    before = rng.random((40, 60, 3))
    write_report(tmp_path, metrics, {}, before=before, inputs=given, formulas=formulas)
    page = Page(tmp_path / "report.html")
    layers = [a for a in page.all("img") if a.get("src", "").startswith("data:image/jpeg")]
    names = ["input", "mask", "foreground", "mask", "back", "input2", "clean2"]
    assert [a["alt"] for a in layers] == names
    for attrs, value in zip(layers, (0.1, 0.2, 0.4, 0.2, 0.8, 0.9, 0.6), strict=True):
        image = Image.open(io.BytesIO(base64.b64decode(attrs["src"].split(",")[1])))
        assert image.size == (60, 40)
        assert abs(np.asarray(image) / 255 - value).max() < 0.01
    words = " ".join(page.text.split())
    for text in (
        "input = mask × foreground + (1 − mask ) × back",
        "0.123a[1]",
        "− noise",
        "2scale",
    ):
        assert text in words
    terms = equations.parts(formulas[0], lambda name: "", {})
    assert [t[0]["sign"] for t in terms] == ["input", "= mask × foreground", "+ (1 − mask) × back"]


@pytest.mark.parametrize("formula", ["", "a[9] = b[", "(((", "= + *", "x" * 300, "<b>&\"'"])
def test_any_equation_makes_a_page(tmp_path, formula):
    write_report(tmp_path, {"image": "x", "a": [1.0]}, {}, before=None, formulas=[formula])
    said = formula.replace("*", "×").replace(" ", "")
    assert said in "".join(Page(tmp_path / "report.html").text.split())


def test_outputs_that_are_too_large_lie_beside_the_page(made, monkeypatch):
    folder, metrics, images, _ = made
    (folder / "frames").mkdir()
    (folder / "frames/ü 0.png").write_bytes(b"frame")
    (folder / "film <1>.mp4").write_bytes(b"film")
    metrics["outputs"].append("frames/")

    def page(packed):
        monkeypatch.setattr(downloads, "PACKED", packed)
        write_report(folder, metrics, {}, before=images["before"])
        return Page(folder / "report.html")

    (beside,) = page(10).all("a", href="outputs.zip")
    assert beside["download"] == f"{EVIL.split('/')[-1]}.zip"
    with zipfile.ZipFile(folder / "outputs.zip") as archive:
        assert archive.testzip() is None
        packed = {name: archive.read(name) for name in archive.namelist()}
    names = [n for n in metrics["outputs"] if n not in ("missing.png", "frames/")]
    assert packed == {n: (folder / n).read_bytes() for n in (*names, "frames/ü 0.png")}
    inside = page(10**6)
    assert not inside.all("a", href="outputs.zip")
    assert not (folder / "outputs.zip").exists()
    held = json.loads(inside.scripts[1])
    shown = {a["data-file"] for name, a in inside.tags if "data-file" in a}
    for name in packed:
        assert (held.pop(name) is None) == (name in shown)
    assert not held
    assert base64.b64decode(json.loads(inside.scripts[1])["frames/ü 0.png"]) == b"frame"


def test_the_package_brings_its_templates(monkeypatch):
    found = {}
    stub = types.ModuleType("setuptools")
    stub.setup, stub.find_packages = (lambda **fields: found.update(fields)), (lambda **_: [])
    monkeypatch.setitem(sys.modules, "setuptools", stub)
    runpy.run_path(str(ROOT / "setup.py"))
    folder = ROOT / "deepinternal/report"
    shipped = {p for g in found["package_data"]["deepinternal.report"] for p in folder.glob(g)}
    assert shipped == {p for p in (folder / "templates").rglob("*") if p.is_file()}
    assert {p.name for p in shipped} >= {"report.html", "index.html", "page.css", "report.js"}
    assert any(r.startswith("jinja2") for r in found["install_requires"])


def test_the_environment_is_that_of_the_result(tmp_path):
    metrics = {"image": "x", "status": "done", "version": "9.8.7", "device": "some device"}
    metrics |= {"packages": {"jax": "1.2.3"}, "git": {"commit": "abcdef", "dirty": True}}
    write_report(tmp_path, metrics, {}, before=None)
    text = Page(tmp_path / "report.html").text
    for words in (
        "deepinternal9.8.7",
        "jax1.2.3",
        "commitabcdef, with changes",
        "devicesome device",
    ):
        assert text.count(words) == 1
