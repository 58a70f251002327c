"""One image's way through a method: its account, its log and its checkpoints.

A track knows nothing of devices or of the other images that train beside it: `engine.loop` drives it.
"""

import dataclasses
import math
import time
from collections.abc import Callable

import jax
import numpy as np

from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.engine.parallel import Programs
from deepinternal.engine.progress import Progress
from deepinternal.engine.telemetry import memory_mb
from deepinternal.engine.tensorboard import TensorBoard
from deepinternal.types import Inputs, PyTree, Stage, TrainState
from deepinternal.writers import JsonlLog, read_jsonl


class TrackError(RuntimeError):
    """Something that ends one run, not those beside it."""


class NonFiniteError(TrackError):
    """The loss, or a parameter, became NaN or infinite."""


class LostError(TrackError):
    """Another process works on this image now."""


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
        spans: [begin, end] of each part in seconds since 1970.
    """

    state: TrainState | None = None
    inputs: Inputs | None = None
    steps: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    compile_seconds: float = 0.0
    programs: int = 0
    resumed_steps: list[int] = dataclasses.field(default_factory=list)
    spans: list[list[float]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When runs log and save; nothing here changes a result.

    Attributes:
        log_every: steps between lines of the log.
        checkpoint_every: seconds between checkpoints. The first comes with the first line of the
            log, so that whatever is in the log can be resumed.
        snapshot_every: steps between checkpoints that stay; 0 for none.
    """

    log_every: int = 10
    checkpoint_every: float = 30.0
    snapshot_every: int = 0

    def until_snapshot(self, step: int) -> float:
        """Steps from `step` to the next snapshot; infinite where there is none."""
        return self.snapshot_every - step % self.snapshot_every if self.snapshot_every else math.inf


