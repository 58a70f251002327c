"""Kernels among the outputs, remarks, and results that are smaller than their input."""

import io
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import scipy.io
from PIL import Image

from deepinternal.codecs import image_io
from deepinternal.codecs.kernel_io import read_kernel
from deepinternal.ops.kernels import gaussian_kernel
from deepinternal.report import kernel_picture
from deepinternal.runs import jobs, results, settings
from deepinternal.types import InputError, Output
from tests import tiny_kernels
from tests.engine.test_tensorboard import events
from tests.tiny_methods import photo

SVG = "{http://www.w3.org/2000/svg}"
REMARK = "<b>Rows</b> & 12 of them."


def gaussian(size=13, sigma=(2.2, 0.9), degrees=30.0):
    return np.asarray(gaussian_kernel(size, sigma, theta=np.radians(degrees)))


@pytest.fixture
def inputs(tmp_path):
    """A folder with an image with transparency, its ground truth, and its kernel."""
    folder = tmp_path / "in"
    folder.mkdir()
    pixels = np.round(photo(20)[:12] * 255).astype(np.uint8)
    alpha = np.full((12, 20), 255, np.uint8)
    alpha[:6] = 100
    Image.fromarray(np.dstack([pixels, alpha])).save(folder / "a.png")
    Image.fromarray(np.repeat(np.repeat(pixels, 2, 0), 2, 1)).save(folder / "a_gt.png")
    scipy.io.savemat(folder / "a_kernel.mat", {"Kernel": gaussian(17, (2, 1.1), 60).astype(float)})
    return folder


@pytest.fixture
def run(tmp_path, inputs):
    def start(**fields):
        recipe = tiny_kernels.RECIPE
        config = settings.to_config_dict(recipe)
        config.update({"input": str(inputs), "progress": False, **fields})
        return jobs.run_all(recipe, *settings.split(recipe, config), str(tmp_path / "out"))

    return start


def cells(root):
    """The colours of each drawn kernel's pixels, by (row, column)."""
    found = []
    for group in root.iter(f"{SVG}g"):
        if group.get("class") == "cells":
            found.append({(int(r.get("y")), int(r.get("x"))): r.get("fill") for r in group})
            assert len(found[-1]) == len(group), "one for each pixel"
    return found


def texts(element):
    return ["".join(text.itertext()) for text in element.iter(f"{SVG}text")]


def luma(colour):
    return np.dot([int(colour[i : i + 2], 16) for i in (1, 3, 5)], [0.299, 0.587, 0.114])


def ticks(root, axis):
    """Places and labels of the axes' ticks, by kernel."""
    groups = [g for g in root.iter(f"{SVG}g") if g.get("class") == axis]
    at = "x" if axis == "columns" else "y"
    return [{t.text: float(t.get(at)) for t in g if (t.text or "").isdigit()} for g in groups]


def test_files_of_a_kernel(run, inputs, tmp_path):
    assert run(reference_kernel=str(inputs)) == 0
    out = tmp_path / "out/a"
    assert [p.name for p in (tmp_path / "out").iterdir() if (p / "metrics.json").exists()] == ["a"]
    metrics = json.loads((out / "metrics.json").read_text())
    made = ["result.png"] + [
        f"{name}{suffix}"
        for name in ("kernel", "reference_kernel")
        for suffix in (".png", ".mat", ".npy", ".svg")
    ]
    assert sorted(metrics["outputs"]) == sorted(made)
    wanted = np.asarray(tiny_kernels.estimate(4.0))
    matlab, array = scipy.io.loadmat(out / "kernel.mat")["Kernel"], np.load(out / "kernel.npy")
    np.testing.assert_allclose(matlab, wanted, rtol=1e-5, atol=1e-9)
    np.testing.assert_array_equal(array, matlab)
    assert array.dtype == np.float32
    assert array.sum(dtype=float) == pytest.approx(1, abs=1e-5)
    with Image.open(out / "kernel.png") as image:
        assert (image.size, image.mode) == ((13, 13), "I;16")
        assert np.asarray(image).max() == 65535
    np.testing.assert_allclose(read_kernel(out / "kernel.png"), wanted, atol=2e-5)
    reference = np.load(out / "reference_kernel.npy")
    np.testing.assert_allclose(reference, gaussian(17, (2, 1.1), 60), atol=1e-6)
    both, one = (cells(ET.parse(out / f"{n}.svg")) for n in ("kernel", "reference_kernel"))
    assert [len(c) for c in both] == [13 * 13, 17 * 17]
    assert [len(c) for c in one] == [17 * 17]
    peaks = [max(map(luma, drawn.values())) for drawn in (*both, *one)]
    assert peaks[0] == peaks[2] == max(peaks), "each lights up to its end where it is alone"
    ratio = reference.max() / array.max()
    assert luma(both[1][8, 8]) == pytest.approx(peaks[1])
    assert 0.6 < ratio < 0.8 > peaks[1] / peaks[0], "one scale"


