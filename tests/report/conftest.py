"""A real browser without a network, and the pages that the tests open in it."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from deepinternal.codecs.image_io import read_image
from deepinternal.report.report import write_index, write_report
from deepinternal.writers import to_json
from tests.report.screens import EVIL, LOG
from tests.tiny_methods import photo

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
--disable-background-networking --disable-component-update --force-color-profile=srgb"""


@pytest.fixture(scope="module")
def chromium():
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    path = next(found, None)
    if path is None:
        require = os.environ.get("DEEPINTERNAL_REQUIRE_BROWSER") == "1"
        (pytest.fail if require else pytest.skip)("no Chromium; apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        yield browser
        browser.close()


class Seen:
    """A page without a network, and what it asked for and said."""

    def __init__(self, browser, **options):
        self.asked, self.wrong = [], []
        self._context = browser.new_context(offline=True, **options)
        self._context.on("request", lambda request: self.asked.append(request.url))
        self.page = self._context.new_page()
        self.page.set_default_timeout(10_000)
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda box: (self.wrong.append(box.message), box.dismiss()))

    def go(self, path, width=1000, height=800):
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.goto(path.as_uri())
        return self.page

    def check(self):
        """Nothing may be asked of a network, nothing may go wrong."""
        assert not self.wrong
        assert self.asked
        assert not [u for u in self.asked if not u.startswith(("file:", "data:", "blob:"))]
        self.asked.clear()


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
