"""Messages reach whoever reads stderr, and end nothing where nobody does."""

import contextlib
import fcntl
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepinternal import messages
from deepinternal.messages import Stream, Unblocked, one_line, tell
from tests import needs


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", "tab\t", "\udce4.png"])
def test_a_message_is_one_line_that_says_what_it_escapes(text):
    line = one_line(text)
    assert line.isprintable()
    assert line.encode().decode("unicode_escape") == text
    assert one_line("[red] ä 字 'x' \\") == "[red] ä 字 'x' \\"


def test_a_message_is_printed_to_stderr(capsys):
    tell("café\nau lait")
    assert capsys.readouterr() == ("", "café\\nau lait\n")


def test_characters_that_the_terminal_lacks_are_escaped(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii"))
    tell("café")
    assert raw.getvalue() == b"caf\\xe9\n"


@needs.FULL_DEVICE
def test_messages_without_a_reader_are_dropped(monkeypatch):
    closed = io.StringIO()
    closed.close()
    full = open("/dev/full", "w")  # noqa: SIM115 (closing it would fail)
    for stream in (None, closed, full):
        monkeypatch.setattr(sys, "stderr", stream)
        tell("anyone?")
    with pytest.raises(OSError, match="space"):
        full.close()


@needs.FULL_DEVICE
def test_a_strict_stream_raises_all_other_errors():
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb", buffering=0) as raw:
        Stream(io.TextIOWrapper(raw, write_through=True), strict=True).write("x")
    with open("/dev/full", "wb", buffering=0) as raw:
        stream = Stream(io.TextIOWrapper(raw, write_through=True), strict=True)
        with pytest.raises(OSError, match="space"):
            stream.write("x")


ROOT = Path(__file__).parent.parent
PROGRAM = """
import contextlib, os, sys
from deepinternal.messages import guard_streams
guard_streams()
opened = os.open("/", os.O_RDONLY)
print("result " * 10_000)
print("message", file=sys.stderr)
sys.stderr.flush()
with contextlib.suppress(OSError):
    os.write(2, b"from C")
os._exit(9) if opened < 3 else sys.exit(5)
"""


# Without C code, which would wait.
UNREAD = PROGRAM.replace('os.write(2, b"from C")', "pass")


def run_program(shell, *, code=PROGRAM, **options):
    """Exit status of the program above with its output redirected as a shell is told."""
    command = ["sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-c", code]
    return subprocess.run(command, check=False, cwd=ROOT, **options).returncode


@pytest.mark.parametrize(
    "shell",
    [
        ">&- 2>&- <&-",
        "2>&- >/dev/null",
        pytest.param("2>/dev/full >/dev/null", marks=needs.FULL_DEVICE),
    ],
)
def test_a_program_continues_if_it_cannot_print(shell):
    assert run_program(shell) == 5


def test_a_program_continues_if_the_reader_has_exited():
    read, write = os.pipe()
    os.close(read)
    assert run_program("", stdout=write, stderr=write) == 5
    os.close(write)


def test_a_program_continues_if_the_reader_does_not_read():
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"x")
    os.set_blocking(write, True)
    assert run_program(">/dev/null", stderr=write, timeout=60, code=UNREAD) == 5
    os.close(read)
    os.close(write)


@needs.PIPE_SIZES
def test_text_for_a_slow_reader_is_kept_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(messages, "_PATIENCE", 0.05)
    read, write = os.pipe()
    size = fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write, b"x" * size)
    raw = Unblocked(write)
    for number in range(3000):
        raw.write(b"%d\n" % number)
    began = time.monotonic()
    for _ in range(1000):
        raw.flush()
    assert time.monotonic() - began < 20, "it waits only once"
    lines = os.read(read, size) and []
    while not lines or b"late" not in lines[-1]:
        raw.write(b"late\n")
        lines += os.read(read, size).splitlines()
    assert lines[:900] == [b"%d" % number for number in range(900)]
    assert b"2999" not in lines


@needs.FULL_DEVICE
def test_a_full_disk_is_an_error_of_stdout(capfd):
    assert run_program(">/dev/full") == 1
    assert "No space left" in capfd.readouterr().err
