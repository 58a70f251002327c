"""The training of a method on one input: its state, statistics, log and checkpoints.

A run does not depend on devices or on the runs beside it; `engine.loop` drives it.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable

import jax
import numpy as np

from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.engine.errors import REMEDY, LostError, NonFiniteError
from deepinternal.engine.parallel import Programs
from deepinternal.engine.progress import Progress
from deepinternal.engine.run_log import RunLog, Tolerance
from deepinternal.engine.saver import Saver
from deepinternal.engine.spent import Account, Spent
from deepinternal.engine.telemetry import memory_mb
from deepinternal.engine.tensorboard import TensorBoard
from deepinternal.files import reason
from deepinternal.types import Inputs, PyTree, Stage, TrainState
from deepinternal.writers import read_jsonl


@dataclasses.dataclass(eq=False, kw_only=True)
class Run:
    """One run of a method on one input.

    Args:
        inputs: The method's inputs, which are moved to the device when the run begins; later, those
            of the current stage.
        seed: The seed of the random key.
        name: A name that identifies the run.
        log_every: Steps between lines of the log.
        checkpoint_every: Seconds between checkpoints, and before the first one. The log may be ahead
            of them; a run that is resumed drops the later lines.
        snapshot_every: Steps between permanent checkpoints; 0 for none.
        checkpoints: Where to save and to resume from; None for neither.
        log_path: The path of a JSON-lines file; None for none.
        progress: Updated with the initial step, and with every step.
        callback: Called with each logged step, and with its metrics and evaluation figures by name,
            even without a log. An exception from it ends the run.
        open_telemetry: Opens a further receiver of log lines; called with `before`, the existing
            lines.
        pictures: Called with the step and the pictures of an evaluation.
        held: Whether this process may still write results of this input.
        started: The `time.monotonic()` at which work on this input began; default: now.
        save_end: Whether the loop saves the state at the end of training. False leaves this to a
            later call of `complete`, which may be in another thread.
        changes: How often the inputs have changed since the first start. A run that had ended with
            earlier ones continues in the stage `more`; one that had not starts anew.
        start: The final state of a run with other inputs, and the number of its steps, to continue
            from in the stage `more`; None: none.

    Attributes:
        status: 'running', then 'done', 'failed' or 'stopped'.
        error: The error of a failed run.
        account: The account of the cost, which a further call of `update` brings up to date.
        spent: The cost so far.
        log: The log; the provider of `open_telemetry` closes its `telemetry`.
        programs: The programs of the run.
        stage: The index of the current stage.
        step: The number of steps dispatched in that stage.
        offset: The number of steps taken in earlier stages.
        state: The training state between stages and at the end; during training, a lane holds it.
        initial: The inputs of the first stage.
        ended: Whether the stage has met its stopping rule.
        unsaved: Why the state at the end of training could not be saved; '' if it was.
    """

    inputs: Inputs = dataclasses.field(kw_only=False)
    seed: int
    name: str = ""
    log_every: int = 10
    checkpoint_every: float = 30.0
    snapshot_every: int = 0
    checkpoints: Checkpoints | None = None
    log_path: str | None = None
    progress: Progress | None = None
    callback: Callable[[int, dict[str, float]], None] | None = None
    open_telemetry: Callable[..., TensorBoard] | None = None
    pictures: Callable[[int, dict[str, np.ndarray]], None] | None = None
    held: Callable[[], bool] = lambda: True
    started: float = dataclasses.field(default_factory=time.monotonic)
    save_end: bool = True
    changes: int = 0
    start: tuple[TrainState, int] | None = None
    status: str = dataclasses.field(init=False, default="running")
    error: Exception | None = dataclasses.field(init=False, default=None)
    account: Account = dataclasses.field(init=False)
    spent: Spent = dataclasses.field(init=False)
    log: RunLog = dataclasses.field(init=False, default_factory=RunLog)
    programs: Programs | None = dataclasses.field(init=False, default=None)
    stage: int = dataclasses.field(init=False, default=0)
    step: int = dataclasses.field(init=False, default=0)
    offset: int = dataclasses.field(init=False, default=0)
    state: TrainState | None = dataclasses.field(init=False, default=None)
    initial: Inputs = dataclasses.field(init=False)
    ended: bool = dataclasses.field(init=False, default=False)
    unsaved: str = dataclasses.field(init=False, default="")

    def __post_init__(self):
        self.account = Account(self.started)
        self.spent, self.initial = self.account.spent, self.inputs
        self._tolerant = Tolerance(self.name)
        self._saver = Saver(
            self.checkpoints, every=self.checkpoint_every, snapshot_every=self.snapshot_every
        )
        self._figure = ""

    @property
    def steps(self) -> int:
        """The number of steps taken over all stages."""
        return self.spent.steps

    @property
    def seconds(self) -> float:
        """The wall time since the first start, over all resumed parts."""
        return self.spent.seconds

    def begin(self, programs: Programs) -> None:
        """Creates or restores the state."""
        self.programs = programs
        self.account.begin(programs)
        self._saver.note()
        self.inputs = self.initial = jax.device_put(self.inputs)
        found, tail = None, []
        if self.checkpoints:
            found = self.checkpoints.restore(programs.method, self.inputs)
            if found and found[2].get("changes", 0) != self.changes and not self._has_ended(*found):
                found = None
            self.checkpoints.discard_above(found[2]["steps"] if found else -1)
        if found:
            tail = self._restore(*found)
        elif self.start:
            self._continue(*self.start)
        else:
            self.state = programs.init(jax.random.key(self.seed), self.inputs)
        if self.log_path:
            self.log = RunLog(self.log_path, upto=self.spent.steps, tail=tail)
        if self.open_telemetry:
            with self._tolerant("the files for TensorBoard"):
                self.log.telemetry = self.open_telemetry(before=read_jsonl(self.log_path))
        self._enter()
        if self.progress:
            self.progress.update(self.spent.steps, "")

    def _restore(self, state: TrainState, inputs: Inputs, meta: dict) -> list[dict]:
        """Restores a checkpoint; returns the lines of the log that were not yet written with it."""
        self.account.resume(meta["spent"])
        self._saver.note(meta["steps"])
        if meta.get("changes", 0) != self.changes:
            self._continue(state, meta["steps"])
            return meta.get("tail", [])
        self.state, self.inputs = state, inputs
        self.stage, self.offset = meta["stage"], meta["offset"]
        self.spent.steps = meta["steps"]
        self.spent.resumed_steps = self.checkpoints.note_resumption(meta["steps"])
        return meta.get("tail", [])

    def _continue(self, state: TrainState, steps: int) -> None:
        """Enters the stage `more` with the initial inputs, from a state after `steps` steps."""
        self.state = self.programs.again(state, self.initial)
        self.stage, self.offset = len(self.programs.method.stages), steps
        self.spent.steps = steps
        self.spent.continued_steps = [*self.spent.continued_steps, steps]

    def _has_ended(self, state: TrainState, inputs: Inputs, meta: dict) -> bool:
        """Whether a checkpoint is that of a run that had ended, or was continuing after that."""
        del inputs
        method, stage = self.programs.method, meta["stage"]
        if method.more is None or stage < len(method.stages) - 1:
            return False
        at_end = _step_of(state) >= method.all_stages[stage].steps
        return stage == len(method.stages) or at_end or self.programs.done(stage, state)

    def _enter(self) -> None:
        """Enters the stage of `state`."""
        self.step = _step_of(self.state)
        self.ended = self.programs.done(self.stage, self.state)
        if self.progress and self.stage == len(self.programs.method.stages):  # `more`
            self.progress.total = self.offset + self._current.steps

    @property
    def _current(self) -> Stage:
        return self.programs.method.all_stages[self.stage]

    @property
    def steps_left(self) -> int:
        """The number of steps of the stage that have not been dispatched."""
        return 0 if self.ended else self._current.steps - self.step

    def see(
        self, first: int, count: int, metrics: PyTree, done: np.ndarray, evaluated: PyTree
    ) -> None:
        """Processes the results of the steps `first` + 1 to `first` + `count` of the stage.

        Args:
            first: The number of earlier steps of the stage.
            count: The number of these steps.
            metrics: Arrays whose leading axis has at least `count` entries.
            done: Whether the stage has met its stopping rule, after each step.
            evaluated: The metrics and pictures of an evaluation after the steps, by name; empty without
                an evaluation.

        Raises:
            NonFiniteError: The loss became NaN or infinite.
        """
        last = self.offset + self._current.steps
        shown = {name: value for name, value in evaluated.items() if np.ndim(value) == 3}
        evaluated = {name: float(value) for name, value in evaluated.items() if name not in shown}
        for i in range(count):
            step = self.offset + first + i + 1
            self.ended = bool(done[i])
            values = {name: float(v[i]) for name, v in metrics.items()}
            if not math.isfinite(values.get("loss", 0.0)):
                raise NonFiniteError(f"the loss became {values['loss']} at step {step}; {REMEDY}")
            figures = evaluated if i == count - 1 else {}
            logged = step % self.log_every == 0 or figures or self.ended or step == last
            if logged:
                self._note(step, values, figures)
            if (shown_name := self.programs.method.progress) in figures:
                self._figure = f"{shown_name} {figures[shown_name]:.2f}"
            if self.progress:
                self.progress.update(step, self._figure)
            self.spent.steps = step
            if logged and not self._called_back(step, values | figures):
                return
            if self.ended:
                break
        if shown and self.pictures and self.held():
            with self._tolerant("pictures"):
                self.pictures(self.spent.steps, shown)
        with self._tolerant("the log"):
            self.log.write()

    def _note(self, step: int, values: dict[str, float], figures: dict[str, float]) -> None:
        """Adds one line to the log: the metrics of a step, and the figures of its evaluation."""
        several = len(self.programs.method.all_stages) > 1
        stage = {"stage": self._current.name} if several else {}
        self.account.update()
        line = {"step": step, "seconds": self.seconds, **stage, **values, **figures}
        line |= {"compile_seconds": self.spent.compile_seconds, "programs": self.spent.programs}
        self.log.add(line | {"memory_mb": memory_mb(self.programs.devices)})

    def _called_back(self, step: int, metrics: dict[str, float]) -> bool:
        """Calls the callback; False if it raised an exception, which has ended the run."""
        try:
            if self.callback:
                self.callback(step, metrics)
        except Exception as error:  # from the user's code; it must not end the runs beside this one
            self.fail(error)
        return self.status == "running"

    def must_save(self, *, least: float = 0.0) -> bool:
        """Whether a checkpoint is due; see `Saver.is_due`."""
        return self._saver.is_due(self.offset + self.step, least=least)

    def save_if_possible(self, state: TrainState) -> None:
        """Saves a checkpoint like `save`; after a failure, tries again when the next one is due."""
        self._saver.postpone()
        with self._tolerant("checkpoints"):
            self.save(state)

    def save(self, state: TrainState) -> None:
        """Saves a checkpoint.

        Args:
            state: The state after steps that have all been processed.

        Raises:
            NonFiniteError: A parameter is NaN or infinite; the last checkpoint is kept.
            LostError: Another process has taken over.
            OSError: The checkpoint cannot be written; the last one is kept.
        """
        if not self.held():
            raise LostError("another process has taken over this image")
        steps = self.offset + _step_of(state)
        self._saver.save(steps, state, self.inputs if self.stage else None, self._meta)

    def _meta(self, steps: int) -> dict:
        """Returns what a checkpoint after `steps` steps holds besides the state and the inputs."""
        self.account.update()
        return {
            "stage": self.stage,
            "offset": self.offset,
            "steps": steps,
            "changes": self.changes,
            "spent": dataclasses.asdict(self.spent),
            "tail": self.log.unwritten,
        }

    def finish_stage(self, state: TrainState) -> None:
        """Moves on to the next stage, or ends the run.

        Args:
            state: The state at the end of the stage, after steps that have all been processed.
        """
        self.spent.steps = self.offset + _step_of(state)
        if self.stage + 1 < len(self.programs.method.stages):
            self.offset = self.spent.steps
            self.state, self.inputs = self.programs.advance(self.stage, state, self.inputs)
            self.stage += 1
            self._enter()
            return
        self.state = state
        if self.save_end:
            self.complete()
        else:
            self.status = "done"
            self.account.end_training()

    def complete(self) -> None:
        """Saves the state at the end of training, if possible, and closes the files of the run.

        Raises:
            NonFiniteError: A parameter is NaN or infinite.
            LostError: Another process has taken over.
            OSError: The log cannot be written.
        """
        try:
            self.save(self.state)
        except OSError as error:  # the results may still have room
            self.unsaved = reason(error)
        self.close("done")

    def stop(self, state: TrainState) -> None:
        """Saves a checkpoint and stops the run before its end."""
        self.save(state)
        self.state, self.spent.steps = state, self.offset + _step_of(state)
        self.close("stopped")

    def fail(self, error: Exception) -> None:
        """Ends the run with an error; its checkpoints are kept."""
        self.error = error
        with contextlib.suppress(OSError):
            self.close("failed")

    def close(self, status: str) -> None:
        """Ends the run and closes its files; `account` may still be updated.

        Raises:
            OSError: The log cannot be written.
        """
        self.status = status
        self.account.end_training()
        try:
            if self.held():
                self.log.write()
        finally:
            self.log.close()


def _step_of(state: TrainState) -> int:
    """Returns the steps taken in the current stage, by the replica that has taken the most."""
    return int(np.max(jax.device_get(state.step)))
