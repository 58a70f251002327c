"""The viewer of a report in a real browser: what is seen, and what mouse, touch and keys do."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from deepinternal.codecs import profiles
from deepinternal.codecs.image_io import read_image, write_image
from deepinternal.codecs.kernel_io import write_kernel
from deepinternal.report.report import write_report
from tests.report.conftest import Seen
from tests.report.screens import (
    DIVIDER,
    EVIL,
    OVER,
    PANE,
    STAGE,
    assert_divided,
    box_of,
    cut,
    drag,
    middle,
    now,
    pixels,
    screen,
    screen_of,
    seen,
)
from tests.tiny_methods import photo

pytestmark = pytest.mark.browser


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
    for samples in drawn:
        shown = np.array(samples).reshape(6, 8, 4)[..., :3]
        assert min(abs(shown - seen).max(), abs(shown - seen[::-1]).max()) <= 1
    assert abs(values.astype(int) - seen).max() > 20
