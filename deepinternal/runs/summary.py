"""Writes the summary of all images of a work folder: summary.json and summary.csv."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepinternal.files import atomic_write_text
from deepinternal.writers import is_number, to_json

_UNLISTED = ("spans", "version", "presets", "git", "packages")  # not in summary.csv
_UNCOUNTED = ("seed", "device_count", "steps_limit")  # numbers without a meaningful mean


def write_summary(folder: Path, images: Sequence[Mapping[str, Any]]) -> None:
    """Writes summary.json and summary.csv.

    Args:
        folder: The work folder.
        images: The contents of the images' metrics.json.
    """
    done = [m for m in images if m["status"] == "done"]
    names = [k for m in done for k, v in m.items() if is_number(v) and k not in _UNCOUNTED]
    values = {n: [m[n] for m in done if is_number(m.get(n))] for n in dict.fromkeys(names)}
    mean = {name: sum(figures) / len(figures) for name, figures in values.items()}
    total = _covered([span for m in done for span in m.get("spans", ())])
    per_hour = 3600 * len(done) / total if total else 0.0
    summary = {"images": list(images), "mean": mean, "images_per_hour": per_hour}
    atomic_write_text(folder / "summary.json", to_json(summary, indent=2) + "\n")
    table = io.StringIO()
    columns = dict.fromkeys(k for m in images for k in m if k not in _UNLISTED)
    writer = csv.DictWriter(table, columns, restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(images)
    atomic_write_text(folder / "summary.csv", table.getvalue())


def _covered(spans: Sequence[Sequence[float]]) -> float:
    """Returns the seconds covered by at least one of the spans; images may train side by side."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
