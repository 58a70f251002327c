"""Keeps compiled programs for later processes, in the user's cache folder.

JAX's own settings take precedence: `JAX_COMPILATION_CACHE_DIR`, and
`JAX_ENABLE_COMPILATION_CACHE=false`.

A program KEY is kept in two files, which JAX writes one after the other: KEY-cache, which is never
replaced, and KEY-atime. If a process is killed in between, or the disk is full, a part remains.
"""

import contextlib
import hashlib
import os
import platform
import re
import time
import warnings
import zlib
from pathlib import Path

import filelock
import jax

_WAIT = 2.0  # seconds to wait for another process that reads or writes a program
_CHECKED = ".checked"  # a file whose time is that of the last check
_SIDES = ("-cache", "-atime")
_ZLIB, _ZSTD = b"\x78", b"\x28\xb5\x2f\xfd"  # JAX takes the second if it is installed
_LARGEST = 2 * 2**30  # bytes; the least recently used programs are removed first


def user_cache() -> Path:
    """Returns this package's folder in the user's cache. Raises RuntimeError without a home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepinternal"


def folder() -> Path:
    """Returns the folder for programs that contain instructions of this kind of processor."""
    try:
        flags = re.search(r"(?:flags|Features)\s*:(.*)", Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError):
        flags = platform.processor()
    kind = hashlib.sha256(f"{platform.machine()} {flags}".encode()).hexdigest()[:12]
    return user_cache() / f"programs-{kind}"


def use() -> None:
    """Keeps programs that take at least 0.1 s to compile, if the folder can be written.

    Parts of programs are removed first. A program that cannot be kept later, for example on a full
    disk, is compiled again by the next process, without a message.
    """
    if jax.config.jax_compilation_cache_dir or not jax.config.jax_enable_compilation_cache:
        return
    try:
        path = folder()
        path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path / ".lockfile", timeout=_WAIT)  # the one that JAX takes
        with contextlib.suppress(filelock.Timeout), lock:
            remove_parts(path)
    except (OSError, RuntimeError):  # the home is full, read-only or missing
        return
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_compilation_cache_max_size", _LARGEST)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")


def remove_parts(path: Path) -> None:
    """Removes parts of programs, and programs that are damaged, from a folder.

    The contents are only read if they have changed since the last check.

    Raises:
        OSError: The folder cannot be written.
    """
    checked = path / _CHECKED
    last = checked.stat().st_mtime_ns if checked.exists() else time.time_ns()
    checked.touch()
    keys = {side: {p.name.removesuffix(side) for p in path.glob(f"*{side}")} for side in _SIDES}
    whole = set.intersection(*keys.values())
    for key in set.union(*keys.values()):
        entry = path / f"{key}{_SIDES[0]}"
        if key not in whole or (entry.stat().st_mtime_ns >= last and not _is_whole(entry)):
            for side in _SIDES:
                (path / f"{key}{side}").unlink(missing_ok=True)


def _is_whole(entry: Path) -> bool:
    """Whether a compressed program can be decompressed; True if its compression is unknown."""
    data = entry.read_bytes()
    try:
        if data.startswith(_ZLIB):
            zlib.decompress(data)
        elif data.startswith(_ZSTD):
            _decompress_zstd(data)
    except Exception:  # including that the module for it is missing
        return False
    return bool(data)


def _decompress_zstd(data: bytes) -> None:
    try:
        from compression import zstd  # of Python 3.14
    except ImportError:
        import zstandard

        zstandard.ZstdDecompressor().decompress(data)
    else:
        zstd.decompress(data)
