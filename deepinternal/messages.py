"""Messages to the user, which never end the work, whatever has become of the terminal."""

import errno
import os
import sys
from typing import Any, TextIO

_GONE = (errno.EPIPE, errno.EIO)  # the reader has ended; the terminal has hung up


class Stream:
    """A text stream that drops what cannot be written; everything else is the wrapped stream's.

    Attributes:
        wrapped: the stream.
    """

    def __init__(self, stream: TextIO | None, *, strict: bool = False):
        """Args: stream: None drops everything; strict: raise all errors but that nobody reads."""
        self.wrapped: Any = stream
        self._strict = strict

    def write(self, text: str) -> int:
        """Writes text; characters that the encoding does not have are escaped."""
        try:
            self.wrapped.write(text)
        except UnicodeEncodeError as error:
            escaped = text.encode(error.encoding, "backslashreplace").decode(error.encoding)
            return self.write(escaped)
        except Exception as error:
            self._drop(error)
        return len(text)

    def flush(self) -> None:
        """Hands the text to the operating system."""
        try:
            self.wrapped.flush()
        except Exception as error:
            self._drop(error)

    def isatty(self) -> bool:
        """Whether it is a terminal."""
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
    """Keeps a program from ending where nobody reads stdout or stderr, or where they are closed.

    What a full disk does not take of stdout is still an error. Only an entry point may call it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # the next file that is opened would get its number, and what C code prints
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sink = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for as long as the program runs)
    sys.stdout = Stream(sys.stdout or sink, strict=True)
    sys.stderr = Stream(sys.stderr or sink)


def tell(text: str) -> None:
    """Prints one line to stderr, if that is possible."""
    stderr = Stream(sys.stderr)
    stderr.write(f"{one_line(text)}\n")
    stderr.flush()


def one_line(text: str) -> str:
    """Text with line breaks and all other control characters escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
