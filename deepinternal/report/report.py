"""Writes self-contained pages, which work offline: a report per image and an index of them.

Markup, style and scripts are in templates/; this module computes the values for them.
"""

import functools
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

import deepinternal
from deepinternal.codecs.image_io import ImageFile, from_float
from deepinternal.codecs.metadata import NONE, png_chunks
from deepinternal.codecs.png import encode
from deepinternal.files import atomic_write_bytes, atomic_write_text
from deepinternal.report import charts, equations, films, gallery
from deepinternal.report.downloads import download
from deepinternal.report.gallery import BASELINE
from deepinternal.report.pages import templates
from deepinternal.report.pictures import link
from deepinternal.writers import flat, is_number, read_jsonl

PROGRESS = gallery.PROGRESS
# Figures against a ground truth: title, unit, digits.
_FIGURES = {"psnr_y": ("PSNR, luma", "dB", 2), "ssim_y": ("SSIM, luma", "", 4)}
_FIGURES |= {"psnr_rgb": ("PSNR, RGB", "dB", 2)}
# Entries of metrics.json that are not rows of the table of metrics.
_ELSEWHERE = ("spans", "remarks", "version", "git", "packages", "jax_version", "device")
_PACKAGES = ("jax", "jaxlib", "numpy", "flax", "optax", "orbax-checkpoint")


def write_report(
    folder: Path,
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    before: np.ndarray | None,
    alpha: np.ndarray | None = None,
    inputs: Sequence[ImageFile] | None = None,
    samples: Mapping[str, np.ndarray] | None = None,
    formulas: Sequence[str] = (),
) -> None:
    """Writes `report.html` beside the results of one image, as far as they exist.

    Args:
        folder: The image's folder, with train.jsonl and the files that `metrics` names.
        metrics: The contents of metrics.json.
        config: The config as plain types.
        before: (H, W, C) in [0, 1], the image to compare the result with, written as
            `baseline.png`; None if there is none.
        alpha: (H, W), its alpha; None: it is opaque.
        inputs: The user's images, or the first frame of a video; None: read from the file that
            `metrics` names.
        samples: The samples of pictures among the files, by name, if known; others are decoded if
            needed.
        formulas: How the outputs compose the inputs, as `Recipe.equations` returns them.
    """
    samples = dict(samples or {})
    if before is not None:
        samples[BASELINE] = from_float(before, np.empty((1, 1, 1), np.uint8), alpha=alpha)
        _write_baseline(folder, samples[BASELINE], inputs)
    outputs = [n for n in metrics.get("outputs", ()) if (folder / n).exists()]
    kernels = gallery.kernels(folder, outputs)
    drawn = {name for kernel in kernels for name in kernel["files"]}
    others = [n for n in outputs if n not in drawn]
    videos = sorted((n for n in outputs if n.endswith(".mp4")), key="result.mp4".__ne__)
    shown = [films.film(folder / name) for name in videos]
    pictures = gallery.pictures(folder, others, inputs, metrics, samples)
    small = gallery.small_pictures(folder, inputs, samples)
    log = read_jsonl(folder / "train.jsonl")
    page = templates().get_template("report.html")
    text = page.render(
        metrics=metrics,
        figures=[_figure(metrics, n) for n in _FIGURES if metrics.get(n) is not None],
        download=download(folder, outputs, {p["file"] for p in (*pictures, *shown)}),
        pictures=pictures,
        thumbnails=gallery.before_and_result(folder, metrics, small),
        equations=[equations.parts(formula, small, metrics) for formula in formulas],
        films=shown,
        kernels=kernels,
        files=[link(n) for n in others if not n.endswith((".png", ".mp4"))],
        progress=gallery.moments(folder),
        traceback=(folder / "traceback.txt").is_file(),
        charts=charts.charts(log),
        totals=charts.figures(log, metrics),
        frame=charts.FRAME,
        size=charts.SIZE,
        tables=_tables(metrics, config),
    )
    atomic_write_text(folder / "report.html", text)


def _write_baseline(folder: Path, samples: np.ndarray, inputs: Sequence[ImageFile] | None) -> None:
    """Writes `baseline.png` with the colour profile of the input."""
    about = inputs[0].metadata.colours if inputs else NONE
    atomic_write_bytes(folder / BASELINE, encode(samples, png_chunks(about, samples.shape)))


def _tables(metrics: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the values of the tables of a report by their headings."""
    known = {k: v for k, v in metrics.items() if k not in _ELSEWHERE and v not in ("", None, [])}
    return {"Metrics": flat(known), "Config": flat(config), "Environment": _made_with(metrics)}


def write_index(workdir: Path, images: Sequence[Mapping[str, Any]]) -> None:
    """Writes `index.html`, with one row per image: small pictures and a link to its report.

    Args:
        workdir: The work folder.
        images: The contents of the images' metrics.json. Small pictures are taken from the reports.
    """
    columns = {"steps": ("steps", ".0f"), "seconds": ("time (s)", ".1f")}
    names = [n for n in ("psnr_y", "ssim_y") if any(n in m for m in images)]
    for name in names:
        title, unit, digits = _FIGURES[name]
        unit = f" ({unit})" if unit else ""
        columns[name] = (title + unit, f".{digits}f")
        columns[f"gain {name}"] = (f"{title.split(',')[0]} gain{unit}", f"+.{digits}f")
    rows = []
    for m in images:
        folder, page = workdir / m["image"], f"{quote(m['image'])}/report.html"
        small = gallery.of_page(folder / "report.html")
        if not small:  # the report is from an earlier version, or missing
            files = gallery.small_pictures(folder, None, {})
            small = gallery.before_and_result(folder, m, files)
        page = page if (folder / "report.html").exists() else ""
        gains = {f"gain {n}": _figure(m, n)["gain"] for n in names}
        rows.append({**m, **gains, "link": page, "thumbnails": small})
    done = [row for row in rows if row["status"] == "done"]
    known = {k: [r[k] for r in done if is_number(r.get(k))] for k in columns}
    means = {k: sum(values) / len(values) if values else None for k, values in known.items()}
    counts = {s: sum(r["status"] == s for r in rows) for s in ("done", "failed", "stopped")}
    page = templates().get_template("index.html")
    text = page.render(rows=rows, columns=columns, means=means, counts=counts)
    atomic_write_text(workdir / "index.html", text)


def environment() -> dict[str, str]:
    """Returns the versions of the packages that compute, and the platform."""
    found = {"deepinternal": deepinternal.__version__}
    found |= {name: _version(name) for name in _PACKAGES}
    return found | {"python": platform.python_version(), "platform": platform.platform()}


@functools.cache
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _made_with(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Returns the environment of a result: that in metrics.json, else the current one."""
    found = environment() | (metrics.get("packages") or {})
    if git := metrics.get("git"):
        found["commit"] = git["commit"] + (", with changes" if git["dirty"] else "")
    more = {"deepinternal": metrics.get("version"), "device": metrics.get("device")}
    return found | {name: value for name, value in more.items() if value}


def _figure(metrics: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns a figure against a ground truth, with its gain over that of the baseline."""
    title, unit, digits = _FIGURES[name]
    value, baseline = metrics.get(name), metrics.get(f"baseline_{name}")
    gain = value - baseline if is_number(value) and is_number(baseline) else None
    found = {"title": title, "unit": unit, "digits": digits}
    return found | {"value": value, "baseline": baseline, "gain": gain}
