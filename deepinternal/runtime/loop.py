"""Runs a method on one input: stages, evaluations, log, checkpoints, stopping.

The device is never waited for at each step: a few dispatches stay in flight, and the log follows
them. A run that was interrupted and resumed ends with the same bits as one that was not, for a
checkpoint holds all that decides the future and is taken between dispatches.
"""

import collections
import dataclasses
import math
import signal
import threading
import time
from typing import Any

import jax
import numpy as np

from deepinternal.runtime.checkpoint import Checkpoints
from deepinternal.runtime.parallel import Programs
from deepinternal.runtime.progress import Progress
from deepinternal.runtime.writers import JsonlLog
from deepinternal.types import Inputs, TrainState

IN_FLIGHT = 3  # dispatches waiting before the oldest is waited for


class Stopped(Exception):  # noqa: N818  (an event, not an error)
    """A signal ended the run after a checkpoint; `signum` says which, `run` how far it came."""

    def __init__(self, signum: int, run: "Run"):
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum, self.run = signum, run


class NonFiniteError(RuntimeError):
    """The loss became NaN or infinite."""


class StopSignal:
    """Notes SIGTERM and SIGINT while active, so that the loop can end in good order.

    A second signal has its default effect. Does nothing outside the main thread.
    """

    def __init__(self):
        self.signum = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, signum, frame) -> None:
        del frame
        self.signum = signum
        signal.signal(signum, signal.SIG_DFL)


