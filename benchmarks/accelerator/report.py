"""The table of all items; needs only the standard library."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.accelerator.plan import RATIOS

STEP = "time per step"


def report(records: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> str:
    """Formats the records as one table, with the ratios to PyTorch and the devices below it.

    Args:
        records: The records by name, as in `parent.Results`.
        names: Names of the items, in the order of the rows.
    """
    lines = ["| item | status | s | numbers |", "| --- | --- | ---: | --- |"]
    lines += [f"| {' | '.join(_row(name, records.get(name, {})))} |" for name in names]
    lines.append("")
    for ours, theirs in RATIOS.items():
        pair = [records.get(name, {}).get("numbers", {}).get(STEP) for name in (ours, theirs)]
        if all(pair):
            lines.append(f"{ours} / {theirs}: {pair[0]['value'] / pair[1]['value']:.2f}")
    devices = dict.fromkeys(r["device"] for r in records.values() if r.get("device"))
    lines.append(f"device: {', '.join(devices) or 'unknown'}")
    return "\n".join(lines) + "\n"


def _row(name: str, record: Mapping[str, Any]) -> list[str]:
    numbers = record.get("numbers", {})
    cells = [f"{n} {_number(x['value'])} {x['unit']}".rstrip() for n, x in numbers.items()]
    text = "; ".join([*filter(None, [record.get("error")]), *cells])
    seconds = f"{record['seconds']:.1f}" if record else "-"
    return [name, record.get("status", "-"), seconds, text.replace("|", "/") or "-"]


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value) or "-"
