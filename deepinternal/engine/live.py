"""Progress displays that rich updates in place, on a terminal and in a notebook.

This module is only imported if one of the two shows progress.
"""

import os
import sys
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Column, Table
from rich.text import Text

from deepinternal.engine.progress import Board, Progress
from deepinternal.messages import Stream

_RATE_OVER = 120.0  # seconds over which the rate is averaged
_WIDE = 72  # minimum number of columns for all parts of a line


class Terminal:
    """A screen on a terminal: a line for each run in training, below the permanent lines."""

    interval, at_once = 0.2, True

    def __init__(self, stream: Stream):
        self._console = _console(stream)
        self._bars: _Bars | None = None
        self._stream = stream

    def show(self, board: Board) -> None:
        """Draws the lines of the runs."""
        if self._bars is None:
            self._bars = _Bars(self._console, redirect_stdout=_same_file(self._stream, sys.stdout))
            self._bars.start()
        self._bars.follow(board)
        self._bars.refresh()

    def say(self, text: str) -> None:
        """Writes a line above those of the runs."""
        self._console.print(Text(text))

    def close(self) -> None:
        """Removes the lines of the runs."""
        if self._bars is not None:
            bars, self._bars = self._bars, None
            bars.stop()


class Notebook:
    """A screen in the output of a notebook's cell, without widgets."""

    interval, at_once = 0.5, True

    def __init__(self):
        from IPython.display import display

        self._lines: list[str] = []
        self._bars: _Bars | None = None
        self._handle = None
        self._display = display

    def show(self, board: Board) -> None:
        """Draws the permanent lines, and those of the runs below them."""
        self._bars = self._bars or _Bars(Console(quiet=True), disable=True)
        self._bars.follow(board)
        self._draw()

    def say(self, text: str) -> None:
        """Writes a line above those of the runs."""
        self._lines.append(text)
        self._draw()

    def close(self) -> None:
        """Removes the lines of the runs."""
        self._bars = None
        self._draw()

    def _draw(self) -> None:
        table = Table.grid()
        for part in [
            *map(Text, self._lines),
            *(self._bars.get_renderables() if self._bars else ()),
        ]:
            table.add_row(part)
        if self._handle is None:
            self._handle = self._display(table, display_id=True)
        else:
            self._handle.update(table)


class _Bars(RichProgress):
    """A line for each run and, if there are several, one with the number that have ended."""

    def __init__(self, console: Console, **options: Any):
        self._ids: dict[Progress, TaskID] = {}
        self._headline = ""
        fixed = lambda: Column(no_wrap=True)  # on a narrow terminal, the label is shortened
        bar, steps = BarColumn(bar_width=16), MofNCompleteColumn(table_column=fixed())
        left = TimeRemainingColumn(compact=True, table_column=fixed())
        figure = TextColumn("{task.fields[figure]}", markup=False, table_column=fixed())
        self._wide = (_Label(), bar, steps, _Rate(table_column=fixed()), left, figure)
        self._narrow = (_Label(), steps, left, figure)
        super().__init__(
            *self._wide,
            console=console,
            auto_refresh=False,
            transient=True,
            speed_estimate_period=_RATE_OVER,
            **options,
        )

    def follow(self, board: Board) -> None:
        """Updates the lines to the progress of a board."""
        shown = board.rows[: max(1, self.console.height - 2)]
        for row in self._ids.keys() - shown:
            self.remove_task(self._ids.pop(row))
        for row in shown:
            if row not in self._ids:
                self._ids[row] = self.add_task(row.label, total=row.total, figure="")
            self.update(self._ids[row], completed=row.step, figure=row.figure)
        hidden = len(board.rows) - len(shown)
        more = f", {hidden} more in training" if hidden else ""
        ended = f"{board.ended} of {board.images} images ended"
        self._headline = ended + more if board.images > 1 else ""
        self.columns = self._wide if self.console.width >= _WIDE else self._narrow

    def get_renderables(self) -> list[RenderableType]:
        """Returns the lines."""
        headline = [Text(self._headline, no_wrap=True)] if self._headline else []
        return [self.make_tasks_table(self.tasks), *headline]


class _Label(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(task.description, no_wrap=True, overflow="ellipsis")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} steps/s" if task.speed else "")


class _Console(Console):
    def show_cursor(self, show: bool = True) -> bool:
        """Leaves the cursor visible, because a killed process could not show it again."""
        return False


def _console(stream: Any) -> Console:
    return _Console(
        file=stream,
        force_terminal=True,
        force_interactive=True,
        force_jupyter=False,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=True,
    )


def _same_file(a: Any, b: Any) -> bool:
    try:
        return os.path.sameopenfile(a.fileno(), b.fileno())
    except Exception:  # not every stream has a descriptor
        return False


def can_move(stream: Stream) -> bool:
    """Whether the terminal of the stream can redraw a line."""
    return not _console(stream).is_dumb_terminal


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    return Console().is_jupyter
