"""Divides work among processes that share only a folder.

A claim on a name is a file FOLDER/<hash of the name>/<n> that is created exclusively; the highest n
is valid. A process takes over a stale claim by creating n + 1; if several processes race, only one
succeeds. A claim is stale once it has been released, once its process on this machine has ended, or
once its holder, on another machine or hung, has not touched it for some time.

Ages are measured with the file system's own clock, because the clocks of machines differ. A file
system that caches names (NFS: up to a minute) may show a takeover late to a holder that was
suspended; until then, two processes work on one name.
"""

import contextlib
import hashlib
import json
import os
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import Any

CLAIMS = ".claims"  # the folder of claims in a work folder


class Claims:
    """The claims of one process in one folder, which threads may share.

    Attributes:
        name: The name of this process, as `owner` returns it.
    """

    def __init__(self, folder: str | os.PathLike, *, stale_after: float = 60.0):
        """Starts a thread that keeps the claims fresh.

        Args:
            folder: The folder for the claims of all processes; created with the first claim.
            stale_after: Seconds without a sign of life after which a claim may be taken over; the
                same for all processes.
        """
        self._folder, self._stale_after = Path(folder), stale_after
        self.name = f"process {os.getpid()} on {socket.gethostname()}"
        self._mine: dict[str, Path] = {}
        self._lock = threading.Lock()
        process = {"pid": os.getpid(), "started": _start_time(os.getpid())}
        where = {"host": socket.gethostname(), "machine": _machine()}
        self._content = json.dumps({**where, **process, "token": secrets.token_hex(8)})
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, daemon=True)
        self._thread.start()

    def take(self, name: str) -> bool:
        """Claims a name. If several processes try at once, only one gets True.

        Args:
            name: Any text.

        Returns:
            Whether this process now holds the name, including if it held it before.

        Raises:
            OSError: The folder cannot be written.
        """
        with self._lock:
            if name in self._mine and self._is_newest(self._mine[name]):
                return True
            self._mine.pop(name, None)
            while True:
                began = time.monotonic()
                path = self._take_over(name)
                # A process that was suspended in between cannot trust what it saw before.
                if path is None or time.monotonic() - began < self._stale_after / 2:
                    break
                _mark_released(path)
            if path is not None:
                self._mine[name] = path
            return path is not None

    def held(self, name: str) -> bool:
        """Whether this process still holds a name; it may lose one while it is suspended."""
        with self._lock:
            return name in self._mine and self._is_newest(self._mine[name])

    def release(self, name: str) -> None:
        """Releases a name, so that others can take it at once; does nothing if it is not held."""
        with self._lock:
            path = self._mine.pop(name, None)
            if path is not None:
                _mark_released(path)

    def close(self) -> None:
        """Releases all held names and ends the thread."""
        self._closed.set()
        self._thread.join()
        for name in list(self._mine):
            self.release(name)

    def owner(self, name: str) -> str:
        """Returns the holder of a name, such as 'process 123 on node7'; '' if it is free."""
        return self._owner(self._place(name))

    def others(self) -> str:
        """Returns another process that holds any name, as `owner` does; '' if there is none."""
        mine = {path.parent for path in self._mine.values()}
        folders = (path for path in self._folder.iterdir() if path.is_dir() and path not in mine)
        return next(filter(None, map(self._owner, folders)), "")

    def _owner(self, folder: Path) -> str:
        generations = _generations(folder)
        if not generations or self._is_stale(folder / str(generations[-1])):
            return ""
        content = _read(folder / str(generations[-1]))[0]
        if "pid" not in content:
            return "an unknown process"
        return f"process {content['pid']} on {content.get('host')}"

    def _place(self, name: str) -> Path:
        # Names may be too long for the file system, or not valid UTF-8.
        key = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return self._folder / key

    def _take_over(self, name: str) -> Path | None:
        """Creates the next generation of a claim; None if another process holds it."""
        folder = self._place(name)
        folder.mkdir(parents=True, exist_ok=True)
        newest = max(_generations(folder), default=0)
        if newest and not self._is_stale(folder / str(newest)):
            return None
        path = folder / str(newest + 1)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return None
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(self._content)
        except OSError as error:
            error.filename = str(path)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        generations = _generations(folder)
        if max(generations, default=0) != newest + 1:  # it already existed, and was cleaned up
            _mark_released(path)
            return None
        self._clean_up(folder, generations)
        return path

    def _clean_up(self, folder: Path, generations: list[int]) -> None:
        """Removes old generations, oldest first, except those that another process may look for.

        The last but one is kept. It must have existed for some time before older ones are removed,
        so that every process that creates one of them again sees a higher one.
        """
        if len(generations) < 3:
            return
        with contextlib.suppress(OSError):
            times = [os.stat(folder / str(n)).st_ctime for n in generations[-2:]]
            if times[1] - times[0] > self._stale_after:
                for n in generations[:-2]:
                    os.unlink(folder / str(n))

    def _is_newest(self, path: Path) -> bool:
        # Check the successor first: it is removed after `path`, never before.
        return not path.with_name(str(int(path.name) + 1)).exists() and path.exists()

    def _is_stale(self, path: Path) -> bool:
        content, touched = _read(path)
        machine, pid = content.get("machine"), content.get("pid")
        if machine and machine == _machine() and _start_time(pid) != content.get("started"):
            return True
        return self._now() - touched > self._stale_after

    def _now(self) -> float:
        """Returns the time by the file system's clock."""
        os.utime(self._folder)
        return os.stat(self._folder).st_mtime

    def _keep_fresh(self) -> None:
        while not self._closed.wait(self._stale_after / 6):
            with self._lock:
                for path in self._mine.values():
                    with contextlib.suppress(OSError):
                        os.utime(path)


def _generations(folder: Path) -> list[int]:
    """Returns the numbers of a name's claim files, in order."""
    try:
        return sorted(int(n) for n in os.listdir(folder) if n.isdecimal())
    except FileNotFoundError:
        return []


def _mark_released(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(path, (0, 0))


def _read(path: Path) -> tuple[dict[str, Any], float]:
    """Returns the contents of a claim file, {} if it is damaged, and when it was touched."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            # NFS only asks the server after opening.
            touched, text = os.fstat(file.fileno()).st_mtime, file.read()
    except FileNotFoundError:  # cleaned up, because a newer one exists
        return {}, float("inf")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = {}
    return content if isinstance(content, dict) else {}, touched


def _machine() -> str:
    """Returns a key shared by processes that see each other by process id; '' if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')} {socket.gethostname()}"
    except OSError:
        return ""


def _start_time(pid: Any) -> str:
    """Returns when a process of this machine started, in ticks since boot; '' if it has ended."""
    try:
        text = Path(f"/proc/{int(pid)}/stat").read_text(errors="replace")
        fields = text.rsplit(")", 1)[1].split()  # the name before it may contain any character
    except (OSError, ValueError, TypeError, IndexError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]
