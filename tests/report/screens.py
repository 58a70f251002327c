"""What the screen of a browser shows of a report, and how a mouse acts on it."""

import io
import re

import numpy as np
from PIL import Image

EVIL = "\"><script>alert('1')%41#?ü&amp;"
LOG = [{"step": s, "loss": 1 / s, "learning_rate": 0.1**s, "programs": 3} for s in range(1, 13)]
DIVIDER, PANE, OVER, STAGE = ".divider", ".pane", ".over", ".stage"


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


def screen_of(page, box):
    """The colour on the screen a fifth of the way into a box."""
    x, y = (box[a] + box[b] / 5 for a, b in (("x", "width"), ("y", "height")))
    clip = {"x": x, "y": y, "width": 1, "height": 1}
    return pixels(io.BytesIO(page.screenshot(clip=clip)))[0, 0]
