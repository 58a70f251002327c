"""Looks at pages in Chromium at many widths, light and dark; run by hand, for it takes minutes.

    python -m tests.report.look --out=DIR WORKDIR/index.html WORKDIR/*/report.html

Prints what is wrong with each page: parts wider than the screen, small text, weak contrast (under 4.5,
as WCAG 2 counts it), pictures without words, buttons too small for a finger. Screenshots are in DIR.
"""

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTHS = (320, 360, 412, 600, 800, 1024, 1400, 1920)
PHONE = 500  # pixels, under which a screen is touched
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--force-color-profile=srgb")
FAULTS = """() => {
  const found = new Set(), wide = document.documentElement.clientWidth;
  const colour = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => rgb.slice(0, 3)
    .map((v) => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const back = colour(getComputedStyle(e).backgroundColor);
      if (back.length === 3 || back[3] === 1) return back;
    }
    return [255, 255, 255];
  };
  const scrolls = (e) => e.closest(".pane, .drawing, .sheet");
  for (const e of document.body.querySelectorAll("*")) {
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    if (!box.width || !box.height || style.visibility === "hidden" || style.opacity === "0") continue;
    const words = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join(" ");
    const name = `${e.tagName.toLowerCase()}.${e.getAttribute("class") ?? ""} "${words.slice(0, 30)}"`;
    if (box.right > wide + 1 && !scrolls(e)) found.add(`wider than the screen: ${name}`);
    if (e.tagName === "IMG" && !e.alt) found.add("a picture without words");
    if (e.tagName === "BUTTON" && box.height < 32) found.add(`low button: ${name}`);
    if (!words.trim() || ["SCRIPT", "STYLE", "TITLE"].includes(e.tagName)) continue;
    const svg = e.ownerSVGElement, scale = svg ? e.getScreenCTM().a : 1;
    const size = parseFloat(style.fontSize) * scale;
    if (size && size < 10.5) found.add(`text of ${size.toFixed(1)} px: ${name}`);
    if (e.closest(".drawing, .chip, .stage")) continue;
    const [a, b] = [light(colour(svg ? style.fill : style.color)), light(behind(e))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.add(`contrast ${contrast.toFixed(1)}: ${name}`);
  }
  return [...found];
}"""


def main() -> int:
    """Looks at all pages; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder for screenshots")
    parser.add_argument("--widths", default=",".join(map(str, WIDTHS)), help="in pixels")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    wrong = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for width in map(int, args.widths.split(",")):
            phone = {"is_mobile": True, "has_touch": True} if width < PHONE else {}
            size = {"width": width, "height": 800}
            page = browser.new_context(offline=True, viewport=size, **phone).new_page()
            for number, path in enumerate(args.pages):
                page.goto(path.resolve().as_uri())
                for scheme in ("light", "dark"):
                    page.emulate_media(color_scheme=scheme)
                    name = f"{number:03d}-{width}-{scheme}.png"
                    page.screenshot(path=args.out / name, full_page=True)
                    for fault in page.evaluate(FAULTS):
                        wrong += 1
                        print(f"{name} {path}: {fault}")
            page.context.close()
        browser.close()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
