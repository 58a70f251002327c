"""A progress line with rate, time left and the current test figure."""

import sys
import time
from typing import TextIO


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
        if not self._enabled or now - self._shown < self._interval:
            return
        self._shown = now
        elapsed, steps = now - self._start[0], step - self._start[1]
        text = f"{self._label}: step {step}/{self._total}"
        if steps and elapsed > 0:
            left = int((self._total - step) * elapsed / steps)
            text += f", {steps / elapsed:.2f} steps/s, at most {left // 60}:{left % 60:02d} left"
        self._write(f"{text}, {figure}" if figure else text)

    def close(self, text: str) -> None:
        """Ends the line with a last word."""
        if self._enabled:
            self._write(f"{self._label}: {text}")
            if self._terminal:
                self._stream.write("\n")
                self._stream.flush()

    def _write(self, text: str) -> None:
        self._stream.write(f"\r\x1b[2K{text}" if self._terminal else f"{text}\n")
        self._stream.flush()
