"""The progress line: rate and time left, in place on a terminal and now and then elsewhere."""

import io
import types

from deepinternal.engine import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def show(monkeypatch, stream, updates, **options):
    """Shows (time in seconds, step) updates of 100 steps."""
    clock = iter([0.0, *(time for time, _ in updates)])
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    line = progress.Progress("a", 100, stream=stream, **options)
    for _, step in updates:
        line.update(step, "31 dB")
    line.close("done")
    return stream.getvalue()


def test_a_log_file_gets_few_lines(monkeypatch):
    text = show(monkeypatch, io.StringIO(), [(1, 1), (2, 2), (16, 31), (17, 33), (41, 81)])
    assert text.splitlines() == [
        "a: step 31/100, 2.00 steps/s, at most 0:34 left, 31 dB",
        "a: step 81/100, 2.00 steps/s, at most 0:09 left, 31 dB",
        "a: done",
    ]


def test_nothing_is_said_of_a_rate_before_there_is_one(monkeypatch):
    text = show(monkeypatch, io.StringIO(), [(60, 1)])
    assert text.splitlines()[0] == "a: step 1/100, 31 dB"


def test_a_terminal_has_one_line(monkeypatch):
    text = show(monkeypatch, Terminal(), [(1, 1), (1.1, 2), (2, 3)])
    assert text.count("\n") == 1
    assert text.endswith("\r\x1b[2Ka: done\n")
    assert "step 1/100" in text
    assert "step 2/100" not in text
    assert "step 3/100" in text


def test_it_can_be_silent(monkeypatch):
    assert show(monkeypatch, io.StringIO(), [(60, 1)], enabled=False) == ""


def test_remarks_stay():
    for stream, begin in ((io.StringIO(), ""), (Terminal(), "\r\x1b[2K")):
        progress.Progress("a", 9, stream=stream).remark(["One.", "Two."])
        progress.Board(3, stream=stream).share("b").remark(["Three."])
        progress.Progress("a", 9, stream=stream, enabled=False).remark(["Four."])
        assert stream.getvalue() == f"{begin}a: One.\n{begin}a: Two.\n{begin}b: Three.\n"
