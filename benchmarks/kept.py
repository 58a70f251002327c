"""Records of a benchmark in a file of JSON lines, to which an interrupted program adds."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Records:
    """The records of a file, identified by some of their fields.

    Attributes:
        all: All records, in the order in which they were added.
    """

    def __init__(self, path: Path, key: Sequence[str]):
        """Reads what the file holds; a last line that was cut off is removed.

        Args:
            path: The file, which may not exist.
            key: The names of the fields that no two records have in common.
        """
        self._path, self._key = path, tuple(key)
        self.all: list[dict[str, Any]] = []
        whole = ""
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(json.JSONDecodeError):
                    self.all.append(json.loads(line))
                    whole += line + "\n"
            path.write_text(whole, encoding="utf-8")
        self._known = {self.key(r) for r in self.all}

    def key(self, record: Mapping[str, Any]) -> tuple:
        """Returns the values that identify a record."""
        return tuple(record[name] for name in self._key)

    def __contains__(self, record: Mapping[str, Any]) -> bool:
        return self.key(record) in self._known

    def add(self, record: dict[str, Any]) -> None:
        """Adds a record, also to the file."""
        self.all.append(record)
        self._known.add(self.key(record))
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
