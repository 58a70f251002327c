"""Reports: one file that needs no other, with everything a user named escaped."""

import base64
import html.parser
import io
import re

import numpy as np
import pytest
import skimage.measure
from PIL import Image

from deepinternal.runtime import image_io, png, report
from deepinternal.runtime.image_io import write_image
from deepinternal.runtime.report import curve, write_index, write_report
from deepinternal.runtime.writers import to_json

EVIL = "<script>alert(1)</script>&\"'"


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the text outside of style."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._open = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def page(tmp_path):
    """The report of an image with an evil name, and the images that it must show."""
    rng = np.random.default_rng(0)
    images = {name: rng.random((6, 8, 3)) for name in ("result", "uncertainty", "before", "mine")}
    for name, image in images.items():
        write_image(tmp_path / f"{name}.png", image)
    lines = [{"step": i, "seconds": 0.1 * i, "loss": 1 / i, EVIL: i * i} for i in range(1, 9)]
    lines[3]["loss"] = None
    (tmp_path / "train.jsonl").write_text("".join(to_json(e) + "\n" for e in lines))
    metrics = {"image": EVIL, "status": "done", "psnr_y": 31.4159265, "error": EVIL}
    metrics["outputs"] = ["result.png", "uncertainty.png"]
    write_report(tmp_path, metrics, {"input": EVIL, "seed": 77}, before=images["before"])
    return Page((tmp_path / "report.html").read_text(encoding="utf-8")), images


def test_names_are_escaped(page):
    page, _ = page
    assert not page.all("script")
    assert page.text.count(EVIL) >= 4, "title, heading, figures, config, curve"
    assert "31.42" in page.text
    assert "77" in page.text


def test_nothing_is_loaded_from_elsewhere(page):
    page, images = page
    sources = [a["src"] for a in page.all("img")]
    assert len(sources) == 3, "before, result, uncertainty; not what runs did not make"
    shown = []
    for source in sources:
        kind, data = source.split(",", 1)
        assert kind == "data:image/png;base64"
        shown.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))))
    for pixels, name in zip(shown, ("result", "before", "uncertainty"), strict=True):
        np.testing.assert_array_equal(pixels, np.round(images[name] * 255))
    for tag, attrs in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "base")
        for name, value in attrs.items():
            assert name in ("src",) or not re.search(r"https?:|//|url\(", value or "")


def test_curves_follow_the_log(page):
    page, _ = page
    lines = page.all("polyline")
    assert len(lines) == 2, "the loss and one term"
    loss, term = (np.array([p.split(",") for p in x["points"].split()], float) for x in lines)
    assert len(loss) == 7, "a step without a number is left out"
    assert len(term) == 8
    np.testing.assert_allclose(np.diff(term[:, 0]), np.diff(term[:, 0])[0], atol=0.11)
    # Heights are linear in the values, upwards.
    heights = 190 - term[:, 1]
    np.testing.assert_allclose(heights / heights[-1], (np.arange(1, 9) ** 2 - 1) / 63, atol=0.01)


def test_curve_of_too_little_or_of_constants():
    assert curve([], "x") == curve([(1, 2.0)], "x") == curve([(1, None), (2, 1.0)], "x") == ""
    assert "nan" not in curve([(1, 2.0), (2, 2.0)], "x")


def test_the_slider_moves_the_border(page):
    page, _ = page
    slider = next(a for a in page.all("input") if a["type"] == "range")
    assert "clipPath" in slider["oninput"]


def test_index(tmp_path):
    names = [EVIL.replace("/", ""), "a b%", "c"]
    for name in names[:2]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.html").touch()
    images = [{"image": n, "status": "done", "psnr_y": 30.12345} for n in names]
    images[2] |= {"status": "failed", "error": EVIL}
    write_index(tmp_path, images)
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert not page.all("script")
    assert EVIL in page.text
    from urllib.parse import unquote

    links = [unquote(a["href"]) for a in page.all("a")]
    assert links == [f"{n}/report.html" for n in names[:2]]
    assert not any(a["href"].startswith(("http", "/")) for a in page.all("a"))
    assert "30.12" in page.text


def test_large_pictures_are_reduced(tmp_path, monkeypatch):
    samples = np.arange(12 * 20 * 3, dtype=np.uint16).reshape(12, 20, 3) * 50
    (tmp_path / "a.png").write_bytes(png.encode(samples))
    whole = report._picture(tmp_path / "a.png")
    assert base64.b64decode(whole.split(",")[1]) == (tmp_path / "a.png").read_bytes()
    monkeypatch.setattr(report, "PREVIEW", 10)
    (tmp_path / "b.png").write_bytes(
        base64.b64decode(report._picture(tmp_path / "a.png").split(",")[1])
    )
    expected = skimage.measure.block_reduce(samples, (2, 2, 1), np.mean)
    np.testing.assert_allclose(image_io.decode(tmp_path / "b.png", 1000), expected, atol=0.51)
    monkeypatch.setattr(report, "READABLE", 100)
    assert report._picture(tmp_path / "a.png") == "a.png"
