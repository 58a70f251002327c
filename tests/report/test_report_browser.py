"""The pages in a real browser without a network: what is seen, and what mouse, touch, keys do."""

import json
import re
import zipfile
from urllib.parse import unquote

import jax
import numpy as np
import pytest
from PIL import Image

from deepinternal.report.report import write_report
from tests.report.screens import (
    DIVIDER,
    EVIL,
    LOG,
    seen,
)

pytestmark = pytest.mark.browser


def test_figures_and_tables_are_those_of_the_files(report, workdir):
    page = report()
    metrics = json.loads((workdir / EVIL / "metrics.json").read_text())
    assert page.text_content("h1").startswith(EVIL)
    cards = page.locator(".key > div").all_inner_texts()
    gain = metrics["psnr_y"] - metrics["baseline_psnr_y"]
    assert f"{metrics['psnr_y']:.2f} dB" in cards[0]
    assert f"{gain:+.2f} over {metrics['baseline_psnr_y']:.2f}" in cards[0]
    assert f"{metrics['ssim_y']:.4f}" in cards[1]
    tables = page.evaluate(
        "[...document.querySelectorAll('.tables table')]"
        ".map(t => Object.fromEntries([...t.rows].map(r => [...r.cells].map(c => c.textContent))))"
    )
    assert tables[0]["image"] == EVIL
    assert tables[0]["ground_truth"].endswith(f"{EVIL}_gt.png")
    assert float(tables[0]["ssim_y"]) == pytest.approx(metrics["ssim_y"])
    assert tables[1]["parallel.steps_per_dispatch"] == "0"
    assert tables[2]["jax"] == jax.__version__
    assert page.locator("section .key").inner_text().split() == ["programs", "3"]
    peak = page.locator(".pictures figcaption", has_text="uncertainty").inner_text()
    assert f"white stands for {metrics['uncertainty_max']:.4g}" in peak


def test_links_lead_to_the_files(report, workdir):
    page = report()
    page.get_by_role("link", name="result.png", exact=True).click()
    assert unquote(page.url).endswith(f"/{EVIL}/result.png")
    assert page.evaluate("document.images[0].naturalWidth") == 64
    page.go_back()
    page.get_by_role("link", name="All images").click()
    page.get_by_role("link", name=EVIL).click()
    assert page.text_content("h1").startswith(EVIL)


def test_a_curve_is_read_by_mouse_and_keys(report, workdir):
    page = report()
    log = LOG
    chart = page.locator(".chart", has_text="learning rate")
    svg, output = chart.locator("svg"), chart.locator("output")
    svg.scroll_into_view_if_needed()
    assert output.inner_text() == ""

    def check(entry):
        step, value = output.inner_text().removeprefix("step ").split(": ")
        assert int(step) == entry["step"]
        assert float(value) == pytest.approx(entry["learning_rate"], rel=1e-3)

    curve, box = chart.locator(".curve").bounding_box(), svg.bounding_box()
    page.mouse.move(curve["x"] + curve["width"] * 5 / 11, box["y"] + box["height"] / 2)
    check(log[5])
    page.mouse.move(0, 0)
    assert output.inner_text() == ""
    page.keyboard.press("Tab")  # so that what follows counts as by keyboard
    svg.focus()
    check(log[5])
    keys = ("ArrowRight", "End", "ArrowLeft", "Home", "ArrowLeft", "ArrowRight")
    for key, index in zip(keys, (6, 11, 10, 0, 0, 1), strict=True):
        page.keyboard.press(key)
        check(log[index])