@dataclasses.dataclass
class Run:
    """How a run went.

    Attributes:
        state: the state after the last step.
        inputs: the inputs of the last stage.
        steps: steps taken over all stages.
        seconds: wall time since the first start, of all resumed parts.
        train_seconds: the part of it spent stepping, without compiling.
        compile_seconds: the part of it spent compiling.
        programs: programs compiled.
        resumed_steps: at which step each resumption began.
    """

    state: TrainState | None = None
    inputs: Inputs | None = None
    steps: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    compile_seconds: float = 0.0
    programs: int = 0
    resumed_steps: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When the loop logs and saves; nothing here changes a result.

    Attributes:
        log_every: steps between lines of the log.
        checkpoint_every: seconds between checkpoints. The first comes with the first line of the
            log, so that whatever is in the log can be resumed.
    """

    log_every: int = 10
    checkpoint_every: float = 30.0


@dataclasses.dataclass
class _Pending:
    """A dispatch whose results have not been looked at: steps first+1 .. first+count."""

    first: int
    count: int
    results: Any
    tests: Any


class Loop:
    """One run of a method on one input. Call `train()` once."""

    def __init__(
        self,
        programs: Programs,
        inputs: Inputs,
        *,
        seed: int,
        schedule: Schedule | None = None,
        checkpoints: Checkpoints | None = None,
        log_path: str | None = None,
        progress: Progress | None = None,
        stop: StopSignal | None = None,
        started: float | None = None,
    ):
        """Sets up a run.

        Args:
            programs: the method's programs.
            inputs: the method's inputs.
            seed: of the random key.
            schedule: when to log and save.
            checkpoints: where to save and to resume from; None for neither.
            log_path: JSON-lines file; None for none.
            progress: told of every logged step.
            stop: asked between dispatches.
            started: `time.monotonic()` at which the work on this input began; default now.
        """
        self._programs, self._method = programs, programs.method
        self._initial, self._seed = inputs, seed
        self._schedule = schedule or Schedule()
        self._checkpoints, self._log_path = checkpoints, log_path
        self._progress, self._stop = progress, stop
        self._started = time.monotonic() if started is None else started
        self._compiled_before = (programs.seconds, programs.count)
        self._run = Run()
        self._log: JsonlLog | None = None
        self._tail: list[dict] = []  # log lines not yet written
        self._figure = ""
        self._saved: tuple[float, int] | None = None  # time and step of the last checkpoint
        self._base = Run()  # what earlier parts of this run have spent
        self._stage = 0
        self._training_since: float | None = None

    def train(self) -> Run:
        """Trains to the end, or to a signal.

        Raises:
            Stopped: a signal came; a checkpoint was saved.
            NonFiniteError: the loss is no longer a number.
        """
        self._training_since = time.monotonic()
        state, inputs, stage, offset = self._begin()
        if self._log_path:
            self._log = JsonlLog(self._log_path, upto=self._run.steps, tail=self._tail)
        self._tail = []
        try:
            while True:
                state = self._run_stage(stage, offset, state, inputs)
                if stage + 1 == len(self._method.stages):
                    break
                offset = self._run.steps
                state, inputs = self._programs.advance(stage, state, inputs)
                stage += 1
            if self._saved is None or self._saved[1] < self._run.steps:
                self._save(stage, offset, state, inputs)
            self._write_log()
        finally:
            if self._log:
                self._log.close()
        self._run.state, self._run.inputs = state, inputs
        self.account()
        self._training_since = None
        return self._run

    def _begin(self) -> tuple[TrainState, Inputs, int, int]:
        found = None
        if self._checkpoints:
            found = self._checkpoints.restore(self._method, self._initial)
        if found is None:
            state = self._programs.init(jax.random.key(self._seed), self._initial)
            return state, self._initial, 0, 0
        state, inputs, meta = found
        self._base = Run(**meta["spent"])
        self._tail = meta["tail"]
        self._run.steps = meta["steps"]
        self._run.resumed_steps = self._checkpoints.note_resumption(meta["steps"])
        self._saved = (time.monotonic(), meta["steps"])
        return state, inputs, meta["stage"], meta["offset"]

    def _run_stage(self, index: int, offset: int, state: TrainState, inputs: Inputs) -> TrainState:
        """All steps of a stage; `offset` steps were taken in the stages before."""
        stage = self._method.stages[index]
        self._stage = index
        step = _step_of(state)
        finished = self._programs.done(index, state)
        pending: collections.deque[_Pending] = collections.deque()
        while step < stage.steps and not finished:
            count, variant = self._next_dispatch(stage, step)
            state, metrics, done = self._programs.steps(index, variant, count, state, inputs)
            tests = {}
            if stage.evaluate and (step + count) % stage.evaluate_every == 0:
                state, tests = self._programs.evaluate(index, state, inputs)
            pending.append(_Pending(offset + step, count, (metrics, done), tests))
            step += count
            while len(pending) > IN_FLIGHT and not finished:
                finished = self._look_at(pending.popleft(), last=offset + stage.steps)
            if finished or not self._must_save(offset + step):
                continue
            while pending and not finished:
                finished = self._look_at(pending.popleft(), last=offset + stage.steps)
            self._save(index, offset, state, inputs)
            if self._stop and self._stop.signum:
                self.account()
                raise Stopped(self._stop.signum, self._run)
        while pending and not finished:
            finished = self._look_at(pending.popleft(), last=offset + stage.steps)
        self._run.steps = offset + _step_of(state)
        return state

    def _next_dispatch(self, stage, step: int) -> tuple[int, Any]:
        """How many steps to take at once: up to the next evaluation, change of variant, or end."""
        limit = min(self._programs.chunk, stage.steps - step)
        if stage.evaluate:
            limit = min(limit, stage.evaluate_every - step % stage.evaluate_every)
        variant = stage.variant(self._seed, step)
        count = 1
        while count < limit and stage.variant(self._seed, step + count) == variant:
            count += 1
        return count, variant

    def _look_at(self, entry: _Pending, *, last: int) -> bool:
        """Waits for a dispatch, logs its steps, and tells whether the stage is done."""
        (metrics, done), tests = jax.device_get((entry.results, entry.tests))
        every = self._schedule.log_every
        for i in range(entry.count):
            step = entry.first + i + 1
            ended = bool(done[i])
            values = {name: float(v[i]) for name, v in metrics.items()}
            if not math.isfinite(values.get("loss", 0.0)):
                raise NonFiniteError(
                    f"the loss became {values['loss']} at step {step}; a smaller "
                    "config.learning_rate may help"
                )
            tested = {k: float(v) for k, v in tests.items()} if i == entry.count - 1 else {}
            if step % every == 0 or tested or ended or step == last:
                line = {"step": step, "seconds": self._elapsed(), **self._stage_name()}
                self._tail.append({**line, **values, **tested})
            if self._method.progress in tested:
                self._figure = f"{self._method.progress} {tested[self._method.progress]:.2f}"
            if self._progress:
                self._progress.update(step, self._figure)
            self._run.steps = step
            if ended:
                break
        # Nothing is shown in the log before a checkpoint covers a part of it.
        if self._checkpoints is None or self._saved:
            self._write_log()
        return ended

    def _stage_name(self) -> dict[str, str]:
        stages = self._method.stages
        return {"stage": stages[self._stage].name} if len(stages) > 1 else {}

    def _write_log(self) -> None:
        if self._log:
            self._log.write(self._tail)
        self._tail = []

    def _must_save(self, step: int) -> bool:
        if self._stop and self._stop.signum:
            return True
        if self._checkpoints is None:
            return False
        if self._saved is None:
            return step >= self._schedule.log_every
        return time.monotonic() - self._saved[0] >= self._schedule.checkpoint_every

    def _save(self, stage: int, offset: int, state: TrainState, inputs: Inputs) -> None:
        """Saves a checkpoint, then the log lines it knows of."""
        if self._checkpoints:
            steps = offset + _step_of(state)
            self.account()
            spent = dataclasses.replace(self._run, state=None, inputs=None)
            meta = {
                "stage": stage,
                "offset": offset,
                "steps": steps,
                "tail": self._tail,
                "spent": dataclasses.asdict(spent),
            }
            self._checkpoints.save(steps, state, inputs if stage else None, meta)
            self._saved = (time.monotonic(), steps)
        self._write_log()

    def _elapsed(self) -> float:
        return round(self._base.seconds + time.monotonic() - self._started, 3)

    def account(self) -> None:
        """Adds up what this part of the run and the earlier ones have spent so far.

        Called again after the outputs are made and written, it counts those in, too.
        """
        base, run, (seconds, count) = self._base, self._run, self._compiled_before
        compiling = self._programs.seconds - seconds
        run.seconds = self._elapsed()
        run.compile_seconds = round(base.compile_seconds + compiling, 3)
        run.programs = base.programs + self._programs.count - count
        if self._training_since is not None:
            training = time.monotonic() - self._training_since - compiling
            run.train_seconds = round(base.train_seconds + training, 3)


def _step_of(state: TrainState) -> int:
    """Steps taken in the current stage, of the replica that has taken the most."""
    return int(np.max(jax.device_get(state.step)))
