"""The record of what the results of an image are made from: its input.json."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepinternal.writers import read_object


@dataclasses.dataclass(frozen=True)
class Noted:
    """The contents of input.json: what the results of an image are made from.

    Attributes:
        files: SHA-256 of its files by role: 'input', 'kernel', ...
        paths: The absolute paths of these files, by role.
        stamps: Sizes and times of these files, as `files.stamp` returns them, by role.
        steps: The maximum number of training steps.
        asked: The values of the fields that determine this number.
        canvas: The [H, W] of the canvas that it trains on; None if it has none.
        choices: The values of the fields in `Recipe.continued` that are not files.
        changes: How often these fields or their files have changed since the first run.
    """

    files: Mapping[str, str]
    stamps: Mapping[str, list[list[int]]] = dataclasses.field(default_factory=dict)
    steps: int = 0
    asked: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    paths: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    canvas: list[int] | None = None
    choices: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    changes: int = 0

    def same_inputs(self, other: "Noted") -> bool:
        """Whether another record is of the same files and choices."""
        return (self.files, self.choices) == (other.files, other.choices)


def read_noted(path: Path, *, choices: Mapping[str, Any]) -> Noted | None:
    """Returns the contents of an input.json; None if it is missing or damaged.

    Args:
        path: The file.
        choices: The choices if the file has none, in work folders of earlier versions.
    """
    found = read_object(path)
    try:
        if not isinstance(found.get("canvas", []), list):
            found["canvas"] = None
        found = {"choices": choices, **found}
        return Noted(**{**found, "files": dict(found["files"]), "steps": int(found["steps"])})
    except (ValueError, KeyError, TypeError):
        return None
