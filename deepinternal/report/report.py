"""Self-contained pages: a report per image and an index of them; they work without a network.

Markup, style and scripts are the files in templates/. Here are the values that go into them:
pictures as addresses of themselves, curves as places in a drawing, tables.
"""

import base64
import contextlib
import importlib.metadata
import io
import platform
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

import deepinternal
from deepinternal.codecs.image_io import decode, to_array, write_image
from deepinternal.codecs.kernel_io import read_kernel
from deepinternal.codecs.png import encode
from deepinternal.codecs.video_io import natural
from deepinternal.files import atomic_write_text
from deepinternal.report import charts, films, kernel_picture
from deepinternal.report.charts import is_number
from deepinternal.report.pages import templates
from deepinternal.types import InputError
from deepinternal.writers import read_jsonl

PROGRESS = "progress"  # folder of the pictures of a run's training, in that of the image
PREVIEW = 2048  # longest side of a picture in a page, in pixels
READABLE = 150_000_000  # pixels, most that a picture to be reduced may have
THUMBNAIL = 160  # longest side of a picture in the index, in pixels
_FIGURES = {"psnr_y": "PSNR, luma", "ssim_y": "SSIM, luma", "psnr_rgb": "PSNR, RGB"}
_MOMENTS = 8  # of training that are shown, at most
_PACKAGES = ("jax", "jaxlib", "numpy", "flax", "optax")


def write_report(
    folder: Path,
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    before: np.ndarray | None,
    inputs: Sequence[str] = (),
) -> None:
    """Writes `report.html` beside the results of one image, of whatever there is of them.

    Args:
        folder: the image's folder, with the files that `metrics` names and train.jsonl.
        metrics: contents of metrics.json.
        config: the config as plain types.
        before: (H, W, C) in [0, 1], what to compare the result with, written as `baseline.png`;
            None where there is nothing.
        inputs: the user's files, where `metrics` does not name the only one.
    """
    if before is not None:
        write_image(folder / "baseline.png", before)
    outputs = [n for n in metrics.get("outputs", ()) if (folder / n).exists()]
    log = read_jsonl(folder / "train.jsonl")
    drawn = charts.charts(log)
    kernels = _kernels(folder, outputs)
    shown = {name for kernel in kernels for name in kernel["files"]}
    others = [n for n in outputs if n not in shown]
    page = templates().get_template("report.html")
    text = page.render(
        title=str(metrics["image"]),
        metrics=metrics,
        figures=_figures(metrics),
        pictures=_pictures(folder, others, inputs or [str(metrics.get("input", ""))], metrics),
        films=[
            films.film(folder / name)
            for name in sorted(outputs, key=lambda name: name != "result.mp4")
            if name.endswith(".mp4")
        ],
        kernels=kernels,
        remarks=metrics.get("remarks") or (),
        files=[_link(n) for n in others if not n.endswith((".png", ".mp4"))],
        progress=_progress(folder),
        traceback=(folder / "traceback.txt").is_file(),
        charts=drawn,
        curves=[c["points"] for c in drawn],
        frame=charts.FRAME,
        size=charts.SIZE,
        tables={
            "Metrics": _flat({k: v for k, v in metrics.items() if k not in ("spans", "remarks")}),
            "Config": _flat(config),
            "Environment": environment(metrics.get("device")),
        },
    )
    atomic_write_text(folder / "report.html", text)


def write_index(workdir: Path, images: Sequence[Mapping[str, Any]]) -> None:
    """Writes `index.html`: one row per image with a small picture, linked to its report.

    Args:
        workdir: the work folder.
        images: contents of the images' metrics.json.
    """
    names = [n for n in ("psnr_y", "ssim_y") if any(n in m for m in images)]
    columns = [("steps", "steps", ".0f"), ("seconds", "seconds", ".1f")]
    for name in names:
        digits = 2 if name.startswith("psnr") else 4
        columns.append((name, f"{_FIGURES[name]}{_unit(name)}", f".{digits}f"))
        columns.append((f"gain {name}", "gain", f"+.{digits}f"))
    rows = []
    for m in images:
        values = {**m, **{f"gain {n}": _gain(m, n) for n in names}}
        folder = workdir / m["image"]
        rows.append(
            {
                **{key: m.get(key) or "" for key in ("image", "status", "error")},
                "link": f"{quote(m['image'], safe='')}/report.html"
                if (folder / "report.html").exists()
                else "",
                "thumbnail": _thumbnail(folder / "result.png")
                or _thumbnail(folder / "result" / "00000.png"),
                "values": [values.get(key) for key, _, _ in columns],
            }
        )
    done = [r["values"] for r in rows if r["status"] == "done"]
    means = []
    for i in range(len(columns)):
        known = [v[i] for v in done if is_number(v[i])]
        means.append(sum(known) / len(known) if known else None)
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


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields by dotted names."""
    flat = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping) and value
        flat |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def _link(name: str) -> dict[str, str]:
    return {"name": name, "href": quote(name.rstrip("/"), safe="") + "/" * name.endswith("/")}


def _unit(name: str) -> str:
    return " (dB)" if name.startswith("psnr") else ""


def _gain(metrics: Mapping[str, Any], name: str) -> float | None:
    """How much larger a figure is than that of the baseline; None where one is missing."""
    pair = metrics.get(name), metrics.get(f"baseline_{name}")
    return pair[0] - pair[1] if all(map(is_number, pair)) else None


def _figures(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures at the head of a report."""
    return [
        {
            "title": _FIGURES[name],
            "value": metrics[name],
            "baseline": metrics.get(f"baseline_{name}"),
            "gain": _gain(metrics, name),
            "digits": 2 if name.startswith("psnr") else 4,
            "unit": "dB" if name.startswith("psnr") else "",
        }
        for name in _FIGURES
        if metrics.get(name) is not None
    ]


