"""The tables of `benchmarks.suite`."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.published import SOURCES, TRAINED, beside
from benchmarks.sets import SIZES
from benchmarks.tables import number, table

Run = Mapping[str, Any]
CASE = ("set", "factor", "degradation")
FIGURES = (
    *("psnr_y", "ssim_y", "baseline_psnr_y", "baseline_ssim_y"),
    *("seconds", "compile_seconds", "steps", "kernel_correlation"),
)
_HEAD = (
    *("row", "Y-PSNR", "over seeds", "SSIM", "kernel"),
    *("seconds", "compiling", "steps", "images"),
)
_NONE = ("",) * 4
_HOW = {
    "cubic": "cubic kernel",
    "random": "random kernels, which are known",
    "unknown": "random kernels, which are not known",
}


def _case(row: Mapping[str, Any]) -> tuple:
    return tuple(row[name] for name in CASE)


def summary(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Returns the figures of each row: of a preset on a set, a factor and a degradation.

    Args:
        runs: One mapping for each seed of a row: `CASE`, preset, seed, images.

    Returns:
        `CASE`, preset, seeds (their number), images (the number of those that are done with all
        seeds), failed; means over these images and over the seeds of each of `FIGURES`, None if
        unknown; least and greatest: the means of psnr_y of single seeds.
    """
    rows: dict[tuple, list[Run]] = {}
    for run in runs:
        rows.setdefault((*_case(run), run["preset"]), []).append(run)
    found = []
    for key, members in rows.items():
        done = [{m["image"]: m for m in r["images"] if m["status"] == "done"} for r in members]
        common = [name for name in done[0] if all(name in seed for seed in done)]
        row = dict(zip((*CASE, "preset"), key, strict=True)) | {"seeds": len(members)}
        row |= {"images": len(common)}
        row["failed"] = len({m["image"] for r in members for m in r["images"]} - {*common})
        for name in FIGURES:
            means = [_mean([seed[image].get(name) for image in common]) for seed in done]
            row[name] = _mean(means)
            if name == "psnr_y":
                known = [mean for mean in means if mean is not None]
                row |= {"least": min(known, default=None), "greatest": max(known, default=None)}
        found.append(row)
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    return statistics.fmean(values) if values and None not in values else None


def _overview(rows: Sequence[Mapping[str, Any]]) -> str:
    """Formats one line for each set, factor and degradation."""
    presets = list(dict.fromkeys(row["preset"] for row in rows))
    lines = []
    for case in dict.fromkeys(map(_case, rows)):
        of_case = {row["preset"]: row for row in rows if _case(row) == case}
        first = max(of_case.values(), key=lambda row: row["images"])
        cells = [
            f"{case[0]} x{case[1]}, {case[2]}",
            str(first["images"]),
            _both(first, "baseline_"),
        ]
        cells += [_both(of_case[p], "") if p in of_case else "" for p in presets]
        best = next((p for p in beside(*case) if p.source not in TRAINED), None)
        whole = SIZES.get(case[0], first["images"])
        part = "" if whole == first["images"] else f"; all {whole} images"
        lines.append([*cells, f"{best.psnr:.2f} ({best.method}{part})" if best else ""])
    head = ["set", "images", "cubic interpolation", *(f"`{p}`" for p in presets)]
    return table([*head, "best published, not trained on other images"], lines)


def _both(figures: Mapping[str, Any], prefix: str) -> str:
    psnr, ssim = (figures.get(f"{prefix}{name}") for name in ("psnr_y", "ssim_y"))
    return f"{number(psnr, '.2f')} / {number(ssim, '.4f')}"


def report(runs: Sequence[Run]) -> str:
    """Formats an overview, a table for each set, factor and degradation, and the sources."""
    rows, sources = summary(runs), {}
    parts = [_overview(rows)]
    for case in dict.fromkeys(map(_case, rows)):
        members = [row for row in rows if _case(row) == case]
        of_case = [run for run in runs if _case(run) == case]
        published = beside(*case)
        sources |= {p.source: SOURCES[p.source] for p in published}
        lines = [_baseline(members), *map(_line, members)]
        lines += [
            [f"{p.method} [{p.source}]", f"{p.psnr:.2f}", "", number(p.ssim, ".4f"), *_NONE, "all"]
            for p in published
        ]
        parts.append(f"{_title(case)}\n\n{table(_HEAD, lines)}\n\n{_images(of_case)}")
    if sources:
        parts.append("\n".join(f"* {name}: {text}" for name, text in sources.items()))
    return "\n\n".join(parts) + "\n"


def _title(case: tuple) -> str:
    name, factor, degradation = case
    size = f", {SIZES[name]} images in all" if name in SIZES else ""
    return f"{name} x{factor}, {_HOW[degradation]}{size}"


def _baseline(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    row = max(rows, key=lambda row: row["images"])
    values = number(row["baseline_psnr_y"], ".2f"), "", number(row["baseline_ssim_y"], ".4f")
    return ["cubic interpolation", *values, *_NONE, str(row["images"])]


def _line(row: Mapping[str, Any]) -> list[str]:
    spread = [number(row[name], ".2f") for name in ("least", "greatest")]
    failed = f", {row['failed']} failed" if row["failed"] else ""
    return [
        f"`{row['preset']}`",
        number(row["psnr_y"], ".2f"),
        "-".join(spread) if row["seeds"] > 1 else "",
        number(row["ssim_y"], ".4f"),
        number(row["kernel_correlation"], ".3f"),
        number(row["seconds"], ".1f"),
        number(row["compile_seconds"], ".1f"),
        number(row["steps"], ".0f"),
        f"{row['images']}{failed}",
    ]


def _images(runs: Sequence[Run]) -> str:
    """Formats the Y-PSNR and SSIM of each image, means over the seeds."""
    presets = list(dict.fromkeys(run["preset"] for run in runs))
    names = list(dict.fromkeys(m["image"] for run in runs for m in run["images"]))
    lines = []
    for name in names:
        cells = [name, _cell(runs, name, "baseline_")]
        for preset in presets:
            cells.append(_cell([run for run in runs if run["preset"] == preset], name, ""))
        lines.append(cells)
    return table(["image", "cubic interpolation", *(f"`{p}`" for p in presets)], lines)


def _cell(runs: Sequence[Run], image: str, prefix: str) -> str:
    found = [m for run in runs for m in run["images"] if m["image"] == image]
    done = [m for m in found if m["status"] == "done"]
    if not done:
        return found[0]["status"] if found and not prefix else "-"
    names = [f"{prefix}{name}" for name in ("psnr_y", "ssim_y")]
    return _both({name: _mean([m.get(name) for m in done]) for name in names}, prefix)
