"""A progress line with rate, time left and the current test figure."""

import sys
import time
import types
from collections.abc import Sequence
from typing import Any, TextIO


class Progress:
    """Writes where a run is: in place on a terminal, else a line now and then."""

    def __init__(
        self, label: str, total: int, *, enabled: bool = True, stream: TextIO | None = None
    ):
        """Args: label: what is running; total: steps at most; enabled; stream: default stderr."""
        self._label, self._total = label, total
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._enabled = enabled
        self._interval = 0.2 if self._terminal else 15.0
        self._start: tuple[float, int] | None = None
        self._shown = time.monotonic()

    def update(self, step: int, figure: str = "") -> None:
        """Tells that `step` steps are done; `figure` is shown as it is."""
        now = time.monotonic()
        if self._start is None:
            self._start = (now, step)
        elapsed, steps = now - self._start[0], step - self._start[1]
        text = f"step {step}/{self._total}"
        if steps and elapsed > 0:
            left = int((self._total - step) * elapsed / steps)
            text += f", {steps / elapsed:.2f} steps/s, at most {left // 60}:{left % 60:02d} left"
        self.show(f"{text}, {figure}" if figure else text, now)

    def show(self, text: str, now: float) -> None:
        """Shows how far it is at the time `now`, if that was not done a moment ago."""
        if self._enabled and now - self._shown >= self._interval:
            self._shown = now
            self._write(f"{self._label}: {text}")

    def remark(self, texts: Sequence[str], label: str = "") -> None:
        """Tells something of what is running, or of `label`: each text in a line that stays."""
        for text in texts if self._enabled else ():
            self._write(f"{label or self._label}: {text}")
            if self._terminal:
                self._stream.write("\n")
                self._stream.flush()

    def close(self, text: str) -> None:
        """Ends the line with a last word."""
        self.remark([text])

    def _write(self, text: str) -> None:
        self._stream.write(f"\r\x1b[2K{text}" if self._terminal else f"{text}\n")
        self._stream.flush()


class Board:
    """One progress line for many runs that train side by side."""

    def __init__(self, images: int, *, enabled: bool = True, stream: TextIO | None = None):
        """Args: images: how many there are; enabled; stream: default stderr."""
        self._line = Progress(f"{images} images", images, enabled=enabled, stream=stream)
        self._steps: dict[str, int] = {}  # of those in training
        self._taken = self._ended = 0
        self._start: float | None = None

    def share(self, label: str) -> Any:
        """An object with the methods of `Progress` that report one of the runs."""
        return types.SimpleNamespace(
            update=lambda step, figure="": self._update(label, step),
            remark=lambda texts: self._line.remark(texts, label),
            close=lambda text: self._close(label, text),
        )

    def _update(self, label: str, step: int) -> None:
        now = time.monotonic()
        self._start = self._start or now
        self._taken += step - self._steps.get(label, step)
        self._steps[label] = step
        rate = self._taken / max(now - self._start, 1e-9)
        training = f"{len(self._steps)} in training, {rate:.1f} steps/s in all"
        self._line.show(f"{self._ended} ended, {training}", now)

    def _close(self, label: str, text: str) -> None:
        self._steps.pop(label, None)
        self._ended += 1
        self._line.close(f"{self._ended} ended, {label}: {text}")
