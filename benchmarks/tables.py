"""Tables in markdown; needs only the standard library."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Formats a padded markdown table, the first column left-aligned, the others right-aligned."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells):
        padded = [c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths))]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (w - 1) + ":" if i else "-" * w for i, w in enumerate(widths)]
    return "\n".join(map(line, [head, rule, *rows]))


def number(value: float | None, form: str) -> str:
    """Formats a cell; '-' for an unknown value."""
    return "-" if value is None else format(value, form)


def span(values: Mapping[str, float] | None, form: str, factor: float = 1.0) -> str:
    """Formats a cell as median (minimum-maximum)."""
    if values is None:
        return "-"
    low, middle, high = (format(factor * values[k], form) for k in ("min", "median", "max"))
    return f"{middle} ({low}-{high})"


def groups(records: Sequence[Record], key: Callable[[Record], Any]) -> dict[Any, list[Record]]:
    """Returns the records by the value of `key`, in the order of their first ones."""
    found: dict[Any, list[Record]] = {}
    for record in records:
        found.setdefault(key(record), []).append(record)
    return found


def mean(records: Sequence[Record], name: str) -> float | None:
    """Returns the mean of a figure over the records that have it; None: none has."""
    values = [r[name] for r in records if r.get(name) is not None]
    return statistics.fmean(values) if values else None


def over_seeds(
    records: Sequence[Record], name: str, image: Callable[[Record], Any]
) -> float | None:
    """Returns the standard deviation, over the seeds, of the mean of a figure over the images.

    Args:
        records: The records of one row of a table.
        name: The name of the figure.
        image: Tells the images of the records apart; only those with all seeds count.

    Returns:
        The sample standard deviation; None with fewer than two seeds.
    """
    by_image = groups(records, image)
    most = max(map(len, by_image.values()), default=0)
    full = [r for found in by_image.values() if len(found) == most for r in found]
    means = [mean(found, name) for found in groups(full, lambda r: r["seed"]).values()]
    known = [value for value in means if value is not None]
    return statistics.stdev(known) if len(known) > 1 else None
