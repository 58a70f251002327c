"""Handles the signals that ask a program to end."""

import signal
import threading
from typing import Any

_HANGUP = getattr(signal, "SIGHUP", None)  # missing on Windows


class StopSignal:
    """Records SIGTERM, SIGINT and SIGHUP while active, so that the loop can end cleanly.

    A second SIGTERM or SIGINT has its default effect; a terminal that closes may send several
    SIGHUP. SIGHUP stays ignored if it was ignored before, as under nohup. Outside the main thread, this
    does nothing.
    """

    def __init__(self):
        self.signum = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in filter(None, (signal.SIGTERM, signal.SIGINT, _HANGUP)):
                if number != _HANGUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, signum, frame) -> None:
        del frame
        self.signum = signum
        signal.signal(signum, signal.SIG_IGN if signum == _HANGUP else signal.SIG_DFL)