def _address(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _reduce(samples: np.ndarray, longest: int) -> np.ndarray:
    """Means over blocks of (H, W[, C]) samples, so that no side is longer than `longest`."""
    height, width = samples.shape[:2]
    step = -(-max(height, width) // longest)
    if step == 1:
        return samples
    y, x = min(step, height), min(step, width)
    blocks = samples[: height // y * y, : width // x * x]
    mean = blocks.reshape(height // y, y, width // x, x, -1).mean((1, 3), dtype=np.float32)
    return (mean.round() if samples.dtype.kind == "u" else mean).astype(samples.dtype)


def _picture(path: Path) -> dict[str, Any]:
    """A PNG file for a page: its address and size there, reduced to what a screen shows.

    The address of one that is too large even for reducing is empty: there is just the link to it.
    """
    with path.open("rb") as file:
        data = file.read(24)
        width, height = struct.unpack(">II", data[16:24])
        picture = _link(path.name) | {"full": (width, height), "size": (width, height), "src": ""}
        if width * height > READABLE:
            return picture
        data += file.read()
    if max(width, height) > PREVIEW:
        samples = _reduce(decode(path, width * height), PREVIEW)
        picture["size"] = samples.shape[1::-1]
        data = encode(samples)
    return picture | {"src": _address(data)}


def _source(path: str) -> dict[str, Any] | None:
    """The user's own file, which may be of any kind and anywhere; None where it cannot be read."""
    try:
        samples = decode(Path(path), READABLE)
        pixels = to_array(_reduce(samples, PREVIEW)).pixels
    except InputError:
        return None
    size = pixels.shape[1::-1]
    src = _address(encode(np.round(pixels * 255).astype(np.uint8)))
    return {"name": path, "href": "", "full": samples.shape[1::-1], "size": size, "src": src}


def _strip(folder: Path, name: str) -> dict[str, Any] | None:
    """A picture with some of the frames in a folder."""
    made = films.strip(folder / name)
    if made is None:
        return None
    samples, count = _reduce(made[0], PREVIEW), made[1]
    sizes = {"full": made[0].shape[1::-1], "size": samples.shape[1::-1]}
    note = {"title": name.rstrip("/"), "role": "other", "note": f"some of {count} frames"}
    return _link(name) | sizes | note | {"src": _address(encode(samples))}


def _pictures(
    folder: Path, outputs: list[str], inputs: Sequence[str], metrics: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The pictures of a report: before, result, the other outputs, frames without a film, inputs."""
    names = {"before": "baseline.png", "result": "result.png"}
    names |= {Path(n).stem: n for n in outputs if n.endswith(".png") and n != "result.png"}
    found = []
    for title, name in names.items():
        if (folder / name).is_file():
            peak = metrics.get(f"{title}_max")
            note = f"white is {peak:.4g}" if is_number(peak) else ""
            role = title if name in ("baseline.png", "result.png") else "other"
            found.append(_picture(folder / name) | {"title": title, "role": role, "note": note})
    folders = [n for n in outputs if n.endswith("/") and f"{n[:-1]}.mp4" not in outputs]
    found += filter(None, (_strip(folder, name) for name in folders))
    own = sorted(folder.glob("input-[0-9]*.png"), key=natural)
    own = [p for p in (folder / "input.png", *own) if p.is_file()]
    sources = map(_picture, own) if own else map(_source, inputs)
    for number, source in enumerate(sources, 1):
        if source and source["src"] not in [p["src"] for p in found]:
            title = "input" if number == 1 else f"input {number}"
            found.append(source | {"title": title, "role": "other", "note": ""})
    return found


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
        pictures.append({"drawn": drawn, "files": files, "links": [_link(n) for n in files]})
    return pictures


def _progress(folder: Path) -> list[dict[str, Any]]:
    """Some of the pictures of the result that were made during training, small."""
    paths = sorted((folder / PROGRESS).glob("result-[0-9]*.png"), key=natural)
    chosen = np.linspace(0, len(paths) - 1, min(len(paths), _MOMENTS)).round().astype(int)
    return [
        {
            "src": _thumbnail(paths[i]),
            "href": f"{PROGRESS}/{paths[i].name}",
            "step": int(paths[i].stem.split("-")[1]),
        }
        for i in chosen
    ]


def _thumbnail(path: Path) -> str:
    """The address of a small JPEG of a result; empty where there is none."""
    from PIL import Image

    try:
        samples = _reduce(decode(path, READABLE), 2 * THUMBNAIL)
    except InputError:
        return ""
    pixels = np.round(to_array(samples).pixels * 255).astype(np.uint8)
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=80)
    return _address(file.getvalue(), "jpeg")
