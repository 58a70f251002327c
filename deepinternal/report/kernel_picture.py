"""Draws blur kernels with axes and numbers, as SVG."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from deepinternal.report.charts import ticks
from deepinternal.report.pages import templates

SUFFIXES = (".png", ".mat", ".npy", ".svg")  # the files of a kernel

# Measures of the drawing, in its own units: the maximum length of a kernel's side and the width of
# the text above it, the margins, the place and width of the colour bar, half of the cross.
_SIDE, _WORDS, _LEFT, _TOP, _BOTTOM = 312, 276, 54, 84, 46
_BAR_GAP, _BAR, _BAR_TEXT, _ARM = 22, 14, 64, 7
_STEPS = 78  # number of colours in the bar
_HOVER = 49  # side of the largest kernel whose pixels show their values under the pointer

# Viridis at 0, 0.1, ..., 1: perceptually uniform, also with colour vision deficiency.
_COLOURS = np.array(
    [
        [0x44, 0x01, 0x54],
        [0x48, 0x24, 0x75],
        [0x41, 0x44, 0x87],
        [0x35, 0x5F, 0x8D],
        [0x2A, 0x78, 0x8E],
        [0x21, 0x91, 0x8C],
        [0x22, 0xA8, 0x84],
        [0x44, 0xBF, 0x70],
        [0x7A, 0xD1, 0x51],
        [0xBD, 0xDF, 0x26],
        [0xFD, 0xE7, 0x25],
    ]
)


@dataclasses.dataclass(frozen=True)
class Moments:
    """The position and width of a kernel, in its own pixels.

    Attributes:
        centre: (row, column) of the centre of mass, 0-based.
        sigmas: The standard deviations of the Gaussian with the same covariance, the larger one
            first; NaN if negative values make it impossible.
        angle: The angle of the larger one's axis in degrees, from the columns' direction towards
            the rows' (clockwise on a screen), in [0, 180); None for a round kernel.
    """

    centre: tuple[float, float]
    sigmas: tuple[float, float]
    angle: float | None


def moments(kernel: np.ndarray) -> Moments:
    """Returns the centre of mass and principal axes of a (K, K) kernel that sums to 1."""
    weights = np.asarray(kernel, np.float64)
    weights = weights / weights.sum()
    at = np.stack(np.indices(weights.shape), -1).reshape(-1, 2)
    centre = weights.reshape(-1) @ at
    away = at - centre
    values, axes = np.linalg.eigh((away * weights.reshape(-1, 1)).T @ away)
    values = np.where(abs(values) < 1e-12, 0, values)
    minor, major = (math.sqrt(v) if v >= 0 else math.nan for v in values)
    angle = math.degrees(math.atan2(*axes[:, 1])) % 180
    is_round = not major - minor > 0.01 * major
    return Moments((centre[0], centre[1]), (major, minor), None if is_round else angle)


def svg(kernels: Mapping[str, np.ndarray]) -> str:
    """Returns an SVG file of kernels (K, K) by name, side by side on one colour scale."""
    return templates().get_template("kernel.svg").render(k=drawing(kernels))


def drawing(kernels: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the values for the template kernel.svg to draw kernels (K, K) by name."""
    low = min(0.0, *(float(k.min()) for k in kernels.values()))
    high = max(float(k.max()) for k in kernels.values())
    longest = max(map(len, kernels.values()))
    cell = max(1, _SIDE // longest)  # whole, so that pixels have the same size on a screen
    panels, x = [], _LEFT
    for name, kernel in kernels.items():
        panels.append(_panel(name, kernel, cell, low, high) | {"x": x})
        x += max(panels[-1]["side"], _WORDS) + _LEFT
    side, last = longest * cell, panels[-1]
    bar = last["x"] + last["side"] + _BAR_GAP
    width = max(bar + _BAR + _BAR_TEXT, last["x"] + _WORDS)
    parts = np.linspace(0, side, _STEPS + 1)
    share = (np.arange(_STEPS) + 0.5) / _STEPS
    return {
        "label": " and ".join(kernels),
        "size": (width, _TOP + side + _BOTTOM),
        "top": _TOP,
        "cell": cell,
        "arm": _ARM,
        "panels": panels,
        "bar": {
            "x": bar,
            "width": _BAR,
            "height": side,
            "steps": [
                (f"{side - b:.2f}", f"{b - a:.2f}", colour)
                for a, b, colour in zip(parts, parts[1:], _colours(share))
            ],
            "ticks": [
                (f"{side * (1 - (t - low) / (high - low)):.2f}", f"{t:.10g}")
                for t in ticks(low, high)
            ],
        },
    }


def _panel(name: str, kernel: np.ndarray, cell: int, low: float, high: float) -> dict[str, Any]:
    """Returns one kernel with axes and text; places are relative to its upper left corner."""
    found, size = moments(kernel), len(kernel)
    row, column = (c + 0.5 for c in found.centre)
    inside = 0 <= row <= size and 0 <= column <= size
    spread = "σ {:.2f} and {:.2f}, ".format(*found.sigmas)
    if any(map(math.isnan, found.sigmas)):
        spread = "no Gaussian fits: negative values"
    elif found.angle is None:
        spread += "round"
    else:
        spread += f"long axis {round(found.angle, 1) % 180:.1f}° (0° →, 90° ↓)"
    whole = [t for t in ticks(0, size - 1) if t == round(t)] if size > 1 else [0]
    return {
        "name": name.replace("_", " "),
        "lines": [
            f"{size} × {size} high-resolution pixels",
            spread,
            "centre of mass (+): row {:.2f}, column {:.2f}".format(*found.centre),
        ],
        "side": size * cell,
        "rows": [
            list(zip(_colours(shares), (f"{v:.4g}" for v in values)))
            for shares, values in zip((kernel - low) / (high - low), kernel)
        ],
        "hover": size <= _HOVER,
        "ticks": [(f"{(t + 0.5) * cell:g}", f"{t:.0f}") for t in whole],
        "cross": (f"{column * cell:.2f}", f"{row * cell:.2f}") if inside else None,
    }


def _colours(shares: np.ndarray) -> list[str]:
    """Returns the colours of values in [0, 1]."""
    places = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(shares, places, _COLOURS[:, i]).round().astype(int) for i in range(3)]
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in zip(*channels)]
