"""Computes the coordinates of the curves of a log, for a page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from deepinternal.writers import is_number

POINTS = 2000  # approximate maximum number of points per curve
MOST_STAGES = 12  # maximum number of stages that a chart marks; of more, every second or third, ...

# The size of a curve's drawing, and the left, right, top and bottom of its axes. A drawing is as
# wide as a phone, so that its text keeps its size there.
SIZE, FRAME = (330, 220), (60, 316, 22, 176)

# Series that the engine logs for each run: title and unit. Totals are not drawn as curves.
_TITLES = {"compile_seconds": ("compile time", "s"), "memory_mb": ("memory", "MB")}
_WORDS = {"psnr": "PSNR", "ssim": "SSIM"}
_TOTALS = ("compile_seconds", "programs")


def charts(log: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns a drawing of every number of the log that changes; equal series share a drawing."""
    series: dict[tuple, list[str]] = {}
    for name, points in _series(log).items():
        if not _is_figure(name, points):
            series.setdefault(points, []).append(name)
    stages = [(e["step"], str(e["stage"])) for e in log if "stage" in e]
    stages = [s for s, old in zip(stages, [(0, None), *stages]) if s[1] != old[1]]
    stages = stages[:: max(-(-len(stages) // MOST_STAGES), 1)]
    return [
        _chart(" = ".join(map(_label, names)), thin(points), stages)
        for points, names in series.items()
    ]


def figures(log: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the last values of the numbers that are not curves: totals and constant ones.

    Args:
        log: The lines of the log.
        metrics: The contents of metrics.json, which have the totals at the end of the run.

    Returns:
        The `title`, `unit` and `value` of each.
    """
    found = []
    for name, points in _series(log).items():
        if _is_figure(name, points):
            value = metrics.get(name, points[-1][1]) if name in _TOTALS else points[-1][1]
            found.append({**dict(zip(("title", "unit"), _title(name))), "value": value})
    return found


def _series(log: Sequence[Mapping[str, Any]]) -> dict[str, tuple[tuple, ...]]:
    """Returns the numbers of a log by name: (step, value), with the value None at gaps."""
    found = {}
    for name in dict.fromkeys(k for e in log for k in e if k not in ("step", "seconds", "stage")):
        # JSON has no NaN; null takes its place, and becomes a gap in the curve.
        points = tuple((e["step"], e[name]) for e in log if name in e)
        numbers = [is_number(v) for _, v in points if v is not None]
        if numbers and all(numbers):
            found[name] = points
    return found


def _is_figure(name: str, points: Sequence[tuple]) -> bool:
    """Whether the last value represents a series: a total, or constant from its second line."""
    values = [v for _, v in points]
    if name in _TOTALS or values[-1] is None:
        return values[-1] is not None
    return len({*values[1:]}) <= 1 and (len(values) != 2 or values[0] == values[1])


def _title(name: str) -> tuple[str, str]:
    """Returns the title of a series on a page, and its unit."""
    words = [_WORDS.get(word, word) for word in name.split("_")]
    return _TITLES.get(name) or (" ".join(words), "dB" if "PSNR" in words else "")


def _label(name: str) -> str:
    title, unit = _title(name)
    return f"{title} ({unit})" if unit else title


def _chart(label: str, points: Sequence[tuple], stages: Sequence[tuple]) -> dict[str, Any]:
    """Returns the values that a template needs to draw one curve.

    Args:
        label: The name of the values.
        points: (step, value), ordered by step; the value is None at gaps.
        stages: (first step, name) of each stage.
    """
    left, right, top, bottom = FRAME
    values = [v for _, v in points if v is not None]
    log = min(values) > 0 and max(values) > 10 * min(values)
    log = log and not any(n in label for n in _WORDS.values())  # decibels are already logarithmic
    x_low, x_high = points[0][0], points[-1][0]
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.1 * abs(low) - 0.01, high + 0.1 * abs(high) + 0.01
    scale = math.log10 if log else float

    def x(step):
        return round(left + (right - left) * (step - x_low) / max(x_high - x_low, 1), 1)

    def y(value):
        share = (scale(value) - scale(low)) / (scale(high) - scale(low))
        return round(bottom - (bottom - top) * share, 1)

    places = [(s, v, x(s), None if v is None else y(v)) for s, v in points]
    steps = [t for t in ticks(x_low, x_high) if t == round(t)]
    return {
        "label": label,
        "log": log,
        "points": places,
        "path": _path([p[2:] for p in places]),
        "x": [(x(t), f"{t:.10g}") for t in steps],
        "y": [(y(t), f"{t:.10g}") for t in (log_ticks if log else ticks)(low, high)],
        "stages": [(x(s), name) for s, name in stages if x_low <= s <= x_high],
    }


def ticks(low: float, high: float) -> list[float]:
    """Returns two to six round numbers from `low` to `high`."""
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-300) / 2))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= 5)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [k * step for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Returns powers of ten from `low` to `high`, with their 2- and 5-fold if there are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    within = [k for k in powers if low <= 10.0**k <= high]
    if len(within) > 2:
        return [10.0**k for k in within[:: -(-len(within) // 6)]]
    return [t for k in powers for m in (1, 2, 5) if low <= (t := m * 10.0**k) <= high]


def _path(places: Sequence[tuple[float, float | None]]) -> str:
    """Returns the SVG path data of a curve with gaps; a point between two gaps becomes a dot."""
    parts, pen = [], "M{} {}h0"
    for x, y in places:
        parts.append("" if y is None else pen.format(x, y))
        pen = "M{} {}h0" if y is None else "L{} {}"
    return "".join(parts)


def thin(points: Sequence[tuple]) -> list[tuple]:
    """Returns about POINTS points or fewer: the minimum, maximum and a gap of each interval."""
    stretch = -(-2 * len(points) // POINTS)
    if stretch <= 2:
        return list(points)
    kept = []
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        known = [p for p in part if p[1] is not None]
        ends = {f(known, key=lambda p: p[1]) for f in (min, max)} if known else set()
        ends |= set([p for p in part if p[1] is None][:1])
        kept += sorted(ends, key=lambda p: p[0])
    return kept
