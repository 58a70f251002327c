"""Pages: one file that needs no other, with everything a user named escaped."""

import base64
import html.parser
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
import skimage.measure
from PIL import Image

from deepinternal.codecs import image_io, png
from deepinternal.codecs.decoding import decode
from deepinternal.codecs.image_io import write_image
from deepinternal.report import charts, downloads, equations, gallery, pictures
from deepinternal.report.report import write_index, write_report
from deepinternal.writers import to_json

EVIL = "</script><script>alert(1)</script>&\"'%41#?ü"
ROOT = Path(__file__).parent.parent.parent
VOID = ("meta", "link", "img", "path", "circle", "wbr")


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the text outside of style and scripts."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.scripts, self._open = [], "", [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag, "tags are closed in order"

    def handle_data(self, data):
        if self._open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self._open[-1:] != ["style"]:
            self.text += data

    def all(self, tag, **attrs):
        return [a for name, a in self.tags if name == tag and attrs.items() <= a.items()]


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


def shown(address):
    kind, data = address.split(",", 1)
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


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


def test_what_does_not_change_is_a_figure():
    log = [
        {"step": s, "a": v, "late": 0.5 if s == 1 else 3.0, "same": 7.0, "programs": s}
        for s, v in ((1, -1.0), (2, 5.0), (3, 5.0), (4, None))
    ]
    log[2]["once"] = 1.25
    log[0]["lost"], log[1]["lost"], log[2]["lost"] = 2.5, None, None
    metrics = {"programs": 9, "same": 8}
    assert [c["label"] for c in charts.charts(log)] == ["a", "lost"]
    found = {f["title"]: f["value"] for f in charts.figures(log, metrics)}
    assert found == {"late": 3.0, "same": 7.0, "programs": 9, "once": 1.25}
    pair = [{"step": 1, "x": 1.0, "psnr_y": 2.0}, {"step": 2, "x": 2.0, "psnr_y": 2.0}]
    assert [c["label"] for c in charts.charts(pair)] == ["x"], "two values are a curve"
    (figure,) = charts.figures(pair, {})
    assert (figure["title"], figure["unit"]) == ("PSNR y", "dB")


@pytest.mark.parametrize("log", [[], [{"step": 1, "a": None}] * 2, [{"step": 1, "a": "text"}] * 2])
def test_too_little_for_a_figure(log):
    assert charts.charts(log) == charts.figures(log, {}) == []


def test_linear_curves():
    log = [{"step": s, "a": v, "psnr": p} for s, v, p in ((1, -1.0, 1), (5, 2.0, 20))]
    for chart in charts.charts(log):
        assert not chart["log"], "neither what is negative nor what is in decibels"
        heights = [y for *_, y in chart["points"]]
        assert all(charts.FRAME[2] <= y <= charts.FRAME[3] for y in heights)
        for place, text in chart["y"]:
            assert charts.FRAME[2] <= place <= charts.FRAME[3]
            assert np.isfinite(float(text))
        assert 2 <= len(chart["y"]) <= 6
    assert [c["label"] for c in charts.charts(log)] == ["a", "PSNR (dB)"]


@pytest.mark.parametrize("low", [-3.0, 0.0, 35.2841, 1e-7])
@pytest.mark.parametrize("span", [1e-6, 0.37, 1.0, 99.0, 3e5])
def test_ticks_are_few_and_distinct(low, span):
    ticks = charts.ticks(low, low + span)
    assert 2 <= len(ticks) <= 6
    assert all(low - 1e-9 * span <= t <= low + span * (1 + 1e-9) for t in ticks)
    assert len({f"{t:.10g}" for t in ticks}) == len(ticks)
    if low > 0 and span > 10 * low:
        ticks = charts.log_ticks(low, low + span)
        assert 2 <= len(ticks) <= 8
        assert all(low <= t <= low + span for t in ticks)


def test_long_curves_keep_their_extremes():
    values = np.random.default_rng(0).normal(size=50_000)
    points = [(i, float(v)) for i, v in enumerate(values)]
    points[777] = (777, None)
    thin = charts.thin(points)
    assert len(thin) <= 1.1 * charts.POINTS
    assert [s for s, _ in thin] == sorted({s for s, _ in thin})
    assert set(thin) <= set(points)
    assert (777, None) in thin
    known = [v for _, v in thin if v is not None]
    assert (min(known), max(known)) == (values.min(), values.max())
    assert charts.thin(points[:100]) == points[:100]


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


