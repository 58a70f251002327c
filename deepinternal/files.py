"""Functions that open input files with one-line errors, and that write files atomically."""

import contextlib
import hashlib
import logging
import os
import re
import secrets
import shutil
import stat
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from deepinternal.types import InputError

LONGEST = 255  # maximum number of bytes in a file name in common file systems
_DECODING = threading.RLock()  # guards the filters of warnings, which all threads share


def atomic_write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Writes a file atomically: other processes never see an incomplete file, even after a crash.

    Raises:
        OSError: The file cannot be written. An existing file remains unchanged.
    """
    folder = os.path.dirname(os.path.abspath(path))
    temporary = _temporary(folder)
    # The files of tempfile would be private (0600), also after the rename.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename, error.filename2 = os.fspath(path), None
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def atomic_write_text(path: str | os.PathLike, text: str) -> None:
    """Writes UTF-8 text with `atomic_write_bytes`."""
    atomic_write_bytes(path, text.encode())


def _temporary(folder: str) -> str:
    """Returns a new hidden path in a folder, which `remove_unfinished` recognises."""
    return os.path.join(folder, f".{secrets.token_hex(8)}.tmp")


def remove_unfinished(folder: str | os.PathLike, *, deep: bool = True, older: float = 0.0) -> None:
    """Removes the files and folders that killed processes were writing atomically.

    Args:
        folder: The folder, in which no other process may be writing.
        deep: Whether to search its subfolders.
        older: The minimum age, in seconds, of the files to remove.
    """
    for place, folders, names in os.walk(folder):
        for name in filter(re.compile(r"\.[0-9a-f]{16}\.tmp").fullmatch, [*names, *folders]):
            path = os.path.join(place, name)
            with contextlib.suppress(OSError):
                if older and time.time() - os.lstat(path).st_mtime <= older:
                    continue
                os.unlink(path) if name in names else shutil.rmtree(path)
        if not deep:
            folders.clear()


@contextlib.contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary folder, which is renamed to `path` if the block ends without an error.

    Raises:
        InputError: `path` is a file or lies below one, or is a folder that is not empty.
        OSError: The folder cannot be made.
    """
    target, name = os.path.realpath(path), show_path(path)
    if os.path.isdir(target) and os.listdir(target):
        raise InputError(f"{name}: is not empty; give a new folder.")
    if os.path.lexists(target) and not os.path.isdir(target):
        raise InputError(f"{name}: is a file; give a new folder.")
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{name}: lies below a file; give a new folder.") from None
    temporary = _temporary(os.path.dirname(target))
    os.mkdir(temporary)
    try:
        yield Path(temporary)
        os.replace(temporary, target)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename, error.filename2 = os.fspath(path), None
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def sha256_file(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a file in hex. Raises InputError if the file cannot be read."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_files(paths: Sequence[str | os.PathLike]) -> str:
    """Returns the SHA-256 of a file; for several files, that of their hashes in this order."""
    if len(paths) == 1:
        return sha256_file(paths[0])
    return hashlib.sha256("".join(map(sha256_file, paths)).encode()).hexdigest()


def stamp(paths: Sequence[str | os.PathLike]) -> list[list[int]]:
    """Returns [size in bytes, time of the last change in ns] of each file; [] if one is missing.

    A file with an unchanged stamp is assumed to have unchanged bytes.
    """
    try:
        return [[s.st_size, s.st_mtime_ns] for s in map(os.stat, paths)]
    except (OSError, ValueError):
        return []


@contextlib.contextmanager
def open_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Opens a non-empty regular file, or raises InputError with the reason."""
    name = show_path(path)
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{name}: is a folder; give a file.")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{name}: is not a regular file; give a file on disk.")
        file = open(path, "rb")  # noqa: SIM115 (closed below; only opening is guarded here)
    except FileNotFoundError:
        raise InputError(f"{name}: no such file; check the path.") from None
    except PermissionError:
        raise InputError(f"{name}: permission denied; make the file readable.") from None
    except OSError as error:
        why = error.strerror or reason(error)
        raise InputError(f"{name}: cannot be opened ({why}); give a readable file.") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: not a file name ({reason(error)}); give a path.") from None
    with file:
        if status.st_size == 0:
            raise InputError(f"{name}: the file is empty; give a complete file.")
        yield file


def expanded(path: str | os.PathLike) -> str:
    """Returns a path in which a leading `~` and environment variables are replaced, as in a shell.

    A path that exists as it is written remains unchanged, and so do unknown variables inside a path.

    Raises:
        InputError: The path begins with an unknown user or variable.
    """
    text = os.fspath(path)
    if os.path.lexists(text):
        return text
    found = os.path.expandvars(os.path.expanduser(text))
    first = text.split(os.sep)[0]
    if found == text and re.match(r"~\w+$|\$\w+$|\$\{\w+\}$", first) and not os.path.lexists(first):
        what = "user" if first[0] == "~" else "environment variable"
        name = first.strip("~${}")
        raise InputError(f"{show_path(text)}: there is no {what} {name}; write out the path.")
    return found


def file_name(stem: str, ending: str) -> str:
    """Returns stem and ending as a name that file systems accept.

    If it would be too long, the stem is shortened, and a part of its hash keeps it distinct.

    Example:
        >>> from deepinternal.files import file_name
        >>> file_name("photo", ".png"), len(file_name(300 * "a", ".png"))
        ('photo.png', 255)
    """
    data, most = stem.encode("utf-8", "surrogateescape"), LONGEST - len(os.fsencode(ending))
    if len(data) <= most:
        return stem + ending
    mark = f"~{hashlib.sha256(data).hexdigest()[:8]}"
    return data[: most - len(mark)].decode("utf-8", "ignore") + mark + ending


def show_path(path: str | os.PathLike) -> str:
    """Returns the path for a one-line message, with control characters escaped."""
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)


def printable(text: str | os.PathLike) -> str:
    """Returns text that can be encoded in UTF-8, with invalid bytes replaced by question marks."""
    return os.fspath(text).encode("utf-8", "replace").decode()


def reason(error: BaseException) -> str:
    """Returns the message of an error in one line; for a file's error, the file and the cause."""
    if isinstance(error, OSError) and error.strerror:
        named = isinstance(error.filename, str | bytes | os.PathLike)
        return (f"{show_path(os.fsdecode(error.filename))}: " if named else "") + error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps warnings and log lines of the image decoders off stderr, in one thread at a time."""
    loggers = [logging.getLogger(name) for name in ("PIL", "tifffile", "imageio")]
    # A logger without any handler prints to stderr. The user's own handlers still get the lines.
    handler = logging.NullHandler()
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with _DECODING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
