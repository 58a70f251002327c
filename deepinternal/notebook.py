"""A curve of the loss in a notebook, which is updated during a run."""

import sys
import time
from typing import Any

from deepinternal.report.charts import FRAME, SIZE, charts

INTERVAL = 1.0  # minimum time between two drawings, in seconds
_STYLE = "font:11px sans-serif;max-width:480px;background:#fff"


def is_running() -> bool:
    """Whether this process is the kernel of a notebook, or of a program that displays notebooks."""
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class Curve:
    """A callback that draws the loss below a cell. An error in drawing never ends the run."""

    def __init__(self, label: str):
        """Makes a curve without points.

        Args:
            label: The name of the run.
        """
        self._label = label
        self._log: list[dict[str, Any]] = []
        self._handle: Any = None
        self._drawn = -INTERVAL

    def __call__(self, step: int, metrics: dict[str, float]) -> None:
        """Records the loss of a step, and redraws the curve at most once per `INTERVAL`."""
        if "loss" in metrics:
            self._log.append({"step": step, "loss": metrics["loss"]})
        if time.monotonic() - self._drawn >= INTERVAL:
            self.draw()

    def draw(self) -> None:
        """Draws the current curve."""
        self._drawn = time.monotonic()
        drawing = svg(self._label, self._log)
        if not drawing:
            return
        try:
            from IPython.display import SVG, display

            if self._handle is None:
                self._handle = display(SVG(drawing), display_id=True)
            else:
                self._handle.update(SVG(drawing))
        except Exception:  # a failed drawing must not end a run
            self._drawn = float("inf")


def svg(label: str, log: list[dict[str, Any]]) -> str:
    """Returns the curve of the loss as SVG code; '' if there are fewer than two points.

    Args:
        label: The text above the curve.
        log: The 'step' and the 'loss' of each step.

    Example:
        >>> from deepinternal import notebook
        >>> points = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]
        >>> notebook.svg("zssr", points).count("<svg")
        1
    """
    found = charts(log)
    if not found:
        return ""
    chart, (left, right, top, bottom) = found[0], FRAME
    ticks = [
        f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{text}</text>'
        for y, text in chart["y"]
    ]
    ticks += [f'<path d="M{left} {y}H{right}" stroke="#ddd"/>' for y, _ in chart["y"]]
    ticks += [
        f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{t}</text>' for x, t in chart["x"]
    ]
    scale = ", logarithmic" if chart["log"] else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE[0]} {SIZE[1]}" style="{_STYLE}">'
        f'<text x="{left}" y="12">{label}: loss by step{scale}</text>{"".join(ticks)}'
        f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#666"/>'
        f'<path d="{chart["path"]}" fill="none" stroke="#06c" stroke-width="1.5"/></svg>'
    )
