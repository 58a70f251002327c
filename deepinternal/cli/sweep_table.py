"""The results of a sweep as a table."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

# These figures come first, in this order; others are shown if they differ between runs.
_FIRST = ("psnr_y", "ssim_y", "seconds")
_HIGHER_IS_BETTER = ("psnr", "ssim", "per_second")
_LOWER_IS_BETTER = ("seconds",)

Row = Mapping[str, Any]


def as_csv(rows: Sequence[Row]) -> str:
    """Returns all fields and mean figures of all runs as CSV."""
    flat = [
        {"run": r["run"], **r["fields"], **{k: r[k] for k in ("status", "images", "done")}}
        | {f"mean_{name}": value for name, value in r["mean"].items()}
        for r in rows
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, dict.fromkeys(k for row in flat for k in row), restval="")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def as_markdown(rows: Sequence[Row]) -> str:
    """Returns a Markdown table with a line per run; the best value of a figure is bold."""
    fields = list(dict.fromkeys(name for row in rows for name in row["fields"]))
    figures = _shown(rows)
    lines = [[*fields, "done", *figures]]
    best = {name: _best(name, rows) for name in figures}
    for row in rows:
        line = [str(row["fields"][name]) for name in fields]
        line.append(f"{row['done']}/{row['images']}")
        for name in figures:
            value = row["mean"].get(name)
            text = "" if value is None else f"{value:.6g}"
            line.append(f"**{text}**" if text and value == best[name] else text)
        lines.append(line)
    lines = [[" ".join(cell.split()).replace("|", "\\|") for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines)]
    lines.insert(1, ["-" * width for width in widths])
    padded = ([c.ljust(w) for c, w in zip(line, widths)] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def _shown(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row["mean"])
    varying = [n for n in names if len({row["mean"].get(n) for row in rows if row["mean"]}) > 1]
    return [n for n in _FIRST if n in names] + [n for n in varying if n not in _FIRST]


def _best(name: str, rows: Sequence[Row]) -> float | None:
    """Returns the best value of a figure; None if all are equal or no order is known."""
    values = [row["mean"][name] for row in rows if row["mean"].get(name) is not None]
    if name.startswith("baseline") or len(set(values)) < 2:
        return None
    if any(part in name for part in _HIGHER_IS_BETTER):
        return max(values)
    return min(values) if any(part in name for part in _LOWER_IS_BETTER) else None
