"""Starts a process for each group and writes down what it finds; never touches the device itself.

Only the standard library is needed, so that a missing package or a broken device is a recorded failure.
"""

import contextlib
import dataclasses
import importlib.util
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.accelerator.plan import Group
from benchmarks.accelerator.worker import BROKEN

ROOT = Path(__file__).parent.parent.parent
RESULTS, LOG, SCRATCH = "results.json", "log.txt", "scratch"
_OWN = "#"  # begins the lines that the parent itself writes to the log

Record = dict[str, Any]


def write(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


class Results:
    """The records of all items by name, which are in a file at every moment.

    A record has name, status ('ok', 'failed', 'timeout' or 'skipped'), seconds, numbers (by name
    {'value', 'unit'}), error (one line, '' without one) and device.
    """

    def __init__(self, folder: Path):
        """Reads those of earlier calls; a ValueError says that they cannot be read."""
        self._path, self._log = folder / RESULTS, folder / LOG
        self.items: dict[str, Record] = {}
        if self._path.is_file():
            try:
                content = json.loads(self._path.read_text(encoding="utf-8"))
                self.items = {record["name"]: record for record in content["items"]}
            except (ValueError, KeyError, TypeError):
                words = "is not from this command; remove it, or give another --out"
                raise ValueError(f"{self._path}: {words}") from None

    def add(self, name: str, status: str, *, seconds: float = 0.0, **more: Any) -> None:
        """Records an item and writes the file."""
        record = {"name": name, "status": status, "seconds": seconds}
        record |= {"numbers": {}, "error": "", "device": "", **more}
        self.items[name] = record
        write(self._path, json.dumps({"items": [*self.items.values()]}, indent=2) + "\n")
        line = f"{name}: {status} {seconds:.1f} s {record['error']}".rstrip()
        print(line, flush=True)
        with open(self._log, "a", encoding="utf-8") as log:
            log.write(f"{_OWN} {time.strftime('%H:%M:%S')} {line}\n")

    def left(self, names: Sequence[str]) -> list[str]:
        """Returns the names of items without an ok, those that were ended before at the end."""
        known = {name: self.items.get(name, {"status": "", "seconds": 0}) for name in names}
        left = [name for name in names if known[name]["status"] != "ok"]
        return sorted(
            left, key=lambda n: known[n]["status"] == "timeout" and known[n]["seconds"] > 0
        )

    def number(self, item: str, name: str) -> Any:
        """Returns the value of a number; None if it is not known."""
        return self.items.get(item, {}).get("numbers", {}).get(name, {}).get("value")


@dataclasses.dataclass
class _Served:
    """What one process did: items that it recorded, those it was busy with, and how it ended."""

    recorded: set[str] = dataclasses.field(default_factory=set)
    busy: dict[str, float] = dataclasses.field(default_factory=dict)  # since when
    status: int | None = None  # exit status; None: the time was up

    def seconds(self, name: str) -> float:
        """How long it has been busy with an item."""
        return round(time.monotonic() - self.busy[name], 2) if name in self.busy else 0.0


@dataclasses.dataclass
class Runner:
    """Measures groups.

    Attributes:
        folder: The folder for all files.
        results: The records.
        until: The time, by `time.monotonic`, at which everything must have ended.
        data: As in `items.Settings`.
        path: Folders in which the processes look for packages first.
        limit: Seconds for each group instead of its own limit; 0: its own.
    """

    folder: Path
    results: Results
    until: float
    data: str = ""
    path: Sequence[str] = ()
    limit: float = 0.0

    def run(self, group: Group, names: Sequence[str], *, small: bool) -> None:
        """Measures the items of a group that have no result yet, and records all.

        Args:
            group: The group.
            names: Names of the items wanted.
            small: Whether sizes are tiny.
        """
        left, began = self.results.left(names), time.monotonic()
        if not left:
            return
        if group.needs and importlib.util.find_spec(group.needs) is None:
            return self._skip(left, f"{group.needs} is not installed")
        if self.until - began < (1 if small else group.expected / 2):
            return self._skip(left, "no time was left")
        until, threads = min(began + (self.limit or group.limit), self.until), group.threads
        while left:
            served = self._serve(group, left, threads, small, until)
            left = [name for name in left if name not in served.recorded]
            if served.status is None:
                error = f"the time of the group, {until - began:.0f} s, was up"
                return self._record(left, "timeout", error, served)
            if served.status == BROKEN and served.recorded:
                continue
            if len(served.busy) > 1:
                threads = 1  # which shows the item that ends the process
            elif left and (served.busy or not served.recorded):
                failed = [*served.busy] or left
                words = f"the process ended with status {served.status}: {self._last_words()}"
                self._record(failed, "failed", words, served)
                left = [name for name in left if name not in failed]
        return None

    def _skip(self, names: Sequence[str], error: str) -> None:
        """Records items that were never tried."""
        self._record([name for name in names if name not in self.results.items], "skipped", error)

    def _record(
        self, names: Sequence[str], status: str, error: str, served: _Served | None = None
    ) -> None:
        for name in names:
            seconds = served.seconds(name) if served else 0.0
            self.results.add(name, status, seconds=seconds, error=error)

    def _serve(
        self, group: Group, names: Sequence[str], threads: int, small: bool, until: float
    ) -> _Served:
        """Runs a process for some items until it ends or the time is up, and records its results."""
        served, device, messages = _Served(), "", queue.SimpleQueue()
        wait = (until - time.monotonic()) / 2 if group.quiet else 0.0
        order = {"module": group.module, "items": names, "threads": threads, "wait": wait}
        order |= {"small": small, "data": self.data, "scratch": str(self.folder / SCRATCH)}
        with self._process(group) as process:
            threading.Thread(target=_listen, args=(process, messages), daemon=True).start()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(order) + "\n")
                process.stdin.flush()
            while True:
                try:
                    message = messages.get(timeout=max(until - time.monotonic(), 0))
                except queue.Empty:
                    return served
                if message is None:
                    served.status = process.wait()
                    return served
                if "begin" in message:
                    served.busy[message["begin"]] = time.monotonic()
                elif "device" in message:
                    device = message["device"]
                else:
                    served.busy.pop(message["name"], None)
                    served.recorded.add(message["name"])
                    self.results.add(**message, device=device)

    @contextlib.contextmanager
    def _process(self, group: Group) -> Iterator[subprocess.Popen]:
        """Starts a process; ends it and all that it started."""
        found = [*self.path, str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        env = {**os.environ, **dict(group.env), "PYTHONPATH": os.pathsep.join(found)}
        # Large arrays in huge pages, see `deepinternal.cli.huge_pages`.
        env.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
        with open(self.folder / LOG, "a", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.accelerator.worker"],
                **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log},
                **{"text": True, "cwd": ROOT, "env": env, "start_new_session": True},
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()

    def _last_words(self) -> str:
        """Returns the last line of the log, which a process wrote before it ended."""
        lines = (self.folder / LOG).read_text(encoding="utf-8", errors="replace").split("\n")
        own = (line.strip() for line in lines if not line.startswith(_OWN))
        return ([*filter(None, own)] or [""])[-1][:200]


def _listen(process: subprocess.Popen, messages: queue.SimpleQueue) -> None:
    """Passes on the messages of a process, then None."""
    with contextlib.suppress(OSError, ValueError):
        for line in process.stdout:
            messages.put(json.loads(line))
    messages.put(None)
