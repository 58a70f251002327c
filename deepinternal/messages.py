"""Messages to the user, which never end the program, even if the terminal is gone."""

import errno
import os
import sys
from typing import Any, TextIO

_GONE = (errno.EPIPE, errno.EIO)  # the reader has exited; the terminal has hung up


class Stream:
    """A text stream that drops text that cannot be written, and is otherwise the wrapped stream.

    Attributes:
        wrapped: The stream.
    """

    def __init__(self, stream: TextIO | None, *, strict: bool = False):
        """Args: stream: None drops all text; strict: raise all errors except of a gone reader."""
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


def guard_streams() -> None:
    """Keeps a program running if stdout or stderr has no reader or is closed.

    A full disk is still an error of stdout. Only an entry point may call this.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # else the next opened file would get this number and the output of C code
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sink = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open until the program ends)
    sys.stdout = Stream(sys.stdout or sink, strict=True)
    sys.stderr = Stream(sys.stderr or sink)


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
