"""The progress of runs: updated in place on a terminal or in a notebook, else occasional lines.

An error in the display turns it off, and the runs continue.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Protocol, TextIO

from deepinternal.messages import Stream, one_line

_SHARE = 0.02  # maximum share of the time for the display


class Screen(Protocol):
    """A display for a board.

    Attributes:
        interval: The seconds between two calls of `show`.
        at_once: Whether the first call may come immediately.
    """

    interval: float
    at_once: bool

    def show(self, board: "Board") -> None:
        """Shows the progress of the board's runs."""

    def say(self, text: str) -> None:
        """Writes a permanent line."""

    def close(self) -> None:
        """Removes all but the permanent lines."""


class Board:
    """The progress of several runs, side by side or one after the other.

    Any thread may write permanent lines; all else belongs to the thread that trains.

    Attributes:
        images: The number of runs.
        ended: The number of runs that have ended.
        rows: The progress of the runs in training.
    """

    def __init__(self, images: int, *, enabled: bool = True, stream: TextIO | None = None):
        """Prepares the display.

        Args:
            images: The number of runs.
            enabled: Whether to show anything.
            stream: By default stderr, or the notebook.
        """
        self.images, self.ended, self.rows = images, 0, list[Progress]()
        self._screen: Screen | None = None
        self._lock = threading.RLock()
        if enabled:
            with self._carefully():
                self._screen = _screen(stream)
        late = 0.0 if self._screen is None or self._screen.at_once else self._screen.interval
        self._due = time.monotonic() + late

    def share(self, label: str, total: int) -> "Progress":
        """Returns the progress of one of the runs.

        Args:
            label: The name of the run.
            total: The maximum number of steps.
        """
        return Progress(label, total, board=self)

    def refresh(self) -> None:
        """Shows the rows again, unless that was done a moment ago."""
        if self._screen and (began := time.monotonic()) >= self._due:
            interval = self._screen.interval
            with self._carefully():
                self._screen.show(self)
            ended = time.monotonic()
            self._due = ended + max(interval, (ended - began) / _SHARE)

    def say(self, text: str) -> None:
        """Writes a permanent line."""
        if self._screen:
            with self._carefully():
                self._screen.say(one_line(text))

    def end(self, row: "Progress") -> None:
        """Counts a run as ended and removes its row."""
        self.ended += 1
        if row in self.rows:
            self.rows.remove(row)
            if not self.rows:  # restores the terminal, whatever happens next
                self.close()

    def close(self) -> None:
        """Removes all but the permanent lines; a row that is updated later appears again."""
        if self._screen:
            with self._carefully():
                self._screen.close()

    @contextlib.contextmanager
    def _carefully(self) -> Iterator[None]:
        """Lets one thread in at a time; an error inside turns the display off and goes no further."""
        with self._lock:
            try:
                yield
            except Exception:
                self._screen = None


class Progress:
    """The progress of one run.

    Attributes:
        label: The name of the run.
        total: The maximum number of steps.
        step: The number of steps done.
        figure: Further text for the display.
    """

    def __init__(
        self,
        label: str,
        total: int,
        *,
        enabled: bool = True,
        stream: TextIO | None = None,
        board: Board | None = None,
    ):
        """Prepares the display; nothing is shown before the first update.

        Args:
            label: The name of the run.
            total: The maximum number of steps.
            enabled: Whether to show anything.
            stream: By default stderr, or the notebook.
            board: A board shared with other runs, which replaces the two options above.
        """
        self.label, self.total, self.step, self.figure = one_line(label), total, 0, ""
        self._board = board or Board(1, enabled=enabled, stream=stream)
        self._updates = 0  # counted up to 2
        self._base = (0.0, 0)  # time and step that the rate is measured from
        self._closed = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, step: int, figure: str = "") -> None:
        """Reports that `step` steps are done; `figure` is shown unchanged.

        The first call gives the initial step. The time before the second call is mostly spent
        compiling and does not count for the rate.
        """
        self.step, self.figure = step, figure
        if self._updates < 2:
            self._updates += 1
            self._base = (time.monotonic(), step)
            if self._updates == 1:
                self._board.rows.append(self)
        self._board.refresh()

    def rate(self) -> float:
        """Returns the steps per second so far; 0 if unknown."""
        elapsed = time.monotonic() - self._base[0]
        return (self.step - self._base[1]) / elapsed if elapsed > 0 else 0.0

    def remark(self, texts: Sequence[str]) -> None:
        """Writes each text as a permanent line, after the label."""
        for text in texts:
            self._board.say(f"{self.label}: {text}")

    def close(self, text: str = "") -> None:
        """Ends the display, optionally with a last text; further calls do nothing."""
        if not self._closed:
            self._closed = True
            self._board.end(self)
            self.remark([text] if text else [])


class Lines:
    """A screen for logs: few lines, without control characters."""

    interval, at_once = 15.0, False

    def __init__(self, stream: Stream):
        self._stream = stream

    def show(self, board: Board) -> None:
        """Writes one line for the run in training, or for all of them."""
        if len(board.rows) > 1:
            rate = sum(row.rate() for row in board.rows)
            training = f"{len(board.rows)} in training, {rate:.1f} steps/s in all"
            self.say(f"{board.images} images: {board.ended} ended, {training}")
        for row in board.rows if len(board.rows) == 1 else ():
            text = f"{row.label}: step {row.step}/{row.total}"
            if rate := row.rate():
                left = int((row.total - row.step) / rate)
                text += f", {rate:.2f} steps/s, at most {left // 60}:{left % 60:02d} left"
            self.say(f"{text}, {row.figure}" if row.figure else text)

    def say(self, text: str) -> None:
        """Writes a line."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Does nothing, because all lines are permanent."""


def _screen(stream: TextIO | None) -> Screen:
    """Returns the screen for a stream, by default stderr."""
    # A live display replaces stderr with a proxy, which would lead back to the display.
    out = Stream(stream or getattr(sys.stderr, "rich_proxied_file", sys.stderr))
    in_notebook = stream is None and "ipykernel" in sys.modules
    if in_notebook or out.isatty():
        from deepinternal.engine import live

        if in_notebook and live.is_notebook():
            return live.Notebook()
        if out.isatty() and live.can_move(out):
            return live.Terminal(out)
    return Lines(out)
