"""One self-contained page per image and an index of them; no network, no scripts from elsewhere."""

import base64
import html
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepinternal.runtime.files import atomic_write_text
from deepinternal.runtime.image_io import decode, write_image
from deepinternal.runtime.png import encode
from deepinternal.runtime.writers import read_jsonl

PREVIEW = 2048  # longest side of a picture in a page, in pixels
READABLE = 150_000_000  # pixels, most that a picture to be reduced may have

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse}td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:left}
.pair{position:relative;display:inline-block;max-width:100%}.pair img{display:block;max-width:100%}
.pair .over{position:absolute;inset:0;clip-path:inset(0 50% 0 0)}
.pair .over img{width:100%;height:100%}input[type=range]{width:100%}
.slide{display:inline-block;max-width:100%}
figure{display:inline-block;margin:.5em 1em .5em 0}figure img{max-width:320px}
"""


def _picture(path: Path) -> str:
    """A PNG file as the address of itself; reduced where it is larger than a screen shows.

    What is too large even for reducing is linked.
    """
    data = path.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    if width * height > READABLE:
        return path.name
    if max(width, height) > PREVIEW:
        samples = decode(path, width * height)
        step = -(-max(width, height) // PREVIEW)
        small = samples[: height // step * step, : width // step * step]
        small = small.reshape(height // step, step, width // step, step, -1)
        data = encode(small.mean((1, 3), dtype=np.float32).round().astype(samples.dtype))
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _table(values: Mapping[str, Any]) -> str:
    rows = (
        f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(_short(v))}</td></tr>"
        for k, v in values.items()
    )
    return f"<table>{''.join(rows)}</table>"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def curve(points: Sequence[tuple[float, float]], label: str) -> str:
    """An SVG line plot of (x, y) points with the range of y written at the axis."""
    points = [(x, y) for x, y in points if y is not None]
    if len(points) < 2:
        return ""
    xs, ys = np.array(points, np.float64).T
    low, high = ys.min(), ys.max()
    px = 70 + 520 * (xs - xs[0]) / max(xs[-1] - xs[0], 1e-12)
    py = 190 - 170 * (ys - low) / max(high - low, 1e-12)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(px, py))
    text = '<text x="{}" y="{}" font-size="12">{}</text>'
    return (
        '<svg viewBox="0 0 620 230" width="620" role="img">'
        f"<title>{html.escape(label)}</title>"
        f'<path d="M70 20V190H590" fill="none" stroke="#888"/>'
        f'<polyline points="{line}" fill="none" stroke="#06c" stroke-width="1.5"/>'
        + text.format(2, 25, f"{high:.4g}")
        + text.format(2, 194, f"{low:.4g}")
        + text.format(70, 210, f"step {xs[0]:g}")
        + text.format(520, 210, f"step {xs[-1]:g}")
        + text.format(250, 226, html.escape(label))
        + "</svg>"
    )


def _page(title: str, body: str) -> str:
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{html.escape(title)}</h1>{body}</html>\n"
    )


def write_report(
    folder: Path, metrics: Mapping[str, Any], config: Mapping[str, Any], *, before: np.ndarray
) -> None:
    """Writes `report.html` beside the results of one image.

    Args:
        folder: the image's folder, with its PNG files and train.jsonl.
        metrics: contents of metrics.json.
        config: the config as plain types.
        before: (H, W, C) in [0, 1], what to compare the result with.
    """
    write_image(folder / "baseline.png", before)
    slide = (
        "this.previousElementSibling.lastElementChild.style.clipPath="
        "'inset(0 '+(100-this.value)+'% 0 0)'"
    )
    pair = (
        '<div class=slide><div class=pair><img alt="result" src="{}">'
        '<div class=over><img alt="before" src="{}"></div></div>'
        f'<input type=range value=50 aria-label="before and after" oninput="{slide}"></div>'
    ).format(_picture(folder / "result.png"), _picture(folder / "baseline.png"))
    names = [n for n in ("input.png", *metrics.get("outputs", ())) if n.endswith(".png")]
    others = [folder / n for n in names if n != "result.png" and (folder / n).is_file()]
    figures = "".join(
        f'<figure><img alt="" src="{_picture(p)}"><figcaption>{html.escape(p.stem)}</figcaption>'
        "</figure>"
        for p in others
    )
    log = read_jsonl(folder / "train.jsonl")
    names = dict.fromkeys(k for e in log for k in e if k not in ("step", "seconds", "stage"))
    curves = "".join(curve([(e["step"], e[n]) for e in log if n in e], n) for n in names)
    body = (
        f"<p>Left of the slider: before; right of it: the result.</p>{pair}{figures}"
        f"<h2>Figures</h2>{_table(metrics)}<h2>Training</h2>{curves}"
        f"<h2>Config</h2>{_table(config)}"
    )
    atomic_write_text(folder / "report.html", _page(str(metrics["image"]), body))


def write_index(workdir: Path, images: Sequence[Mapping[str, Any]]) -> None:
    """Writes `index.html`: one row per image, linked to its report."""
    from urllib.parse import quote

    columns = ("status", "steps", "seconds", "psnr_y", "ssim_y", "baseline_psnr_y", "error")
    head = "".join(f"<th>{c}</th>" for c in ("image", *columns))
    rows = []
    for m in images:
        name = html.escape(m["image"])
        linked = (workdir / m["image"] / "report.html").exists()
        link = f'<a href="{quote(m["image"])}/report.html">{name}</a>' if linked else name
        cells = "".join(f"<td>{html.escape(_short(m.get(c, '')))}</td>" for c in columns)
        rows.append(f"<tr><td>{link}</td>{cells}</tr>")
    body = f"<table><tr>{head}</tr>{''.join(rows)}</table>"
    atomic_write_text(workdir / "index.html", _page("deepinternal results", body))