def test_moments_of_training_are_shown(tmp_path):
    (tmp_path / "progress").mkdir()
    for step in range(200, 4001, 200):
        write_image(tmp_path / f"progress/result-{step:06d}.png", np.full((9, 12, 3), step / 4000))
        write_image(tmp_path / f"progress/cycle-{step:06d}.png", np.zeros((9, 12, 3)))
    write_report(tmp_path, {"image": "a"}, {}, before=None)
    page = Page(tmp_path / "report.html")
    links = [a["href"] for a in page.all("a") if a["href"].startswith("progress/")]
    assert len(links) == 8
    assert (links[0], links[-1]) == ("progress/result-000200.png", "progress/result-004000.png")
    assert all((tmp_path / link).is_file() for link in links)
    assert "step 4000" in page.text


def test_the_input_is_shown_once(made):
    """Where there is no baseline, the input is what the result is compared with."""
    folder, metrics, *_ = made
    own = image_io.read_image(metrics["input"]).pixels
    write_report(folder, metrics, {}, before=own)
    titles = [a["data-title"] for a in Page(folder / "report.html").all("img") if "src" in a]
    assert titles.count("before") == 1
    assert "input" not in titles


@pytest.mark.parametrize("suffix", ["jpg", "tif", "png"])
def test_inputs_of_every_kind_are_shown(tmp_path, suffix, monkeypatch):
    samples = np.full((9, 30, 3), (200, 100, 50), np.uint8)
    path = tmp_path / f"photo.{suffix}"
    if suffix == "tif":
        import tifffile

        tifffile.imwrite(path, samples.astype(np.float32) / 255, photometric="rgb")
    else:
        Image.fromarray(samples).save(path)
    monkeypatch.setattr(pictures, "PREVIEW", 10)
    write_report(tmp_path, {"image": "x", "input": str(path)}, {}, before=None)
    (found,) = (a for a in Page(tmp_path / "report.html").all("img") if "src" in a)
    assert (found["data-width"], found["data-height"], found["data-title"]) == ("10", "3", "input")
    assert abs(shown(found["src"]) - np.array([200.0, 100, 50])).max() <= 2


def test_what_is_at_hand_is_not_read_again(tmp_path, monkeypatch):
    """Neither the pictures among the files nor the user's images, at any size."""
    samples = np.arange(12 * 20 * 3, dtype=np.uint16).reshape(12, 20, 3) * 50
    (tmp_path / "result.png").write_bytes(png.encode(samples))
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples/2x1.png").write_bytes(png.encode(samples))
    monkeypatch.setattr(pictures, "PREVIEW", 10)
    monkeypatch.setattr(pictures, "READABLE", 1)
    for module in (pictures, gallery):
        monkeypatch.setattr(module, "decode", lambda *_: pytest.fail("decoded"))
    write_report(
        tmp_path,
        {"image": "x", "outputs": ["result.png", "samples/2x1.png"]},
        {},
        before=np.zeros((12, 20, 1)),
        inputs=[image_io.to_array(samples[::-1], name="mine")],
        samples={"result.png": samples, "samples/2x1.png": samples},
    )
    page = Page(tmp_path / "report.html")
    titles = [a["data-title"] for a in page.all("img") if "src" in a]
    assert titles == ["before", "result", "samples/2x1", "input"]
    assert page.all("a", href="samples/2x1.png")
    expected = skimage.measure.block_reduce(samples[::-1], (2, 2, 1), np.mean) / 65535
    mine = next(a for a in page.all("img") if a.get("data-title") == "input")["src"]
    np.testing.assert_allclose(shown(mine) / 255, expected, atol=0.51 / 255)