def test_the_index_is_sorted_by_mouse_and_keys(visit, workdir):
    page = visit(workdir / "index.html")
    files = workdir.glob("*/metrics.json")
    metrics = {m["image"]: m for m in (json.loads(path.read_text()) for path in files)}
    assert page.locator(".counts span").all_inner_texts() == ["2 done", "1 failed", "0 stopped"]
    assert "broken.png: is not a PNG" in page.locator("tbody .error").inner_text()

    def names():
        return page.locator("tbody .image").all_inner_texts()

    def by(key):
        return sorted(metrics, key=lambda name: metrics[name][key])

    head = page.locator("th", has_text="time (s)")
    head.get_by_role("button").click()
    assert names() == by("seconds")
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").press("Enter")
    assert names() == by("seconds")[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="PSNR, luma").press("Space")
    assert names()[0] == EVIL, "the only one with a figure; missing ones stay below"
    page.get_by_role("button", name="PSNR, luma").press("Space")
    assert names()[0] == EVIL
    assert head.get_attribute("aria-sort") is None
    foot = page.locator("tfoot td").all_inner_texts()
    done = [m for m in metrics.values() if m["status"] == "done"]
    assert float(foot[1]) == pytest.approx(np.mean([m["seconds"] for m in done]), abs=0.051)
    assert foot[2] == f"{metrics[EVIL]['psnr_y']:.2f}"
    sizes = page.evaluate("Array.from(document.images, i => i.naturalWidth)")
    assert sizes == [64, 64, 64, 64], "thumbnails before and after"


@pytest.mark.parametrize("shown", ["nothing", "input", "before"])
def test_a_run_without_a_result(visit, tmp_path, shown):
    metrics = {"image": "x", "status": "failed", "error": "the reason", "steps": 0}
    if shown == "input":
        Image.new("L", (12, 8), 90).save(tmp_path / "y.jpg")
        metrics["input"] = str(tmp_path / "y.jpg")
    before = np.full((8, 12, 3), 0.4) if shown == "before" else None
    write_report(tmp_path, metrics, {}, before=before)
    page = visit(tmp_path / "report.html")
    assert page.locator(".error").inner_text() == "the reason"
    assert page.locator(".viewer").is_visible() == (shown != "nothing")
    if shown != "nothing":
        assert page.text_content(".bar .name") == shown
        assert not page.locator(DIVIDER).is_visible()
        assert abs(seen(page, 8) - (90 if shown == "input" else 102)).max() <= 2


@pytest.mark.parametrize("page", ["index.html", f"{EVIL}/report.html"], ids=["index", "report"])
def test_dark_and_narrow(visit, workdir, page):
    shown = visit(workdir / page, width=340)
    for scheme, least, most in (("dark", 0, 60), ("light", 200, 255)):
        shown.emulate_media(color_scheme=scheme)
        assert shown.evaluate("document.documentElement.scrollWidth") <= 340
        get = "name => getComputedStyle(document.body)[name]"
        style = (shown.evaluate(get, name) for name in ("backgroundColor", "color"))
        back, text = (np.mean([int(n) for n in re.findall(r"\d+", c)]) for c in style)
        assert least <= back <= most
        assert abs(back - text) > 150


def test_a_phone_shows_every_figure_of_the_index(visit, workdir):
    page = visit(workdir / "index.html", width=360)
    card = page.locator("tbody tr").first
    for cell in card.locator("td, th").all():
        box = cell.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    label = "e => getComputedStyle(e, '::before').content + e.textContent"
    words = card.locator("td.number").evaluate_all(f"cells => cells.map({label})")
    assert any("PSNR, luma (dB)" in w and w.endswith("31.42") for w in words)


def test_all_outputs_are_downloaded(visit, workdir):
    """Those that are pictures of the page, and those that are not."""
    folder = workdir / EVIL
    page = visit(folder / "report.html")
    with page.expect_download() as caught:
        page.get_by_role("button", name="Download all outputs").click()
    assert caught.value.suggested_filename.endswith(".zip")
    with zipfile.ZipFile(caught.value.path()) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    names = json.loads((folder / "metrics.json").read_text())["outputs"]
    assert found == {name: (folder / name).read_bytes() for name in names}


def test_an_equation_lies_in_a_row_or_wraps_between_terms(report):
    for width, rows in ((1000, [0, 0, 0, 0, 0]), (360, [0, 0, 0, 1, 1])):
        page = report(width=width)
        boxes = [i.bounding_box() for i in page.locator(".equation img").all()]
        tops = sorted({round(box["y"]) for box in boxes})
        assert [tops.index(round(box["y"])) for box in boxes] == rows
        assert all(0 < box["x"] < width - box["width"] for box in boxes)
        assert all(box["width"] >= 64 for box in boxes)
