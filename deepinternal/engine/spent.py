"""The cost of a run: its steps, times and compiled programs, over all its resumed parts."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, Protocol


@dataclasses.dataclass
class Spent:
    """The cost of a run, including all its resumed parts.

    Attributes:
        steps: Steps over all stages.
        seconds: Wall time since the first start.
        train_seconds: The part of it spent on steps, without compiling.
        compile_seconds: The part of it spent compiling.
        programs: The number of compiled programs.
        resumed_steps: The step at which each resumption began.
        continued_steps: The step at which each continuation with changed inputs began.
        spans: [begin, end] of each part in seconds since 1970.
    """

    steps: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    compile_seconds: float = 0.0
    programs: int = 0
    resumed_steps: list[int] = dataclasses.field(default_factory=list)
    continued_steps: list[int] = dataclasses.field(default_factory=list)
    spans: list[list[float]] = dataclasses.field(default_factory=list)


class Compiled(Protocol):
    """Compiled programs: their number, and the seconds that training has waited for them."""

    count: int
    seconds: float


class Account:
    """Keeps the cost of a run up to date.

    Attributes:
        spent: The cost; its steps are counted by the run itself.
    """

    def __init__(self, started: float):
        """Opens the account.

        Args:
            started: The `time.monotonic()` at which work on the input began.
        """
        self.spent = Spent()
        self._started = started
        self._began = round(time.time() - (time.monotonic() - started), 3)
        self._earlier = Spent()  # the cost of earlier parts of the run
        self._counting = True  # whether compiled programs count for this run
        self._training_since: float | None = None

    def begin(self, programs: Compiled) -> None:
        """Starts the time of the training, and the count of the programs that are compiled."""
        self._programs = programs
        self._compiled_before = (programs.seconds, programs.count)
        self._training_since = time.monotonic()

    def resume(self, earlier: Mapping[str, Any]) -> None:
        """Adds the cost of the earlier parts, the fields of `Spent` by name."""
        names = [field.name for field in dataclasses.fields(Spent)]
        self._earlier = Spent(**{name: earlier[name] for name in names if name in earlier})
        self.spent.continued_steps = self._earlier.continued_steps
        self.spent.resumed_steps = self._earlier.resumed_steps

    def update(self) -> None:
        """Updates all of the cost but its steps."""
        earlier, now = self._earlier, self.spent
        spent = round(time.monotonic() - self._started, 3)
        now.seconds = round(earlier.seconds + spent, 3)
        now.spans = [*earlier.spans, [self._began, round(self._began + spent, 3)]]
        if not self._counting:
            return
        seconds, count = self._compiled_before
        compiling = self._programs.seconds - seconds
        now.compile_seconds = round(earlier.compile_seconds + compiling, 3)
        now.programs = earlier.programs + self._programs.count - count
        if self._training_since is not None:
            training = time.monotonic() - self._training_since - compiling
            now.train_seconds = round(earlier.train_seconds + training, 3)

    def end_training(self) -> None:
        """Ends the time of the training."""
        self.update()
        self._training_since = None

    def stop_counting(self) -> None:
        """Ends the count of programs; those that are compiled later are for other runs."""
        self.update()
        self._counting = False
