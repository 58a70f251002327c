"""Tables and plots of `benchmarks.growth`, and how slopes are found."""

import csv
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common, plot

FLAT = 0.01  # of the memory: if the second half of a run adds less, it counts as flat
_MEMORY = ("memory MB, first", "last")

Row = dict[str, Any]


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Least-squares slope of y over x in the second half of the points; nan where there is none."""
    half = len(x) // 2
    x, y = np.asarray(x[half:], float), np.asarray(y[half:], float)
    x = x - x.mean() if len(x) else x
    return float(x @ y / (x @ x)) if x.any() else float("nan")


def is_flat(x: Sequence[float], memory: Sequence[float]) -> bool:
    """Whether the fitted rise over the second half is less than FLAT of what is in use."""
    rise = slope(x, memory) * (x[-1] - x[len(x) // 2])
    return abs(rise) < FLAT * statistics.fmean(memory)


def _column(rows: Sequence[Row], name: str) -> list[float]:
    return [row[name] for row in rows]


def size_table(rows: Sequence[Row]) -> str:
    """Every size."""
    times = ("seconds", "cpu_seconds", "start_seconds", "compile_seconds")
    cells = [
        [
            f"{r['side']}x{r['side']}",
            *(f"{r[name]:.1f}" for name in times),
            f"{1e3 * r['step_seconds']:.1f}",
            f"{r['rest_seconds']:.1f}",
            f"{r['peak_mb']:.0f}",
            f"{r['programs']}, {r['compilations']}",
        ]
        for r in rows
    ]
    head = ["image", "seconds", "CPU s", "start s", "compile s", "ms/step", "rest s", "peak MB"]
    return common.table([*head, "programs"], cells)


def image_table(rows: Sequence[Row]) -> str:
    """What the images after the first cost, and whether memory is flat."""
    seconds = [s for s in _column(rows, "seconds") if s is not None]
    count = lambda name: f"{rows[0][name]} + {rows[-1][name] - rows[0][name]}"
    quarter = max(1, len(seconds[1:]) // 4)
    head = ["images", "first s", "others s", "first quarter", "last quarter", *_MEMORY]
    row = [
        str(len(rows)),
        f"{seconds[0]:.1f}",
        *(
            f"{statistics.median(part):.3f}"
            for part in (seconds[1:], seconds[1:][:quarter], seconds[-quarter:])
        ),
        *_memory(_column(rows, "image"), rows, 1e3),
        f"{count('programs')}, {count('compilations')}",
    ]
    return common.table([*head, "KB/image", "programs"], [row])


def step_table(rows: Sequence[Row]) -> str:
    """Whether steps become slower, and whether memory is flat."""
    steps, times = _column(rows, "step"), [1e3 * s for s in _column(rows, "step_seconds")]
    quarter = max(1, len(times) // 4)
    row = [
        str(steps[-1]),
        *(f"{statistics.median(p):.2f}" for p in (times, times[:quarter], times[-quarter:])),
        f"{1e3 * slope(steps, times):+.3f}",
        *_memory(steps, rows, 1e6),
    ]
    head = ["steps", "ms/step", "first quarter", "last quarter", "ms/step per 1000"]
    return common.table([*head, *_MEMORY, "KB/1000 steps"], [row])


def _memory(x: Sequence[float], rows: Sequence[Row], unit: float) -> list[str]:
    """First and last memory, and KB per unit of x with a word on it."""
    memory = _column(rows, "memory_mb")
    word = "flat" if is_flat(x, memory) else "grows"
    return [f"{memory[0]:.1f}", f"{memory[-1]:.1f}", f"{unit * slope(x, memory):+.1f}, {word}"]


def _line(rows: Sequence[Row], x: str, y: str, unit: float = 1) -> list[tuple[float, float]]:
    return [(row[x], unit * row[y]) for row in rows if row[y] is not None]


def size_panels(rows: Sequence[Row]) -> list[plot.Panel]:
    """Seconds and memory over the side."""
    parts = {"whole": "seconds", "CPU": "cpu_seconds", "compile": "compile_seconds"}
    parts |= {"rest": "rest_seconds", "step": "step_seconds"}
    kept = {k: [p for p in _line(rows, "side", v) if p[1] > 0] for k, v in parts.items()}
    kept = {name: points for name, points in kept.items() if points}
    side = "side of the image, pixels"
    peak = {"peak": _line(rows, "side", "peak_mb")}
    return [
        plot.Panel(side, "seconds", kept, log_x=True, log_y=True),
        plot.Panel(side, "peak memory, MB", peak, log_x=True, log_y=True),
    ]


def image_panels(rows: Sequence[Row]) -> list[plot.Panel]:
    """Memory, seconds and programs over the images."""
    memory, seconds = (_line(rows, "image", name) for name in ("memory_mb", "seconds"))
    counts = {"of the library": "programs", "all": "compilations"}
    programs = {k: [(0, 0), *_line(rows, "image", v)] for k, v in counts.items()}
    return [
        plot.Panel("image", "resident memory, MB", {"memory": memory}),
        plot.Panel("image", "seconds of an image", {"seconds": seconds}, log_y=True),
        plot.Panel("image", "programs so far", programs),
    ]


def step_panels(rows: Sequence[Row]) -> list[plot.Panel]:
    """Memory and time over the steps."""
    memory, times = _line(rows, "step", "memory_mb"), _line(rows, "step", "step_seconds", 1e3)
    return [
        plot.Panel("step", "resident memory, MB", {"memory": memory}),
        plot.Panel("step", "ms per step", {"time": times}),
    ]


TABLES = {"size": size_table, "images": image_table, "steps": step_table}
PANELS = {"size": size_panels, "images": image_panels, "steps": step_panels}


def write(folder: Path, kind: str, rows: Sequence[Row]) -> None:
    """`growth_KIND.csv` and `growth_KIND.svg` into a folder."""
    with (folder / f"growth_{kind}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    plot.draw(folder / f"growth_{kind}.svg", PANELS[kind](rows))
