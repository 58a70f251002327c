"""Handles the signals that ask a program to end."""

import signal
import threading
from typing import Any


class StopSignal:
    """Records SIGTERM and SIGINT while active, so that the loop can end cleanly.

    A second signal has its default effect. Outside the main thread, this does nothing.
    """

    def __init__(self):
        self.signum = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, signum, frame) -> None:
        del frame
        self.signum = signum
        signal.signal(signum, signal.SIG_DFL)