def test_the_result_may_be_smaller(run, inputs, tmp_path):
    """What lies beside the input as its ground truth is neither used nor of a wrong size."""
    assert run() == 0
    out = tmp_path / "out/a"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["output_shape"] == [6, 10, 3]
    assert not [name for name in metrics if "psnr" in name or "truth" in name]
    result, given = (image_io.read_image(p) for p in (out / "result.png", inputs / "a.png"))
    blocks = given.pixels.reshape(6, 2, 10, 2, 3).mean((1, 3))
    np.testing.assert_allclose(result.pixels, blocks, atol=1 / 255)
    assert result.alpha.shape == (6, 10)
    np.testing.assert_allclose(result.alpha[[0, 5], 0], [100 / 255, 1], atol=0.1)
    np.testing.assert_allclose(image_io.read_image(out / "baseline.png").pixels, given.pixels)
    before = (out / "report.html").stat().st_mtime_ns
    assert run() == 0
    assert (out / "report.html").stat().st_mtime_ns == before, "finished, yet done again"


def test_a_ground_truth_is_refused_where_nothing_is_scored(run, inputs, tmp_path):
    with pytest.raises(
        InputError, match=r"^config\.ground_truth: .*tiny_kernels.*; leave it empty$"
    ):
        run(ground_truth=str(inputs / "a_gt.png"))
    assert not (tmp_path / "out").exists()


def test_the_sample_is_not_scored_either(run, tmp_path):
    assert run(input="") == 0
    metrics = json.loads((tmp_path / "out/sample/metrics.json").read_text())
    assert (metrics["status"], metrics["input"]) == ("done", "a small photograph")
    assert "psnr_y" not in metrics


def test_remarks_are_printed_once_and_kept(run, tmp_path, capsys):
    assert run(progress=True) == 0
    lines = capsys.readouterr().err.splitlines()
    last = "Width 4.00 of ['width']."
    assert [line for line in lines if "Rows" in line] == [f"a: {REMARK}"]
    assert [line for line in lines if "Width" in line] == [f"a: {last}"]
    assert lines.index(f"a: {REMARK}") < lines.index(f"a: {last}")
    metrics = json.loads((tmp_path / "out/a/metrics.json").read_text())
    assert metrics["remarks"] == [REMARK, last]
    page = (tmp_path / "out/a/report.html").read_text()
    section = re.search("<h2>Decisions made for this image</h2>(.*?)</section>", page, re.DOTALL)[1]
    escaped = [REMARK.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")]
    escaped.append(last.replace("'", "&#39;"))
    assert re.findall("<li>(.*)</li>", section) == escaped
    assert "<b>Rows" not in page
    assert page.count("Width 4.00") == 1, "not among the metrics, too"
    assert run(progress=True) == 0
    assert "Rows" not in capsys.readouterr().err, "it is finished"


def test_remarks_of_images_side_by_side(run, inputs, tmp_path, capsys):
    (inputs / "b.png").write_bytes((inputs / "a.png").read_bytes())
    parallel = {"images_per_device": 2, "devices": 1, "steps_per_dispatch": 1}
    assert run(progress=True, parallel=parallel) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "Rows" in line]
    assert sorted(lines) == [f"a: {REMARK}", f"b: {REMARK}"]


def test_without_progress_nothing_is_printed(run, tmp_path, capsys):
    assert run() == 0
    assert "Rows" not in capsys.readouterr().err
    assert REMARK in json.loads((tmp_path / "out/a/metrics.json").read_text())["remarks"]


