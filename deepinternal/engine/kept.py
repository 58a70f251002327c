"""Keeps compiled programs for later runs of the same process."""

import threading
from collections.abc import Callable, Hashable

import jax

from deepinternal.engine.ahead import SETTINGS
from deepinternal.engine.compiling import compiler_options
from deepinternal.engine.parallel import Programs


class Kept:
    """The programs of the methods that were run last, each in use by at most one run."""

    def __init__(self, most: int):
        """Keeps the programs of at most `most` methods."""
        self._most = most
        self._lock = threading.Lock()
        self._idle: dict[Hashable, Programs] = {}  # the most recently used one comes last

    def take(self, key: Hashable, make: Callable[[], Programs]) -> Programs:
        """Returns the programs of a key for one run, which are new unless they were put back.

        Args:
            key: All that the programs depend on, except the settings of the host.
            make: Makes new ones.
        """
        with self._lock:
            found = self._idle.pop(_with_settings(key), None)
        return found or make()

    def put(self, key: Hashable, programs: Programs) -> None:
        """Keeps the programs after a run, and drops the least recently used ones."""
        programs.stopped = lambda: False  # the run itself is not kept
        key = _with_settings(key)
        with self._lock:
            self._idle.pop(key, None)  # from another run at the same time
            self._idle[key] = programs
            while len(self._idle) > self._most:
                del self._idle[next(iter(self._idle))]


def _with_settings(key: Hashable) -> Hashable:
    own = (str(getattr(jax.config, name)) for name in SETTINGS)
    return key, jax.default_backend(), str(compiler_options("steps")), *own
