"""Writes the log of a run, and lets training continue if a file cannot be written."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deepinternal.engine.tensorboard import TensorBoard
from deepinternal.files import reason, show_path
from deepinternal.messages import tell
from deepinternal.writers import JsonlLog


class RunLog:
    """The log of a run: a JSON-lines file and, on request, curves for TensorBoard.

    If the file cannot be written, the lines are kept for the next attempt.

    Attributes:
        unwritten: The lines that are not in the file yet.
        telemetry: A further receiver of the lines, or None.
    """

    def __init__(
        self, path: str | None = None, *, upto: int = 0, tail: Sequence[Mapping[str, Any]] = ()
    ):
        """Opens the file.

        Args:
            path: Its path; None for no file.
            upto: Existing lines after this step are dropped.
            tail: Lines up to this step that the file may lack.
        """
        self.unwritten: list[Mapping[str, Any]] = []
        self.telemetry: TensorBoard | None = None
        self._file = JsonlLog(path, upto=upto, tail=tail) if path else None
        self._unsent = 0  # the last of these lines that telemetry does not have

    def add(self, line: Mapping[str, Any]) -> None:
        """Adds a line, which the next call of `write` writes."""
        self.unwritten.append(line)
        self._unsent += 1

    def write(self) -> None:
        """Writes the lines that are not written yet. Raises OSError if that is not possible."""
        if self.telemetry and self._unsent:
            self.telemetry.scalars(self.unwritten[-self._unsent :])
        self._unsent = 0
        if self._file and self.unwritten:
            self._file.write(self.unwritten)
        self.unwritten = []

    def close(self) -> None:
        """Closes the file, but not the telemetry."""
        file, self._file = self._file, None
        if file:
            file.close()


class Tolerance:
    """Lets training continue if a file cannot be written."""

    def __init__(self, name: str):
        """Reports files of the run `name`."""
        self._name = show_path(name or "training")
        self._reported: set[str] = set()

    @contextlib.contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Turns an OSError inside a `with` block into a message, once for each kind of file.

        Args:
            what: The kind of file, in the plural or with an article, such as 'checkpoints'.
        """
        try:
            yield
        except OSError as error:
            if what not in self._reported:
                self._reported.add(what)
                why = f"cannot be written ({reason(error)}); training continues"
                tell(f"{self._name}: {what} {why}")