def test_a_report_draws_kernels(run, inputs, tmp_path):
    assert run(reference_kernel=str(inputs)) == 0
    out = tmp_path / "out/a"
    page = (out / "report.html").read_text()
    drawings = re.findall(r"<svg xmlns.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 1, "the reference is beside the kernel, not drawn again"
    assert [len(c) for c in cells(ET.fromstring(drawings[0]))] == [13 * 13, 17 * 17]
    for name in ("kernel", "reference_kernel"):
        for suffix in (".png", ".mat", ".npy", ".svg"):
            assert page.count(f'href="{name}{suffix}"') == 1
    titles = re.findall('data-title="(.*?)"', page)
    assert titles == ["before", "result"], "no small picture of the kernel"
    equation = re.search('<div class="equation">(.*?)</section>', page, re.DOTALL)[1]
    assert re.findall(r"<figcaption>(\w+)<", equation) == ["width", "input", "kernel", "result"]
    assert re.findall("<b>(.*?)</b>", equation) == ["4"]
    (out / "kernel.npy").write_bytes(b"changed")
    assert run(reference_kernel=str(inputs), steps=5) == 0
    assert len(np.load(out / "kernel.npy")) == 13


def test_tensorboard_shows_kernels(run, tmp_path):
    pytest.importorskip("tensorboardX")
    assert run(tensorboard=True) == 0
    found = [v for e in events(tmp_path / "out/a/tensorboard") for v in e.summary.value]
    images = {v.tag: v.image for v in found if v.HasField("image")}
    sizes = {name: (image.height, image.width) for name, image in images.items()}
    assert sizes == {"before": (12, 20), "result": (6, 10), "kernel": (13, 13)}
    with Image.open(io.BytesIO(images["kernel"].encoded_image_string)) as image:
        wanted = np.asarray(tiny_kernels.estimate(4.0))
        shown = np.asarray(image.convert("L")) / 255
    np.testing.assert_allclose(shown, wanted / wanted.max(), atol=1 / 255)


def test_pictures_of_outputs():
    kernel = gaussian() - np.float32(0.001)
    image = np.full((4, 5, 3), 0.5)
    outputs = {"result": Output(image), "kernel": Output(kernel, "kernel")}
    found = results.views(outputs | {"x": Output(np.ones(3), "scalar")})
    assert list(found) == ["result", "kernel"]
    assert found["result"] is image
    np.testing.assert_allclose(found["kernel"].max(), 1)
    np.testing.assert_array_equal(found["kernel"] == 0, kernel <= 0)


@pytest.mark.parametrize(
    ("size", "sigma", "degrees", "labels"),
    [
        (13, (2.2, 0.9), 30.0, ["0", "5", "10"]),
        (41, (6.0, 2.5), 120.0, ["0", "10", "20", "30", "40"]),
        (16, (1.0, 2.0), 0.0, ["0", "5", "10", "15"]),
    ],
)
def test_a_drawing(size, sigma, degrees, labels):
    kernel = gaussian(size, sigma, degrees)
    root = ET.fromstring(kernel_picture.svg({"kernel": kernel}))
    (drawn,) = cells(root)
    assert sorted(drawn) == [(r, c) for r in range(size) for c in range(size)]
    lumas = np.array([[luma(drawn[r, c]) for c in range(size)] for r in range(size)])
    order = np.argsort(kernel, axis=None)
    assert (np.diff(lumas.ravel()[order]) > -1).all(), "lighter is more"
    assert np.ptp(lumas) > 180
    cell = 312 // size
    for axis in ("rows", "columns"):
        wanted = {text: pytest.approx((int(text) + 0.5) * cell) for text in labels}
        assert ticks(root, axis) == [wanted]
    weights = kernel.astype(np.float64).ravel()
    rows, columns = (index.ravel() for index in np.indices(kernel.shape))
    covariance = np.cov([columns, rows], aweights=weights, ddof=0)
    values, axes = np.linalg.eigh(covariance)
    x, y = axes[:, 1]
    angle = np.degrees(np.arctan2(y, x)) % 180
    words = " ".join(texts(root))
    assert f"{size} × {size} high-resolution pixels" in words
    shown = re.search(r"σ (\S+) and (\S+), long axis (\S+)°", words).groups()
    np.testing.assert_allclose([*map(float, shown)][:2], np.sqrt(values[::-1]), atol=0.00501)
    apart = (float(shown[2]) - angle + 90) % 180 - 90
    assert abs(apart) < 0.0501
    assert abs((angle - degrees - 90 * (sigma[0] < sigma[1]) + 90) % 180 - 90) < 0.5, "of the test"
    middle = (size - 1) / 2
    assert f"row {middle:.2f}, column {middle:.2f}" in words
    cross = next(g for g in root.iter(f"{SVG}g") if g.get("class") == "cross")
    place = [float(x) for x in re.findall(r"[\d.]+", cross.get("transform"))]
    assert place == pytest.approx([size * cell / 2] * 2, abs=0.01)


def test_the_colour_bar_has_values():
    kernel = gaussian(5, (1.0, 1.0))
    root = ET.fromstring(kernel_picture.svg({"kernel": kernel}))
    bar = next(g for g in root.iter(f"{SVG}g") if g.get("class") == "bar")
    height = 62 * 5
    places = {float(t.text): float(t.get("y")) for t in bar.iter(f"{SVG}text")}
    assert len(places) >= 3
    for value, y in places.items():
        assert y == pytest.approx(height * (1 - value / kernel.max()), abs=0.01)
    rects = [r for r in bar.iter(f"{SVG}rect") if r.get("fill") != "none"]
    assert sum(float(r.get("height")) for r in rects) == pytest.approx(height, abs=0.5)
    assert luma(rects[0].get("fill")) < 40 < 200 < luma(rects[-1].get("fill"))


def test_drawings_of_unusual_kernels():
    """Off the centre, round, of one pixel, with negative values, with a name to be escaped."""
    shifted = np.zeros((7, 7))
    shifted[1, 2], shifted[1, 3] = 0.25, 0.75
    found = kernel_picture.moments(shifted)
    assert found.centre == pytest.approx((1, 2.75))
    assert found.sigmas == pytest.approx((np.sqrt(0.25 * 0.75), 0))
    assert found.angle == pytest.approx(0)
    assert kernel_picture.moments(shifted.T).angle == pytest.approx(90)
    for kernel, words in (
        (gaussian(9, (1, 1)), "σ 1.00 and 1.00, round"),
        (np.ones((1, 1)), "σ 0.00 and 0.00, round"),
        (np.outer([-1, 0, 3, 0, -1], [-1, 0, 3, 0, -1]), "negative values"),
    ):
        name = "<k> &"
        root = ET.fromstring(kernel_picture.svg({name: kernel / kernel.sum()}))
        said = texts(root)
        assert said[0] == name
        assert any(words in text for text in said), said
        assert len(cells(root)[0]) == kernel.size