class Track:
    """One run of a method on one input.

    Attributes:
        name: as given.
        status: 'running', then 'done', 'failed' or 'stopped'.
        error: why it failed.
        run: how it goes.
        stage: index of the stage it is in.
        step: steps dispatched in that stage.
        offset: steps taken in the stages before.
        state: the training state between stages and after the end; while it trains, a lane has it.
        initial: the inputs of the first stage.
        inputs: those of the current one.
        telemetry: what gets the log as well; whoever asked for it closes it.
        ended: whether the stage came to its own end.
    """

    def __init__(
        self,
        inputs: Inputs,
        *,
        seed: int,
        name: str = "",
        schedule: Schedule | None = None,
        checkpoints: Checkpoints | None = None,
        log_path: str | None = None,
        progress: Progress | None = None,
        telemetry: Callable[[list[dict]], TensorBoard] | None = None,
        pictures: Callable[[int, dict[str, np.ndarray]], None] | None = None,
        held: Callable[[], bool] = lambda: True,
        started: float | None = None,
    ):
        """Sets up a run.

        Args:
            inputs: the method's inputs.
            seed: of the random key.
            name: whatever tells it from others.
            schedule: when to log and save.
            checkpoints: where to save and to resume from, closed in the end; None for neither.
            log_path: JSON-lines file; None for none.
            progress: told of every logged step.
            telemetry: makes what gets the lines of the log as well, from those that are there.
            pictures: gets the step and the pictures of an evaluation.
            held: whether this process is still the one to write about this input.
            started: `time.monotonic()` at which the work on this input began; default now.
        """
        self.inputs = self.initial = inputs
        self.seed, self.name = seed, name
        self.status, self.error = "running", None
        self.run = Run()
        self.stage = self.step = self.offset = 0
        self.state: TrainState | None = None
        self.ended = False
        self._schedule = schedule or Schedule()
        self._checkpoints, self._log_path = checkpoints, log_path
        self.progress, self.telemetry = progress, None
        self._make_telemetry, self._held = telemetry, held
        self._pictures = pictures
        self._started = time.monotonic() if started is None else started
        self._began = round(time.time() - (time.monotonic() - self._started), 3)
        self._log: JsonlLog | None = None
        self._tail: list[dict] = []  # log lines not yet written
        self._figure = ""
        self._saved: tuple[float, int] | None = None  # time and step of the last checkpoint
        self._base = Run()  # what earlier parts of this run have spent
        self._training_since: float | None = None

    def begin(self, programs: Programs) -> None:
        """Makes or restores the state."""
        self._programs, self._stages = programs, programs.method.stages
        self._figure_name = programs.method.progress
        self._compiled_before = (programs.seconds, programs.count)
        self._training_since = time.monotonic()
        found = None
        if self._checkpoints:
            found = self._checkpoints.restore(programs.method, self.inputs)
        if found is None:
            self.state = programs.init(jax.random.key(self.seed), self.inputs)
        else:
            self.state, self.inputs, meta = found
            self._base = Run(**meta["spent"])
            self._tail = meta["tail"]
            self.stage, self.offset = meta["stage"], meta["offset"]
            self.run.steps = meta["steps"]
            self.run.resumed_steps = self._checkpoints.note_resumption(meta["steps"])
            self._saved = (time.monotonic(), meta["steps"])
        if self._log_path:
            self._log = JsonlLog(self._log_path, upto=self.run.steps, tail=self._tail)
        if self._make_telemetry:
            self.telemetry = self._make_telemetry(read_jsonl(self._log_path))
        self._tail = []
        self._enter()

    def _enter(self) -> None:
        """Into the stage that `state` is of."""
        self.step = _step_of(self.state)
        self.ended = self._programs.done(self.stage, self.state)

    @property
    def spec(self) -> Stage:
        """The stage it is in."""
        return self._stages[self.stage]

    @property
    def steps_left(self) -> int:
        """Steps of the stage that have not been dispatched."""
        return 0 if self.ended else self.spec.steps - self.step

    @property
    def until_snapshot(self) -> float:
        """Steps to the next checkpoint that stays."""
        return self._schedule.until_snapshot(self.offset + self.step)

    def see(self, first: int, count: int, metrics: PyTree, done: np.ndarray, tests: PyTree) -> None:
        """Takes note of what steps `first` + 1 to `first` + `count` of the stage have given.

        Args:
            first: steps of the stage before them.
            count: how many.
            metrics: arrays with an axis of at least `count`.
            done: whether the stage has come to its own end, likewise.
            tests: metrics and pictures of the evaluation after them.

        Raises:
            NonFiniteError: the loss is no longer a number.
        """
        last = self.offset + self.spec.steps
        shown = {name: value for name, value in tests.items() if np.ndim(value) == 3}
        tests = {name: float(value) for name, value in tests.items() if name not in shown}
        for i in range(count):
            step = self.offset + first + i + 1
            self.ended = bool(done[i])
            values = {name: float(v[i]) for name, v in metrics.items()}
            if not math.isfinite(values.get("loss", 0.0)):
                raise NonFiniteError(
                    f"the loss became {values['loss']} at step {step}; a smaller "
                    "config.learning_rate may help"
                )
            tested = tests if i == count - 1 else {}
            if step % self._schedule.log_every == 0 or tested or self.ended or step == last:
                self._note(step, values, tested)
            if self._figure_name in tested:
                self._figure = f"{self._figure_name} {tested[self._figure_name]:.2f}"
            if self.progress:
                self.progress.update(step, self._figure)
            self.run.steps = step
            if self.ended:
                break
        if shown and self._pictures and self._held():
            self._pictures(self.run.steps, shown)
        # Nothing is shown in the log before a checkpoint covers a part of it.
        if self._checkpoints is None or self._saved:
            self._write_log()

    def _note(self, step: int, values: dict[str, float], tested: dict[str, float]) -> None:
        """One line for the log."""
        stage = {"stage": self.spec.name} if len(self._stages) > 1 else {}
        line = {"step": step, "seconds": self._elapsed(), **stage, **values, **tested}
        self.account()
        line |= {"compile_seconds": self.run.compile_seconds, "programs": self.run.programs}
        self._tail.append(line | {"memory_mb": memory_mb(self._programs.devices)})

    def _write_log(self) -> None:
        if self._log:
            self._log.write(self._tail)
        if self.telemetry and self._tail:
            self.telemetry.scalars(self._tail)
        self._tail = []

    def must_save(self, *, least: float = 0.0) -> bool:
        """Whether a checkpoint is due.

        Args:
            least: seconds between checkpoints whatever the schedule says.
        """
        if self._checkpoints is None:
            return False
        step = self.offset + self.step
        if step <= (self._saved[1] if self._saved else 0):
            return False  # a lane that waits for the others
        if self.until_snapshot == self._schedule.snapshot_every:
            return True
        if self._saved is None:
            return step >= self._schedule.log_every
        waited = time.monotonic() - self._saved[0]
        return waited >= max(self._schedule.checkpoint_every, least)

    def save(self, state: TrainState) -> None:
        """Saves a checkpoint, then the log lines it knows of.

        Args:
            state: all steps of which have been seen.

        Raises:
            NonFiniteError: the state is no longer good; the last checkpoint stays.
            LostError: another process has taken over.
        """
        if not self._held():
            raise LostError("another process has taken this image over")
        steps = self.offset + _step_of(state)
        if self._checkpoints and (self._saved is None or self._saved[1] < steps):
            state = jax.block_until_ready(state)
            if not all(np.isfinite(x).all() for x in jax.tree.leaves(jax.device_get(state.params))):
                raise NonFiniteError(
                    f"the parameters are no numbers after step {steps}; a smaller "
                    "config.learning_rate may help"
                )
            self.account()
            spent = dataclasses.replace(self.run, state=None, inputs=None)
            meta = {
                "stage": self.stage,
                "offset": self.offset,
                "steps": steps,
                "tail": self._tail,
                "spent": dataclasses.asdict(spent),
            }
            self._checkpoints.save(steps, state, self.inputs if self.stage else None, meta)
            self._saved = (time.monotonic(), steps)
        self._write_log()

    def finish_stage(self, state: TrainState) -> None:
        """Goes on to the next stage, or comes to the end.

        Args:
            state: at the end of the stage, all steps of which have been seen.
        """
        self.run.steps = self.offset + _step_of(state)
        if self.stage + 1 < len(self._stages):
            self.offset = self.run.steps
            self.state, self.inputs = self._programs.advance(self.stage, state, self.inputs)
            self.stage += 1
            self._enter()
            return
        self.save(state)
        self.state = state
        self.close("done")

    def stop(self, state: TrainState) -> None:
        """Ends before the end, after a checkpoint."""
        self.save(state)
        self.state, self.run.steps = state, self.offset + _step_of(state)
        self.close("stopped")

    def fail(self, error: Exception) -> None:
        """Ends with an error; checkpoints stay."""
        self.error = error
        self.close("failed")

    def close(self, status: str) -> None:
        """Ends the run and closes its files; `account` may be called still."""
        self.status = status
        self.run.state, self.run.inputs = self.state, self.inputs
        self.account()
        self._training_since = None
        if self._held():
            self._write_log()
        if self._log:
            self._log.close()
        if self._checkpoints:
            self._checkpoints.close()

    def _elapsed(self) -> float:
        return round(self._base.seconds + self._spent(), 3)

    def _spent(self) -> float:
        return round(time.monotonic() - self._started, 3)

    def account(self) -> None:
        """Adds up what this part of the run and the earlier ones have spent so far.

        Called again after the outputs are made and written, it counts those in, too.
        """
        base, run, (seconds, count) = self._base, self.run, self._compiled_before
        compiling = self._programs.seconds - seconds
        spent = self._spent()
        run.seconds = round(base.seconds + spent, 3)
        run.spans = [*base.spans, [self._began, round(self._began + spent, 3)]]
        run.compile_seconds = round(base.compile_seconds + compiling, 3)
        run.programs = base.programs + self._programs.count - count
        if self._training_since is not None:
            training = time.monotonic() - self._training_since - compiling
            run.train_seconds = round(base.train_seconds + training, 3)


def _step_of(state: TrainState) -> int:
    """Steps taken in the current stage, of the replica that has taken the most."""
    return int(np.max(jax.device_get(state.step)))
