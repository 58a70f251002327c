"""Progress: occasional lines in a log, updates in place on a terminal, errors that end no run."""

import io
import os
import re
import subprocess
import sys
import types

import pytest

from deepinternal.engine import live, progress
from deepinternal.engine.loop import train
from deepinternal.engine.parallel import Programs
from deepinternal.engine.progress import Board, Progress
from tests import tiny_methods


class Terminal(io.StringIO):
    """Remembers what a terminal is sent."""

    def isatty(self):
        return True

    def lines(self):
        """What is to be seen on it, without trailing blanks."""
        lines, row, column = [""], 0, 0
        for part in re.findall(r"\x1b\[[\d;?]*[A-Za-z]|.|\n", self.getvalue()):
            if part == "\n":
                row, column = row + 1, 0
                lines += [""] * (row == len(lines))
            elif part == "\r":
                column = 0
            elif part == "\x1b[2K":
                lines[row] = ""
            elif part.endswith("A") and len(part) > 1:
                row -= int(part[2:-1])
            elif len(part) == 1:
                lines[row] = lines[row].ljust(column)[:column] + part + lines[row][column + 1 :]
                column += 1
            else:
                assert part[-1] == "m", f"moves in another way: {part!r}"
        return [line.rstrip() for line in lines if line.strip()]


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, as `clock.now`."""
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def show(clock, stream, updates, **options):
    """Shows (time in seconds, step) updates of 100 steps."""
    line = Progress("a", 100, stream=stream, **options)
    for clock.now, step in updates:
        line.update(step, "31 dB")
    line.close("done")
    return stream.getvalue()


@pytest.mark.parametrize("force", ["", "1"])
def test_a_log_file_gets_few_lines(clock, monkeypatch, force):
    monkeypatch.setenv("FORCE_COLOR", force)
    updates = [(0, 0), (1, 1), (2, 2), (16, 31), (17, 33), (41, 81)]
    text = show(clock, io.StringIO(), updates)
    assert text.splitlines() == [
        "a: step 31/100, 2.00 steps/s, at most 0:34 left, 31 dB",
        "a: step 81/100, 2.00 steps/s, at most 0:09 left, 31 dB",
        "a: done",
    ]


def test_no_rate_is_shown_before_the_second_update(clock):
    text = show(clock, io.StringIO(), [(0, 40), (60, 41)])
    assert text.splitlines()[0] == "a: step 41/100, 31 dB"


def test_it_can_be_silent(clock, terminal):
    assert show(clock, io.StringIO(), [(0, 0), (60, 1)], enabled=False) == ""
    assert show(clock, terminal, [(0, 0), (60, 1)], enabled=False) == ""


def test_remarks_stay_in_a_log():
    stream = io.StringIO()
    Progress("a", 9, stream=stream).remark(["One.", "Two."])
    Board(3, stream=stream).share("b\n\x1b[31m", 9).remark(["Three."])
    Progress("a", 9, stream=stream, enabled=False).remark(["Four."])
    assert stream.getvalue() == "a: One.\na: Two.\nb\\n\\x1b[31m: Three.\n"


def test_a_log_counts_the_images_of_a_board(clock):
    stream = io.StringIO()
    board = Board(3, stream=stream)
    a, b = board.share("a", 100), board.share("b", 100)
    for clock.now, step in ((0, 0), (5, 1), (15, 21)):
        a.update(step)
        b.update(2 * step)
    b.close("done, 42 steps")
    clock.now = 30
    a.update(51)
    a.close()
    assert stream.getvalue().splitlines() == [
        "3 images: 0 ended, 2 in training, 2.0 steps/s in all",
        "b: done, 42 steps",
        "a: step 51/100, 2.00 steps/s, at most 0:24 left",
    ]
    assert board.ended == 2


def test_a_terminal_has_one_line_that_moves(clock, terminal):
    line = Progress("[red]photo\x1b[31m", 100, stream=terminal)
    line.remark(["The blur is [bold]."])
    line.update(0)
    for clock.now, step in ((1, 1), (1.1, 2), (2, 33)):
        line.update(step, "psnr 31.20")
    shown = terminal.lines()
    assert shown[0] == "[red]photo\\x1b[31m: The blur is [bold]."
    assert len(shown) == 2
    assert shown[1].startswith("[red]photo\\x1b[31m ")
    assert " 33/100" in shown[1]
    assert shown[1].endswith(" psnr 31.20")
    assert " 1/100" in terminal.getvalue()
    assert " 2/100" not in terminal.getvalue(), "a moment after another"
    line.close("done, 33 steps")
    assert terminal.lines() == [shown[0], "[red]photo\\x1b[31m: done, 33 steps"]


@pytest.mark.parametrize("columns", [30, 50, 72, 200])
def test_a_terminal_has_one_line_per_image(clock, terminal, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    board = Board(3, stream=terminal)
    long = board.share("photo" * 20, 100)
    others = [board.share(name, 100) for name in "ab"]
    for clock.now in (1, 2, 3):
        for row in (long, *others):
            row.update(20 + int(clock.now), "psnr 31.20")
    clock.now = 4
    long.update(24, "psnr 31.20")
    shown = terminal.lines()
    assert [line[0] for line in shown] == [*"pab", "0"]
    assert shown[-1] == "0 of 3 images ended"[:columns]
    assert all(len(line) <= columns for line in shown)
    assert all("23/100" in line for line in shown[1:3])
    others[0].close("done")
    clock.now = 5
    long.update(25)
    shown = terminal.lines()
    assert shown[0] == "a: done"
    assert [line[0] for line in shown[1:]] == ["p", "b", "1"]
    board.close()
    assert terminal.lines() == ["a: done"]


def test_images_that_the_terminal_has_no_space_for_are_counted(terminal, monkeypatch):
    monkeypatch.setenv("LINES", "4")
    board = Board(9, stream=terminal)
    rows = [board.share(name, 100) for name in "abcde"]
    for row in rows:
        row.update(1)
    board._screen.show(board)
    assert [line.split(" ")[0] for line in terminal.lines()[:-1]] == ["a", "b"]
    assert terminal.lines()[-1] == "0 of 9 images ended, 3 more in training"
    rows[0].close("done")
    board._screen.show(board)
    assert [line.split(" ")[0] for line in terminal.lines()[:-1]] == ["a:", "b", "c"]


def test_a_dumb_terminal_gets_plain_lines(clock, terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert show(clock, terminal, [(0, 0), (1, 1), (16, 31)]).splitlines() == [
        "a: step 31/100, 2.00 steps/s, at most 0:34 left, 31 dB",
        "a: done",
    ]


def test_other_output_stays_above_and_stderr_is_restored(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal)

    def work():
        with Progress("a", 9) as line:
            line.update(1)
            print("[red]from [/] elsewhere " * 4, file=sys.stderr)
            assert [text[0] for text in terminal.lines()] == ["[", "a"]
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert sys.stderr is terminal
    assert terminal.lines() == ["[red]from [/] elsewhere " * 3 + "[red]from [/] elsewhere"]


def test_stdout_is_left_alone_where_it_is_not_the_terminal(terminal, capsys):
    with Progress("a", 9, stream=terminal) as line:
        line.update(1)
        print("result")
    assert capsys.readouterr().out == "result\n"
    assert "result" not in terminal.getvalue()


class Broken:
    """A stream of which nothing works."""

    def __init__(self, error):
        self.error = error

    def fail(self, *args):
        raise self.error

    write = flush = isatty = fileno = fail


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("closed"), RuntimeError()])
def test_a_broken_stream_never_ends_the_work(clock, monkeypatch, error):
    monkeypatch.setattr(sys, "stderr", Broken(error))
    line = Progress("a", 9)
    for clock.now in (0, 20, 40):
        line.update(3)
    line.close("done")


def test_a_terminal_that_goes_away_never_ends_the_work(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    master, slave = os.openpty()
    with open(slave, "wb", buffering=0) as raw:
        line = Progress("a", 9, stream=io.TextIOWrapper(raw, write_through=True))
        line.update(1)
        shown = b""
        while b"1/9" not in shown:
            shown += os.read(master, 1000)
        os.close(master)
        with pytest.raises(OSError, match="Input/output"):
            raw.write(b"x")
        clock.now = 1
        line.update(2)
        line.remark(["Anyone?"])
        line.close("done")


def test_an_error_of_the_display_never_ends_the_work(clock, terminal, monkeypatch):
    monkeypatch.setattr(live.Terminal, "show", Broken(KeyError()).fail)
    assert show(clock, terminal, [(0, 0), (1, 1)]) == ""


def test_training_continues_without_stderr(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    inputs = {"image": tiny_methods.photo()}
    with Progress("a", 3) as line:
        ended = train(Programs(tiny_methods.gan(3, sizes=(8,))), inputs, seed=0, progress=line)
    assert ended.steps == line.step == 3


def test_a_notebook_shows_one_output_that_changes(clock, monkeypatch):
    shown = []

    def display(table, *, display_id):
        assert display_id
        shown.append(table)
        return types.SimpleNamespace(update=shown.append)

    def text():
        lines = shown[-1]._repr_mimebundle_([], [])["text/plain"].splitlines()
        return [line.rstrip() for line in lines]

    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    module = types.SimpleNamespace(display=display)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(display=module))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(live, "is_notebook", lambda: True)
    line = Progress("[red]", 9)
    line.remark(["One."])
    line.update(0)
    clock.now = 1
    line.update(3, "psnr 31.20")
    assert text()[0] == "[red]: One."
    assert "3/9" in text()[1]
    assert "psnr 31.20" in text()[1]
    line.close("done")
    assert text() == ["[red]: One.", "[red]: done"]


def test_a_log_does_not_import_what_terminals_need():
    code = (
        "import sys; from deepinternal.engine.progress import Progress\n"
        "with Progress('a', 1) as line: line.update(1)\n"
        "print([name for name in sys.modules if name.startswith('rich')])"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True) == "[]\n"