def test_index(tmp_path):
    names = [EVIL.replace("/", ""), "a b%", "c", "javascript:alert(1)", "later"]
    for name in names[:4]:
        (tmp_path / name).mkdir()
    for name in (*names[:2], names[3]):
        (tmp_path / name / "report.html").touch()
        write_image(tmp_path / name / "result.png", np.full((300, 500, 3), (0.8, 0.4, 0.2)))
    write_image(tmp_path / names[0] / "baseline.png", np.full((30, 30, 3), 0.5))
    write_image(tmp_path / "given.png", np.full((20, 30, 3), 0.25))
    grey = np.full((20, 3000, 1), 0.5)
    write_image(tmp_path / "a b%" / "result.png", grey, bit_depth=16, alpha=grey[..., 0])
    images = [
        {"image": n, "status": "done", "psnr_y": 30.125 + i, "baseline_psnr_y": 29.0, "steps": 4}
        for i, n in enumerate(names)
    ]
    images[2] = {"image": "c", "status": "failed", "error": EVIL, "psnr_y": None, "steps": 0}
    images[2]["input"] = str(tmp_path / "given.png")
    images[4] = {"image": "later", "status": "stopped", "steps": 3, "seconds": 1.5}
    images[4]["input"] = "x" * 5000
    images[3]["input"] = str(tmp_path / "given.png")
    before, samples = np.zeros((80, 40, 1)), {"result.png": np.zeros((80, 20), np.uint8)}
    write_report(tmp_path / names[3], images[3], {}, before=before, samples=samples)
    write_index(tmp_path, images)
    page = Page(tmp_path / "index.html")
    assert len(page.all("script")) == 1
    assert EVIL in page.text
    links = [a["href"] for a in page.all("a")]
    assert [unquote(a) for a in links] == [f"{n}/report.html" for n in (*names[:2], names[3])]
    assert not any(re.match(r"[a-z]+:|/", a) for a in links)
    text = " ".join(page.text.split())
    for words in ("3 done 1 failed 1 stopped", "30.12", "+1.12", "31.46", "+2.46"):
        assert words in text, "counts, figures and gains, and at the foot their means"
    whats = [a["alt"] for a in page.all("img")]
    assert whats == ["before", "result", "result", "before", "before", "result"]
    small = [a["src"].split(",", 1) for a in page.all("img")]
    sizes = []
    for kind, data in small:
        assert kind == "data:image/jpeg;base64"
        assert len(data) < 4000
        sizes.append(Image.open(io.BytesIO(base64.b64decode(data))))
    expected = [(30, 30), (128, 77), (128, 1), (30, 20), (40, 80), (20, 80)]
    assert [s.size for s in sizes] == expected
    for image, colour in zip(sizes, ((128,) * 3, (204, 102, 51), (191,), (64,) * 3)):
        np.testing.assert_allclose(np.asarray(image).mean((0, 1)), colour, atol=2)


def test_index_of_nothing(tmp_path):
    write_index(tmp_path, [])
    assert "0 done" in Page(tmp_path / "index.html").text


def test_large_pictures_are_reduced(tmp_path, monkeypatch):
    samples = np.arange(12 * 20 * 3, dtype=np.uint16).reshape(12, 20, 3) * 50
    (tmp_path / "a b.png").write_bytes(png.encode(samples))
    whole = pictures.of_file(tmp_path, "a b.png")
    assert base64.b64decode(whole["src"].split(",")[1]) == (tmp_path / "a b.png").read_bytes()
    assert whole["size"] == whole["full"] == (20, 12)
    monkeypatch.setattr(pictures, "PREVIEW", 10)
    for known in (None, samples):
        small = pictures.of_file(tmp_path, "a b.png", known)
        assert (small["size"], small["full"], small["href"]) == ((10, 6), (20, 12), "a%20b.png")
        (tmp_path / "b.png").write_bytes(base64.b64decode(small["src"].split(",")[1]))
        expected = skimage.measure.block_reduce(samples, (2, 2, 1), np.mean)
        made = decode(tmp_path / "b.png", 1000).samples
        np.testing.assert_allclose(made, expected, atol=0.51)
    (tmp_path / "thin.png").write_bytes(png.encode(samples.reshape(1, -1, 3)))
    assert pictures.of_file(tmp_path, "thin.png")["size"] == (10, 1)
    monkeypatch.setattr(pictures, "READABLE", 100)
    assert pictures.of_file(tmp_path, "a b.png")["src"] == ""
    write_report(tmp_path, {"image": "x", "outputs": ["a b.png"]}, {}, before=None)
    page = Page(tmp_path / "report.html")
    assert not [a for a in page.all("img") if "src" in a], "just linked"
    assert page.all("a", href="a%20b.png")


def test_first_frames_of_a_video_are_compared(tmp_path):
    (tmp_path / "v/result").mkdir(parents=True)
    for number, value in enumerate((0.2, 0.6)):
        write_image(tmp_path / f"v/result/{number:05d}.png", np.full((20, 30, 1), value))
    metrics = {"image": "v", "status": "done", "outputs": ["result/"]}
    before = np.full((20, 30, 1), 0.9)
    first = image_io.to_array(before, name="x")
    write_report(tmp_path / "v", metrics, {}, before=before, inputs=[first])
    page = Page(tmp_path / "v/report.html")
    roles = [a["data-role"] for a in page.all("figure") if "data-role" in a]
    assert roles == ["before", "result", "other"], "the last one is the strip of frames"
    pair = [a["src"] for a in page.all("img") if "src" in a][:2]
    assert [shown(src).mean() for src in pair] == [230, 51]
    assert page.text.count("first frame") == 2
    write_index(tmp_path, [metrics])
    small = [a["src"].split(",")[1] for a in Page(tmp_path / "index.html").all("img")]
    means = [np.asarray(Image.open(io.BytesIO(base64.b64decode(s)))).mean() for s in small]
    np.testing.assert_allclose(means, [230, 51], atol=1)


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
