"""The pages in a real browser without a network: what is seen, and what mouse, touch, keys do."""

import io
import json
import re
import zipfile
from urllib.parse import unquote

import jax
import numpy as np
import pytest
from PIL import Image, ImageCms

from deepinternal.codecs import profiles
from deepinternal.codecs.image_io import read_image, write_image
from deepinternal.codecs.kernel_io import write_kernel
from deepinternal.report.report import write_index, write_report
from deepinternal.writers import to_json
from tests.report.conftest import Seen
from tests.tiny_methods import photo

pytestmark = pytest.mark.browser

EVIL = "\"><script>alert('1')%41#?ü&amp;"
LOG = [{"step": s, "loss": 1 / s, "learning_rate": 0.1**s, "programs": 3} for s in range(1, 13)]
DIVIDER, PANE, OVER, STAGE = ".divider", ".pane", ".over", ".stage"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Pages of three images: an evil name with a ground truth, one without, one that failed."""
    given, out = tmp_path_factory.mktemp("inputs"), tmp_path_factory.mktemp("out")
    large = Image.fromarray(np.round(photo(64)[:48] * 255).astype(np.uint8))
    small = large.resize((32, 24), Image.Resampling.BICUBIC)
    images = [
        {
            "image": EVIL,
            "status": "done",
            "psnr_y": 31.4159,
            "baseline_psnr_y": 30.25,
            "seconds": 2.5,
        },
        {"image": "plain", "status": "done", "seconds": 12.25},
        {
            "image": "broken",
            "status": "failed",
            "error": "broken.png: is not a PNG",
            "seconds": 0.0,
        },
    ]
    images[0] |= {"ssim_y": 0.912345, "baseline_ssim_y": 0.9, "ground_truth": f"x/{EVIL}_gt.png"}
    for m in images[:2]:
        folder = out / m["image"]
        folder.mkdir()
        small.save(given / f"{m['image']}.png")
        large.save(folder / "result.png")
        large.convert("L").point(lambda v: 255 - v).save(folder / "uncertainty.png")
        np.save(folder / "own 1.npy", np.arange(3))
        m |= {"input": str(given / f"{m['image']}.png"), "uncertainty_max": 0.0625, "steps": 12}
        m |= {"outputs": ["result.png", "uncertainty.png", "own 1.npy"]}
        (folder / "train.jsonl").write_text("".join(to_json(e) + "\n" for e in LOG))
    (out / "broken").mkdir()
    for m in images:
        options = {"before": None}
        if m["status"] == "done":
            before = np.asarray(small.resize((64, 48), Image.Resampling.NEAREST)) / 255
            options = {"before": before, "inputs": [read_image(m["input"])]}
            options["formulas"] = ["input = uncertainty * result + (1 - uncertainty) * input"]
        write_report(out / m["image"], m, {"parallel": {"steps_per_dispatch": 0}}, **options)
        (out / m["image"] / "metrics.json").write_text(to_json(m))
    write_index(out, images)
    return out


@pytest.fixture(scope="module")
def desk(chromium):
    return Seen(chromium)


@pytest.fixture
def visit(desk):
    """Opens a file on the screen of a computer."""
    yield desk.go
    desk.check()


@pytest.fixture
def report(visit, workdir):
    return lambda **size: visit(workdir / EVIL / "report.html", **size)


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def screen(page, selector):
    """What the screen shows of an element, once pictures are decoded and scrolling is done."""
    page.evaluate("Promise.all([...document.images].map(i => i.decode().catch(() => 0)))")
    page.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
    return pixels(io.BytesIO(page.screenshot(clip=box_of(page, selector))))


def seen(page, scale):
    """What the screen shows of the picture, one sample from the middle of each of its pixels."""
    return screen(page, STAGE)[scale // 2 :: scale, scale // 2 :: scale]


def box_of(page, selector):
    page.locator(".screen").scroll_into_view_if_needed()
    return page.locator(selector).bounding_box()


def now(page):
    return int(page.get_attribute(DIVIDER, "aria-valuenow"))


def cut(page):
    """How many pixels of the screen are cut off the upper picture at its right."""
    clip = page.eval_on_selector(OVER, "e => getComputedStyle(e).clipPath")
    sides = re.findall(r"[\d.]+", clip)  # top and right, or one for all where they are equal
    return float(sides[:2][-1])


def middle(box):
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, start, by):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + by[0], start[1] + by[1], steps=4)
    page.mouse.up()


def assert_divided(page, folder, scale):
    """Left of the divider is the picture before, right of it the result; pixel by pixel."""
    shown = seen(page, scale)
    before, result = pixels(folder / "baseline.png"), pixels(folder / "result.png")
    assert abs(before - result).max(-1).mean() > 2, "the test needs two different pictures"
    at = (middle(box_of(page, DIVIDER))[0] - box_of(page, STAGE)["x"]) / scale
    x = np.arange(shown.shape[1]) + 0.5
    below = slice(36 // scale, None)  # of the labels in the corners
    for picture, there in ((before, x < at - 24 / scale), (result, x > at + 24 / scale)):
        assert there.sum() >= 8
        assert abs(shown - picture)[below, there].max() <= 1
    return at / shown.shape[1]


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


def test_the_mouse_moves_the_divider(report, workdir):
    page = report()
    width = box_of(page, STAGE)["width"]
    scale = round(width / 64)
    assert width == 64 * scale, "whole pixels"
    assert assert_divided(page, workdir / EVIL, scale) == pytest.approx(0.5)
    assert cut(page) == pytest.approx(width / 2)
    x, y = middle(box_of(page, DIVIDER))
    drag(page, (x + 5, y), (-width / 4, 30))
    assert now(page) == 25
    assert cut(page) == pytest.approx(0.75 * width, abs=1)
    assert assert_divided(page, workdir / EVIL, scale) == pytest.approx(0.25, abs=0.01)
    page.mouse.click(x + width / 4, y)
    assert now(page) == 75
    assert assert_divided(page, workdir / EVIL, scale) == pytest.approx(0.75, abs=0.01)


def test_a_finger_moves_the_divider(chromium, workdir):
    phone = Seen(chromium, has_touch=True, is_mobile=True)
    page = phone.go(workdir / EVIL / "report.html", width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    width = box_of(page, STAGE)["width"]
    session = page.context.new_cdp_session(page)

    def draw(x, y, by):
        for kind, points in (
            ("touchStart", [{"x": x, "y": y}]),
            *(("touchMove", [{"x": x + by * i / 5, "y": y}]) for i in range(1, 6)),
            ("touchEnd", []),
        ):
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    x, y = middle(box_of(page, DIVIDER))
    draw(x, y, width / 4)
    assert now(page) == pytest.approx(75, abs=1)
    assert cut(page) == pytest.approx(width / 4, abs=2)
    draw(x - width / 8, y, -width / 8)  # on the picture itself
    assert now(page) == pytest.approx(25, abs=1)
    page.touchscreen.tap(x, y)
    assert now(page) == pytest.approx(50, abs=1)
    phone.check()


def test_keys_move_the_divider(report):
    page = report()
    page.get_by_role("slider", name="Divider between before and result").focus()
    keys = ("ArrowLeft", "ArrowLeft", "ArrowRight", "PageUp", "Home", "ArrowLeft", "End")
    for key, expected in zip(keys, (48, 46, 48, 58, 0, 0, 100), strict=True):
        page.keyboard.press(key)
        assert now(page) == expected
    assert cut(page) == 0


def test_zoom_shows_whole_pixels(report, workdir):
    page = report()
    page.get_by_role("button", name="4×").click()
    assert_divided(page, workdir / EVIL, 4)
    box = box_of(page, STAGE)
    assert (box["width"], box["height"]) == (4 * 64, 4 * 48)
    right = screen(page, STAGE)[40:, 160:]  # of the divider, below the label
    expected = pixels(workdir / EVIL / "result.png").repeat(4, 0).repeat(4, 1)[40:, 160:]
    assert abs(right - expected).max() <= 1
    for key, width in (("+", 512), ("-", 256), ("-", 128), ("-", 64), ("+", 128)):
        page.locator(PANE).press(key)
        assert box_of(page, STAGE)["width"] == width
    page.locator(PANE).press("0")
    assert page.get_attribute("[data-zoom=fit]", "aria-pressed") == "true"


def test_an_enlarged_picture_is_panned_with_both_layers_in_place(report, workdir):
    page = report(width=420, height=500)
    page.get_by_role("button", name="8×").click()
    start = page.eval_on_selector(PANE, "e => [e.scrollLeft, e.scrollTop]")
    pane = box_of(page, PANE)
    x, y = pane["x"] + 0.75 * pane["width"], pane["y"] + pane["height"] / 2
    drag(page, (x, y), (30, 5))
    moved = page.eval_on_selector(PANE, "e => [e.scrollLeft, e.scrollTop]")
    assert moved == pytest.approx([start[0] - 30, start[1] - 5], abs=1)
    assert now(page) == 50
    layers = [box_of(page, s) for s in (".under", OVER)]
    assert layers[0] == layers[1]
    assert (layers[0]["width"], layers[0]["height"]) == (512, 384)
    shown = screen(page, PANE)
    divider = middle(box_of(page, DIVIDER))[0]
    assert layers[1]["x"] + 512 - cut(page) == pytest.approx(divider, abs=0.6)
    for name, x in (("baseline", pane["width"] * 0.25), ("result", pane["width"] * 0.75)):
        column = int((x + moved[0]) // 8)
        rows = np.arange(60, int(pane["height"]) - 30)
        picture = pixels(workdir / EVIL / f"{name}.png")
        expected = picture[((rows + moved[1]) // 8).astype(int), column]
        assert abs(shown[rows, int(x)] - expected).max() <= 1


def test_the_wheel_zooms_once_the_picture_has_the_focus(report):
    page = report()
    page.get_by_role("button", name="2×").click()
    page.evaluate("document.activeElement.blur()")

    def turn(by, until):
        x, y = middle(box_of(page, STAGE))
        page.mouse.move(x, y)
        page.mouse.wheel(0, by)
        for _ in range(500):  # turning is answered later, in its own time
            if page.evaluate(until):
                return
            page.wait_for_timeout(20)
        pytest.fail(f"{until} did not come")

    box_of(page, STAGE)  # in view
    top = page.evaluate("scrollY")
    turn(120, f"scrollY > {top}")
    assert box_of(page, STAGE)["width"] == 128
    page.locator(PANE).focus()
    for by, width in ((-120, 256), (120, 128)):
        turn(by, f"document.querySelector('.stage').offsetWidth === {width}")


def test_every_output_opens_in_the_viewer(report, workdir):
    page = report()
    page.get_by_role("button", name="4×").click()
    for title, name in (("uncertainty", "uncertainty"), ("before", "baseline")):
        page.get_by_role("button", name=f"Show {title}").click()
        assert page.text_content(".bar .name") == title
        assert not page.locator(DIVIDER).is_visible()
        assert abs(seen(page, 4) - pixels(workdir / EVIL / f"{name}.png")).max() <= 1
    page.get_by_role("button", name="Show input").click()
    assert box_of(page, STAGE)["width"] == 4 * 32
    page.get_by_role("button", name="before | result").click()
    assert page.locator(DIVIDER).is_visible()
    assert_divided(page, workdir / EVIL, 4)


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
def test_a_run_that_came_to_nothing(visit, tmp_path, shown):
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


def test_a_smaller_result_is_shown_at_the_size_of_what_it_is_compared_with(visit, tmp_path):
    large = np.round(photo(64)[:48] * 255).astype(np.uint8)
    small = large.reshape(24, 2, 32, 2, 3).mean((1, 3)).round().astype(np.uint8)
    Image.fromarray(small).save(tmp_path / "result.png")
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    files = [f"kernel{suffix}" for suffix in (".png", ".mat", ".npy", ".svg")]
    (tmp_path / "kernel.svg").write_text("<svg/>")
    for name in files[:3]:
        write_kernel(tmp_path / name, kernel)
    metrics = {"image": "x", "status": "done", "outputs": ["result.png", *files]}
    write_report(tmp_path, metrics, {}, before=large / 255)
    page = visit(tmp_path / "report.html")
    box = box_of(page, STAGE)
    scale = round(box["width"] / 64)
    assert (box["width"], box["height"]) == (64 * scale, 48 * scale)
    shown = seen(page, scale)
    below = slice(36 // scale, None)
    assert abs(shown - large)[below, :28].max() <= 1, "before, pixel by pixel"
    doubled = np.repeat(np.repeat(small, 2, 0), 2, 1).astype(int)
    assert abs(shown - doubled)[below, 36:].max() <= 1, "the result, each pixel four times"
    page.click("[aria-label='Show result']")
    assert box_of(page, STAGE)["width"] % 32 == 0
    cell = page.locator(".kernel .cells rect").nth(4)
    assert (cell.get_attribute("x"), cell.get_attribute("y")) == ("1", "1")
    cell.scroll_into_view_if_needed()
    middle_of = screen_of(page, cell.bounding_box())
    assert abs(middle_of - [0xFD, 0xE7, 0x25]).max() <= 1, "the largest value, off the cross"


def screen_of(page, box):
    """The colour on the screen a fifth of the way into a box."""
    x, y = (box[a] + box[b] / 5 for a, b in (("x", "width"), ("y", "height")))
    clip = {"x": x, "y": y, "width": 1, "height": 1}
    return pixels(io.BytesIO(page.screenshot(clip=clip)))[0, 0]


def test_colours_beyond_srgb_are_shown_as_their_profile_says(chromium, tmp_path):
    """The values on the screen, which is sRGB, are those that Little CMS computes."""
    path, adobe = tmp_path / "given.png", profiles.adobe_rgb()
    values = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(values).save(path, icc_profile=adobe)
    image = read_image(path)
    write_image(tmp_path / "result.png", image.pixels, about=image.metadata)
    metrics = {"image": "a", "status": "done", "outputs": ["result.png"], "input": str(path)}
    write_report(tmp_path, metrics, {}, before=image.pixels[::-1], inputs=[image])
    page = chromium.new_context(offline=True).new_page()
    page.goto((tmp_path / "report.html").as_uri())
    drawn = page.evaluate("""() => [...document.images].map(image => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
    })""")
    page.context.close()
    given = ImageCms.ImageCmsProfile(io.BytesIO(adobe))
    screen = ImageCms.createProfile("sRGB")
    seen = ImageCms.profileToProfile(Image.fromarray(values), given, screen, renderingIntent=1)
    seen = np.asarray(seen).astype(int)
    assert len(drawn) >= 3
    for pixels in drawn:
        shown = np.array(pixels).reshape(6, 8, 4)[..., :3]
        assert min(abs(shown - seen).max(), abs(shown - seen[::-1]).max()) <= 1
    assert abs(values.astype(int) - seen).max() > 20
