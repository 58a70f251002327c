"""How far runs are: in place on a terminal or in a notebook, else a line now and then.

Whatever goes wrong while progress is shown, it is no longer shown, and the runs go on.
"""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Protocol, TextIO

from deepinternal.messages import Stream, one_line

_SHARE = 0.02  # of the time, at most, goes into showing


class Screen(Protocol):
    """Where a board is shown.

    Attributes:
        interval: seconds between two calls of `show`.
        at_once: whether the first call may come at once.
    """

    interval: float
    at_once: bool

    def show(self, board: "Board") -> None:
        """Shows how far the runs of the board are."""

    def say(self, text: str) -> None:
        """Writes a line that stays."""

    def close(self) -> None:
        """Takes away all but the lines that stay."""


class Board:
    """The progress of several runs, side by side or one after the other.

    Attributes:
        images: how many runs there are.
        ended: how many of them have ended.
        rows: the progress of those in training.
    """

    def __init__(self, images: int, *, enabled: bool = True, stream: TextIO | None = None):
        """Args: images: how many there are; enabled; stream: default stderr, or the notebook."""
        self.images, self.ended, self.rows = images, 0, list[Progress]()
        self._screen: Screen | None = None
        if enabled:
            with self._carefully():
                self._screen = _screen(stream)
        late = 0.0 if self._screen is None or self._screen.at_once else self._screen.interval
        self._due = time.monotonic() + late

    def share(self, label: str, total: int) -> "Progress":
        """The progress of one of the runs.

        Args:
            label: what is running.
            total: steps at most.
        """
        return Progress(label, total, board=self)

    def refresh(self) -> None:
        """Shows the rows again, if that was not done a moment ago."""
        if self._screen and (began := time.monotonic()) >= self._due:
            interval = self._screen.interval
            with self._carefully():
                self._screen.show(self)
            ended = time.monotonic()
            self._due = ended + max(interval, (ended - began) / _SHARE)

    def say(self, text: str) -> None:
        """Writes a line that stays."""
        if self._screen:
            with self._carefully():
                self._screen.say(one_line(text))

    def end(self, row: "Progress") -> None:
        """Counts a run as ended and takes its row away."""
        self.ended += 1
        if row in self.rows:
            self.rows.remove(row)
            if not self.rows:  # so that the terminal is left in order whatever comes next
                self.close()

    def close(self) -> None:
        """Takes away all but the lines that stay; a row that is told of later appears again."""
        if self._screen:
            with self._carefully():
                self._screen.close()

    @contextlib.contextmanager
    def _carefully(self) -> Iterator[None]:
        """What goes wrong inside ends the showing, never the work."""
        try:
            yield
        except Exception:
            self._screen = None


class Progress:
    """The progress of one run.

    Attributes:
        label: what is running.
        total: steps at most.
        step: steps done.
        figure: what else is shown.
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
        """Sets it up; nothing is shown before the first update.

        Args:
            label: what is running.
            total: steps at most.
            enabled: whether anything is shown.
            stream: default stderr, or the notebook.
            board: where it is shown beside others; the two options above are the board's then.
        """
        self.label, self.total, self.step, self.figure = one_line(label), total, 0, ""
        self._board = board or Board(1, enabled=enabled, stream=stream)
        self._updates = 0  # as far as they matter
        self._base = (0.0, 0)  # time and step from which the rate is taken
        self._closed = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, step: int, figure: str = "") -> None:
        """Tells that `step` steps are done; `figure` is shown as it is.

        The first call says where the run begins. What goes before the second one is mostly compiling
        and does not count for the rate.
        """
        self.step, self.figure = step, figure
        if self._updates < 2:
            self._updates += 1
            self._base = (time.monotonic(), step)
            if self._updates == 1:
                self._board.rows.append(self)
        self._board.refresh()

    def rate(self) -> float:
        """Steps per second so far; 0 where it is unknown."""
        elapsed = time.monotonic() - self._base[0]
        return (self.step - self._base[1]) / elapsed if elapsed > 0 else 0.0

    def remark(self, texts: Sequence[str]) -> None:
        """Tells something of what is running: each text in a line that stays."""
        for text in texts:
            self._board.say(f"{self.label}: {text}")

    def close(self, text: str = "") -> None:
        """Ends it with a last word, if any; does nothing when called again."""
        if not self._closed:
            self._closed = True
            self._board.end(self)
            self.remark([text] if text else [])


class Lines:
    """A screen for logs: lines without control characters, few of them."""

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
        """Has nothing to take away."""


def _screen(stream: TextIO | None) -> Screen:
    """The screen that a stream, by default stderr, leads to."""
    # What a live display has put in the place of stderr leads to itself.
    out = Stream(stream or getattr(sys.stderr, "rich_proxied_file", sys.stderr))
    in_notebook = stream is None and "ipykernel" in sys.modules
    if in_notebook or out.isatty():
        from deepinternal.engine import live

        if in_notebook and live.is_notebook():
            return live.Notebook()
        if out.isatty() and live.can_move(out):
            return live.Terminal(out)
    return Lines(out)
