"""The tables of `benchmarks.decomposition`."""

import statistics
from collections.abc import Sequence

from benchmarks.decomposition.peers import CHOSEN
from benchmarks.tables import Record, groups, mean, number, over_seeds, table

KEY = ("task", "image", "strokes", "seed", "row")
_COLUMNS = {  # figure -> title, factor, format
    "iou": ("IoU", 1, ".3f"),
    "all": ("all frames", 1, ".3f"),
    "fall": ("last - second", 1, "+.3f"),
    "flicker": ("flicker", 1, ".4f"),
    "distance": ("outlines", 1, ".2f"),
    "boundary": ("boundary F", 1, ".3f"),
}


def _cells(records: Sequence[Record], columns: Sequence[str]) -> list[str]:
    cells = []
    for name in columns:
        _, factor, form = _COLUMNS[name]
        value = mean(records, name)
        cells.append(number(None if value is None else factor * value, form))
    return cells


def _columns(records: Sequence[Record]) -> list[str]:
    return [name for name in _COLUMNS if any(name in r for r in records)]


def _seconds(records: Sequence[Record]) -> list[str]:
    """CPU seconds and seconds of repeated calls, and CPU seconds of those that compile; medians."""
    warm = [r for r in records if not r.get("new")]
    first = [r for r in records if r.get("new")]
    middle = lambda some, name: statistics.median(r[name] for r in some) if some else None
    return [
        number(middle(some, name), ".1f")
        for some, name in ((warm, "cpu"), (warm, "wall"), (first, "cpu"), (first, "wall"))
    ]


def means(records: Sequence[Record]) -> str:
    """Formats the means of each row over the cases with equal strokes."""
    columns, lines = _columns(records), []
    titles = ["row", "cases", *(_COLUMNS[n][0] for n in columns)]
    titles += ["IoU over seeds", "not chosen on", "least"]
    titles += ["CPU s", "s", "first: CPU s", "first: s"]
    for row, found in groups(records, lambda r: r["row"]).items():
        rest = [r for r in found if r["image"] not in CHOSEN]
        least = min(r["iou"] for r in found)
        lines.append(
            [
                row,
                str(len({r["image"] for r in found})),
                *_cells(found, columns),
                number(over_seeds(found, "iou", lambda r: r["image"]), ".3f"),
                number(mean(rest, "iou"), ".3f"),
                number(least, ".3f"),
                *_seconds(found),
            ]
        )
    return table(titles, lines)


def each(records: Sequence[Record], figure: str = "iou") -> str:
    """Formats a figure of each case, with a column for each row; means over the seeds."""
    rows = [*groups(records, lambda r: r["row"])]
    lines = []
    for image, found in groups(records, lambda r: r["image"]).items():
        by_row = groups(found, lambda r: r["row"])
        cells = [_cells(by_row.get(row, []), [figure])[0] for row in rows]
        lines.append([image + (" *" if image in CHOSEN else ""), *cells])
    return table(["case", *rows], lines)


def frames(records: Sequence[Record]) -> str:
    """Formats the IoU of each frame of clips, of the first seed."""
    most = max(len(r["frames"]) for r in records)
    lines = [
        [f"{r['image']}, {r['row']}", *(number(x, ".2f") for x in r["frames"])]
        for r in sorted(records, key=lambda r: r["image"])
        if not r["seed"]
    ]
    lines = [line + ["-"] * (most + 1 - len(line)) for line in lines]
    return table(["clip, row", *map(str, range(1, most + 1))], lines)


def report(records: Sequence[Record]) -> str:
    """Formats all tables of a task."""
    parts = []
    for strokes, found in groups(records, lambda r: r["strokes"]).items():
        parts.append(f"Strokes: {strokes}; means\n\n{means(found)}")
        parts.append(f"Strokes: {strokes}; IoU (* settings chosen on it)\n\n{each(found)}")
        parts.append(
            f"Strokes: {strokes}; distance of the outlines in pixels\n\n{each(found, 'distance')}"
        )
        if clips := [r for r in found if "frames" in r]:
            parts.append(f"IoU of each frame\n\n{frames(clips)}")
    return "\n\n".join(parts)
