"""The log of a run: one JSON object per line, consistent with the checkpoints."""

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepinternal.files import atomic_write_text


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Encodes a value as strict JSON; NaN and infinities, which JSON does not have, become null.

    Example:
        >>> from deepinternal.writers import to_json
        >>> to_json({"psnr": float("inf"), "size": (2, 3)})
        '{"psnr": null, "size": [2, 3]}'
    """

    def clean(v):
        if isinstance(v, dict):
            return {str(k): clean(x) for k, x in v.items()}
        if isinstance(v, list | tuple):
            return [clean(x) for x in v]
        if isinstance(v, float) and not math.isfinite(v):
            return None
        return v

    return json.dumps(clean(value), indent=indent, allow_nan=False, ensure_ascii=False)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number and not a bool."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested fields to dotted names."""
    found = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping) and value
        found |= flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


class JsonlLog:
    """Appends JSON lines to a file; opening truncates it to the step of a checkpoint."""

    def __init__(self, path: Path | str, *, upto: int, tail: list[dict] | None = None):
        """Opens the log to continue after step `upto`.

        Args:
            path: The file, which is created if it is missing.
            upto: Lines with a greater `step`, and an incomplete last line, are dropped.
            tail: Lines that the checkpoint contains and that may be missing in the file.
        """
        kept = [e for e in read_jsonl(path) if e["step"] <= upto] if upto else []
        last = kept[-1]["step"] if kept else 0
        kept += [entry for entry in tail or [] if last < entry["step"] <= upto]
        if kept:
            atomic_write_text(path, "".join(to_json(e) + "\n" for e in kept))
        if os.path.islink(path):  # a link is replaced, as by an atomic write
            os.unlink(path)
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115
        if not kept:
            self._file.truncate(0)

    def write(self, entries: list[dict]) -> None:
        """Appends lines and passes them to the operating system.

        Raises:
            OSError: The lines cannot be written; the file is unchanged.
        """
        data = "".join(to_json(e) + "\n" for e in entries).encode()
        size = os.fstat(self._file.fileno()).st_size
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            error.filename = self._file.name
            with contextlib.suppress(OSError):
                self._file.truncate(size)
            raise

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_jsonl(path: Path | str) -> list[dict]:
    """Returns all complete lines of a log; [] if there is no such file."""
    if not os.path.exists(path):
        return []
    entries = []
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        if not (entry := json_object(line)):
            break
        entries.append(entry)
    return entries


def read_object(path: Path | str) -> dict[str, Any]:
    """Returns the JSON object in a file; {} if the file is missing or holds anything else."""
    try:
        return json_object(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def json_object(text: str) -> dict[str, Any]:
    """Returns the object that a JSON text describes; {} if it describes anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: malicious text with deep nesting
        return {}
    return found if isinstance(found, dict) else {}
