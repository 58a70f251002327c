"""Self-contained pages: a report per image and an index of them; they work without a network.

Markup, style and scripts are the files in templates/. Here are the values that go into them.
"""

import contextlib
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

import deepinternal
from deepinternal.codecs.image_io import ImageFile, decode, from_float
from deepinternal.codecs.kernel_io import read_kernel
from deepinternal.codecs.png import encode
from deepinternal.codecs.video_io import natural
from deepinternal.files import atomic_write_bytes, atomic_write_text
from deepinternal.report import charts, films, kernel_picture
from deepinternal.report.pages import templates
from deepinternal.report.pictures import READABLE, link, of_file, of_samples, thumbnail_of_file
from deepinternal.types import InputError
from deepinternal.writers import flat, is_number, read_jsonl

PROGRESS = "progress"  # folder of the pictures of a run's training, in that of the image
# Figures against a ground truth: title, unit, digits.
_FIGURES = {"psnr_y": ("PSNR, luma", "dB", 2), "ssim_y": ("SSIM, luma", "", 4)}
_FIGURES |= {"psnr_rgb": ("PSNR, RGB", "dB", 2)}
_MOMENTS = 8  # of training that are shown, at most
_PACKAGES = ("jax", "jaxlib", "numpy", "flax", "optax")


