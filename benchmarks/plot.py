"""Line plots of what was measured, as SVG or PNG files."""

import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepinternal.types import InputError

DOTTED = 50  # points at most that are drawn as such

Points = Sequence[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        x: label of the horizontal axis.
        y: label of the vertical axis.
        lines: by name, (x, y) in order.
        marks: by name, single points of another source, drawn as crosses.
        log_x: whether x is logarithmic.
        log_y: whether y is.
        levels: by name, horizontal dashed lines.
    """

    x: str
    y: str
    lines: Mapping[str, Points]
    marks: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    log_x: bool = False
    log_y: bool = False
    levels: Mapping[str, float] = dataclasses.field(default_factory=dict)


def check() -> None:
    """Raises InputError where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("matplotlib is not installed: pip install .[bench]")


def draw(path: str | Path, panels: Sequence[Panel]) -> None:
    """Writes panels side by side; the file's ending says in which format.

    Raises:
        InputError: matplotlib is not installed.
    """
    check()
    import matplotlib
    from matplotlib.figure import Figure

    # Text as text, and nothing that differs between two runs on the same figures.
    style = {"svg.fonttype": "none", "svg.hashsalt": "deepinternal", "font.size": 9}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(4.6 * len(panels), 3.4), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, panel in zip(axes, panels, strict=True):
            _fill(axis, panel)
        suffix = Path(path).suffix.lower()
        figure.savefig(path, metadata={"Date": None} if suffix == ".svg" else None, dpi=120)


def _fill(axis, panel: Panel) -> None:
    for name, points in panel.lines.items():
        marker = "." if len(points) <= DOTTED else None
        axis.plot(*zip(*points, strict=True), marker=marker, label=name, linewidth=1.2)
    for name, point in panel.marks.items():
        axis.plot(*point, "x", label=name, markersize=7, markeredgewidth=2)
    for name, level in panel.levels.items():
        axis.axhline(level, linestyle="--", linewidth=0.8, color="0.4", label=name)
    if panel.log_x:
        axis.set_xscale("log")
        _label(axis.xaxis)
    if panel.log_y:
        axis.set_yscale("log")
        _label(axis.yaxis)
    axis.set(xlabel=panel.x, ylabel=panel.y)
    axis.grid(alpha=0.3)
    if len(panel.lines) + len(panel.marks) + len(panel.levels) > 1:
        axis.legend(fontsize=7)


def _label(axis) -> None:
    """Labels a logarithmic axis at powers of ten; a short one at 1, 2, 5, 10, ..."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
