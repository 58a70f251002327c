"""Messages to the user, which never stop or delay the program, even if nobody reads them."""

import contextlib
import errno
import io
import os
import queue
import sys
import threading
from typing import Any, TextIO

_GONE = (errno.EPIPE, errno.EIO)  # the reader has exited; the terminal has hung up
_PATIENCE = 1.0  # seconds to wait for a reader that does not read
_KEPT = 1000  # maximum number of pieces of text that are kept for such a reader


class Stream:
    """Wraps a text stream, and drops text that cannot be written.

    Attributes:
        wrapped: The stream.
    """

    def __init__(self, stream: TextIO | None, *, strict: bool = False):
        """Wraps a stream.

        Args:
            stream: The stream; None: all text is dropped.
            strict: Whether to raise all errors except that the reader has exited.
        """
        self.wrapped: Any = stream
        self._strict = strict

    def write(self, text: str) -> int:
        """Writes text; characters that the encoding lacks are escaped."""
        try:
            self.wrapped.write(text)
        except UnicodeEncodeError as error:
            escaped = text.encode(error.encoding, "backslashreplace").decode(error.encoding)
            return self.write(escaped)
        except Exception as error:
            self._drop(error)
        return len(text)

    def flush(self) -> None:
        """Passes the text to the operating system."""
        try:
            self.wrapped.flush()
        except Exception as error:
            self._drop(error)

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        try:
            return self.wrapped.isatty()
        except Exception:
            return False

    def _drop(self, error: Exception) -> None:
        if self._strict and not (isinstance(error, OSError) and error.errno in _GONE):
            raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)


class Unblocked(io.RawIOBase):
    """A file descriptor that a thread writes to, so that a full pipe or terminal blocks nobody else.

    `flush` returns when everything is written, or after a moment if the reader does not read.
    Until the reader continues, a limited amount of text is kept, and the rest is dropped.
    """

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self._queue: queue.Queue[bytes | threading.Event] = queue.Queue(_KEPT)
        self._dirty, self._flushed = False, threading.Event()
        self._flushed.set()
        threading.Thread(target=self._work, name="deepinternal-messages", daemon=True).start()

    def fileno(self) -> int:
        """Returns the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether the descriptor is a terminal."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Returns True."""
        return True

    def write(self, data: Any) -> int:
        """Passes bytes to the thread."""
        self._dirty = True
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Waits for the thread; returns at once if the reader has stopped and not continued since."""
        if self._dirty and self._flushed.is_set():
            self._dirty, self._flushed = False, threading.Event()
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(self._flushed)
                self._flushed.wait(_PATIENCE)

    def _work(self) -> None:
        while True:
            item = self._queue.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            with contextlib.suppress(OSError):
                while item:
                    item = item[os.write(self._descriptor, item) :]


def guard_streams() -> None:
    """Keeps a program running if stdout or stderr is closed, or if nobody reads from them.

    Two properties of stdout remain: a full disk is an error, and the program waits for a slow reader.
    Only the entry point of a program may call this.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except (
            OSError
        ):  # else the next file would get this descriptor, and C code would write to it
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sink = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open until the program ends)
    sys.stdout = Stream(sys.stdout or sink, strict=True)
    sys.stderr = Stream(_unblocked(sys.stderr) if sys.stderr else sink)


def _unblocked(stream: TextIO) -> TextIO:
    """Returns a non-blocking stream to the same descriptor; `stream` if it has no descriptor."""
    try:
        raw = Unblocked(stream.fileno())
    except (OSError, ValueError):
        return stream
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, write_through=True)


def tell(text: str) -> None:
    """Prints one line to stderr, if possible."""
    stderr = Stream(sys.stderr)
    stderr.write(f"{one_line(text)}\n")
    stderr.flush()


def one_line(text: str) -> str:
    """Returns text with line breaks and all other control characters escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