def write_report(
    folder: Path,
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    before: np.ndarray | None,
    inputs: Sequence[ImageFile] | None = None,
    samples: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes `report.html` beside the results of one image, of whatever there is of them.

    Args:
        folder: the image's folder, with the files that `metrics` names and train.jsonl.
        metrics: contents of metrics.json.
        config: the config as plain types.
        before: (H, W, C) in [0, 1], what to compare the result with, written as `baseline.png`;
            None where there is nothing.
        inputs: the user's images; None: read from the file that `metrics` names.
        samples: of pictures among the files, by name, where they are known; others are decoded
            where they must be.
    """
    samples = dict(samples or {})
    if before is not None:
        samples["baseline.png"] = from_float(before, np.empty((1, 1, 1), np.uint8))
        atomic_write_bytes(folder / "baseline.png", encode(samples["baseline.png"]))
    outputs = [n for n in metrics.get("outputs", ()) if (folder / n).exists()]
    kernels = _kernels(folder, outputs)
    shown = {name for kernel in kernels for name in kernel["files"]}
    others = [n for n in outputs if n not in shown]
    videos = sorted((n for n in outputs if n.endswith(".mp4")), key="result.mp4".__ne__)
    known = {k: v for k, v in metrics.items() if k not in ("spans", "remarks")}
    text = (
        templates()
        .get_template("report.html")
        .render(
            metrics=metrics,
            figures=[_figure(metrics, n) for n in _FIGURES if metrics.get(n) is not None],
            pictures=_pictures(folder, others, inputs, metrics, samples),
            films=[films.film(folder / name) for name in videos],
            kernels=kernels,
            files=[link(n) for n in others if not n.endswith((".png", ".mp4"))],
            progress=_progress(folder),
            traceback=(folder / "traceback.txt").is_file(),
            charts=charts.charts(read_jsonl(folder / "train.jsonl")),
            frame=charts.FRAME,
            size=charts.SIZE,
            tables={
                "Metrics": flat(known),
                "Config": flat(config),
                "Environment": environment(metrics.get("device")),
            },
        )
    )
    atomic_write_text(folder / "report.html", text)


def write_index(
    workdir: Path, images: Sequence[Mapping[str, Any]], thumbnails: Mapping[str, str] | None = None
) -> None:
    """Writes `index.html`: one row per image with a small picture, linked to its report.

    Args:
        workdir: the work folder.
        images: contents of the images' metrics.json.
        thumbnails: small pictures by image as `pictures.thumbnail` makes them; others are read.
    """
    columns = {"steps": ("steps", ".0f"), "seconds": ("seconds", ".1f")}
    names = [n for n in ("psnr_y", "ssim_y") if any(n in m for m in images)]
    for name in names:
        title, unit, digits = _FIGURES[name]
        columns[name] = (f"{title} ({unit})" if unit else title, f".{digits}f")
        columns[f"gain {name}"] = ("gain", f"+.{digits}f")
    rows = []
    for m in images:
        folder, page = workdir / m["image"], f"{quote(m['image'], safe='')}/report.html"
        small = (thumbnails or {}).get(m["image"]) or thumbnail_of_file(folder / "result.png")
        small = small or thumbnail_of_file(folder / "result" / "00000.png")
        page = page if (folder / "report.html").exists() else ""
        gains = {f"gain {n}": _figure(m, n)["gain"] for n in names}
        rows.append({**m, **gains, "link": page, "thumbnail": small})
    done = [row for row in rows if row["status"] == "done"]
    known = {k: [r[k] for r in done if is_number(r.get(k))] for k in columns}
    means = {k: sum(values) / len(values) if values else None for k, values in known.items()}
    counts = {s: sum(r["status"] == s for r in rows) for s in ("done", "failed", "stopped")}
    page = templates().get_template("index.html")
    text = page.render(rows=rows, columns=columns, means=means, counts=counts)
    atomic_write_text(workdir / "index.html", text)


def environment(device: str | None = None) -> dict[str, str]:
    """Versions of what computes, by name, and the machine; `device` as metrics.json has it."""
    found = {"deepinternal": deepinternal.__version__}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    found |= {"python": platform.python_version(), "platform": platform.platform()}
    return found | ({"device": device} if device else {})


def _figure(metrics: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A figure against a ground truth, and how much larger it is than that of the baseline."""
    title, unit, digits = _FIGURES[name]
    value, baseline = metrics.get(name), metrics.get(f"baseline_{name}")
    gain = value - baseline if is_number(value) and is_number(baseline) else None
    found = {"title": title, "unit": unit, "digits": digits}
    return found | {"value": value, "baseline": baseline, "gain": gain}


def _strip(folder: Path, name: str) -> dict[str, Any] | None:
    """A picture with some of the frames in a folder."""
    made = films.strip(folder / name)
    if made is None:
        return None
    note = {"title": name.rstrip("/"), "role": "other", "note": f"some of {made[1]} frames"}
    return of_samples(made[0], **link(name)) | note


def _pictures(
    folder: Path,
    outputs: list[str],
    inputs: Sequence[ImageFile] | None,
    metrics: Mapping[str, Any],
    samples: Mapping[str, np.ndarray],
) -> list[dict[str, Any]]:
    """The pictures of a report: before, result, the other outputs, frames without a film, inputs."""
    names = {"before": "baseline.png", "result": "result.png"}
    names |= {n.removesuffix(".png"): n for n in outputs if n.endswith(".png")}
    found = []
    for title, name in names.items():
        if (folder / name).is_file():
            peak = metrics.get(f"{title}_max")
            note = f"white is {peak:.4g}" if is_number(peak) else ""
            role = title if name in ("baseline.png", "result.png") else "other"
            picture = of_file(folder, name, samples.get(name))
            found.append(picture | {"title": title, "role": role, "note": note})
    folders = [n for n in outputs if n.endswith("/") and f"{n[:-1]}.mp4" not in outputs]
    found += filter(None, (_strip(folder, name) for name in folders))
    for number, source in enumerate(_inputs(folder, inputs, metrics), 1):
        if source["src"] not in [p["src"] for p in found]:
            title = "input" if number == 1 else f"input {number}"
            found.append(source | {"title": title, "role": "other", "note": ""})
    return found


def _inputs(
    folder: Path, inputs: Sequence[ImageFile] | None, metrics: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What the user gave, or an example that was written beside the results."""
    own = [p.name for p in sorted(folder.glob("input-[0-9]*.png"), key=natural)]
    own = [name for name in ("input.png", *own) if (folder / name).is_file()]
    if own:
        return [of_file(folder, name) for name in own]
    if inputs is not None:
        return [of_samples(image.pixels, image.path) for image in inputs]
    name = str(metrics.get("input", ""))
    try:  # a file may be of any kind and anywhere
        return [of_samples(decode(name, READABLE), name)]
    except InputError:
        return []


def _kernels(folder: Path, outputs: Sequence[str]) -> list[dict[str, Any]]:
    """Drawings of the kernels among the outputs, each beside its reference, and their files."""
    found: dict[str, np.ndarray] = {}
    for name in (n.removesuffix(".svg") for n in outputs if n.endswith(".svg")):
        with contextlib.suppress(InputError):  # the file may have been changed since
            found[name] = read_kernel(folder / f"{name}.npy")
    references = {f"reference_{name}" for name in found} & set(found)
    pictures = []
    for name in (n for n in found if n not in references):
        pair = [n for n in (name, f"reference_{name}") if n in found]
        files = [f"{n}{suffix}" for n in pair for suffix in kernel_picture.SUFFIXES]
        files = [n for n in files if n in outputs]
        drawn = kernel_picture.drawing({n: found[n] for n in pair})
        pictures.append({"drawn": drawn, "files": files, "links": [link(n) for n in files]})
    return pictures


def _progress(folder: Path) -> list[dict[str, Any]]:
    """Some of the pictures of the result that were made during training, small."""
    paths = sorted((folder / PROGRESS).glob("result-[0-9]*.png"), key=natural)
    chosen = np.linspace(0, len(paths) - 1, min(len(paths), _MOMENTS)).round().astype(int)
    return [
        {
            "src": thumbnail_of_file(paths[i]),
            "href": f"{PROGRESS}/{paths[i].name}",
            "step": int(paths[i].stem.split("-")[1]),
        }
        for i in chosen
    ]
