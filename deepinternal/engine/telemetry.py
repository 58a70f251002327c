"""Measures memory, and takes a profiler's trace on request."""

import os
from collections.abc import Callable, Sequence

import jax

from deepinternal.files import reason, show_path
from deepinternal.messages import tell


def memory_mb(devices: Sequence[jax.Device]) -> float:
    """Returns the memory in use in MB (1e6 bytes): the fullest device's; on CPU, this process's."""
    used = [(d.memory_stats() or {}).get("bytes_in_use") for d in devices]
    if all(n is None for n in used):
        return round(_resident() / 1e6, 1)
    return round(max(n or 0 for n in used) / 1e6, 1)


def _resident() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class Profile:
    """A trace of some steps for TensorBoard's profiler or Perfetto."""

    def __init__(self, folder: str, *, first: int, count: int):
        """Prepares the trace.

        Args:
            folder: The folder for the trace.
            first: The number of dispatches before the trace, which cover compilation.
            count: The number of dispatches to trace; 0 for no trace.
        """
        self._folder, self._first, self._last = folder, first, first + count
        self._dispatches, self._tracing = 0, False

    def tick(self) -> None:
        """Counts a dispatch; call it before each one."""
        if self._dispatches == self._last:
            self.close()
        elif self._dispatches == self._first:
            self._tracing = self._act(lambda: jax.profiler.start_trace(self._folder))
        self._dispatches += 1

    def close(self) -> None:
        """Ends the trace if one is being taken."""
        if self._tracing:
            self._tracing = False
            self._act(jax.profiler.stop_trace)

    def _act(self, act: Callable[[], None]) -> bool:
        """Calls the profiler; returns False if that fails, for example on a full disk."""
        try:
            act()
        except (OSError, RuntimeError) as error:
            tell(f"{show_path(self._folder)}: no trace ({reason(error)}); training continues")
            return False
        return True
