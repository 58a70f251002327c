"""Trains many runs of a method in the lanes of its programs, with logs, checkpoints and stops.

The loop does not wait for the device at each step: a few dispatches stay in flight, and the log
follows them. A run that was interrupted and resumed ends with the same bits as an uninterrupted
one, because a checkpoint holds its complete state and is taken between dispatches.

A *round* advances every lane to its next evaluation, or to the end of its stage; then a run that
has ended leaves its lane to the next one. All lanes are therefore evaluated at once, whenever their
runs began, and nothing is recompiled.
"""

import collections
import contextlib
import dataclasses
import itertools
import signal
import time
from collections.abc import Iterable, Iterator, Sequence

from deepinternal.engine import schedule
from deepinternal.engine.ahead import Interrupted
from deepinternal.engine.errors import RunError
from deepinternal.engine.parallel import Programs
from deepinternal.engine.run import Run
from deepinternal.engine.signals import StopSignal
from deepinternal.engine.telemetry import Profile
from deepinternal.types import Inputs, PyTree, Stage, TrainState, no_variant

IN_FLIGHT = 3  # number of dispatches in flight before the loop waits for the oldest
SAVING_SHARE = 0.1  # maximum share of the time for saving checkpoints of many lanes


class Stopped(Exception):  # noqa: N818  (an event, not an error)
    """Raised after a signal and a checkpoint; `signum` is the signal, `run` the stopped run."""

    def __init__(self, signum: int, run: Run):
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum, self.run = signum, run


@dataclasses.dataclass
class _Pending:
    """A dispatch whose results have not been read."""

    runs: list[Run | None]
    firsts: list[int]  # steps of the stage taken before the dispatch, per lane
    counts: list[int]
    results: PyTree
    evaluated: PyTree


@dataclasses.dataclass
class _Batch:
    """The batch in training: one stage, with a run or nothing in each lane."""

    index: int
    stage: Stage
    runs: list[Run | None] = dataclasses.field(default_factory=list)
    states: TrainState | None = None
    inputs: Inputs | None = None
    pending: collections.deque[_Pending] = dataclasses.field(default_factory=collections.deque)

    def running(self) -> list[tuple[int, Run]]:
        """Returns the lanes with a run in training, and the runs."""
        found = enumerate(self.runs)
        return [(lane, run) for lane, run in found if run and run.status == "running"]


class Loop:
    """Trains runs in the lanes of a method's programs. Call `train` only once."""

    def __init__(
        self, programs: Programs, *, stop: StopSignal | None = None, profile: Profile | None = None
    ):
        """Prepares the training.

        Args:
            programs: The programs of the method.
            stop: Polled between dispatches.
            profile: Notified of each dispatch.
        """
        self._programs, self._stop, self._profile = programs, stop, profile
        self._waiting = [collections.deque[Run]() for _ in programs.method.all_stages]
        self._ended: list[Run] = []  # ended, but not yet yielded
        self._saving = 0.0  # seconds for the last checkpoints

    def train(self, source: Iterable[Run]) -> Iterator[Run]:
        """Trains all runs and yields each when it has ended: done, failed or stopped.

        Args:
            source: The runs; the next one is requested whenever a lane is free.
        """
        self._source = iter(source)
        self._programs.stopped = lambda: self._interrupted
        try:
            while not self._interrupted and (index := self._next_stage()) is not None:
                for _ in self._train_stage(index):
                    yield from self._take_ended()
            for run in itertools.chain(*self._waiting):
                with self._guard(run):
                    run.stop(run.state)
            yield from self._take_ended()
        finally:
            self._programs.end_ahead()
            if self._profile:
                self._profile.close()

    @property
    def _interrupted(self) -> bool:
        return bool(self._stop and self._stop.signum)

    def _take_ended(self) -> Iterator[Run]:
        while self._ended:
            yield self._ended.pop(0)

    @contextlib.contextmanager
    def _guard(self, run: Run) -> Iterator[None]:
        """Ends only this run on an error inside; records whether it has ended."""
        try:
            yield
        except (RunError, OSError) as error:
            run.fail(error)
        if run.status != "running":
            self._ended.append(run)

    def _pull(self) -> bool:
        """Takes one run from the source to the queue of its stage; False if there is none."""
        run = None if self._interrupted else next(self._source, None)
        if run is not None:
            try:
                run.begin(self._programs)
                self._waiting[run.stage].append(run)
            except Exception as error:  # one image's failure must not affect the others
                run.fail(error)
                self._ended.append(run)
        return run is not None

    def _next_stage(self) -> int | None:
        """Returns the last stage that can fill all lanes, else the first with any waiting run."""
        while True:
            filled = [i for i, queue in enumerate(self._waiting) if queue]
            full = [i for i in filled if len(self._waiting[i]) >= self._programs.lanes]
            if full:
                return full[-1]
            if self._waiting[0] or not self._pull():
                return filled[0] if filled else None

    def _next_run(self, batch: _Batch) -> Run | None:
        """Returns the next run for a free lane of a batch, or None."""
        queue = self._waiting[batch.index]
        later = lambda: sum(map(len, self._waiting[1:]))
        while batch.index == 0 and not queue and later() < self._programs.lanes and self._pull():
            pass
        if not queue:
            return None
        present = {(run.seed, run.step) for _, run in batch.running()}
        if batch.stage.variant is not no_variant and present - {(queue[0].seed, queue[0].step)}:
            return None  # all lanes run the same program, which depends on seed and step
        return queue.popleft()

    def _train_stage(self, index: int) -> Iterator[None]:
        """Trains in one stage until nothing is left to do in it, or a signal arrives.

        Yields whenever runs may have ended.
        """
        programs = self._programs
        batch = _Batch(index, programs.method.all_stages[index])
        while len(batch.runs) < programs.lanes and (new := self._next_run(batch)):
            batch.runs.append(new)
        try:
            pairs = [(run.state, run.inputs) for run in batch.runs]
            batch.states, batch.inputs = programs.stack(pairs)
            batch.runs += [None] * (programs.lanes - len(batch.runs))
            for _, run in batch.running():
                run.state = None  # its memory is donated
            del pairs
            self._compile_ahead(batch)
            while batch.running():
                self._round(batch)
                self._settle(batch)
                yield
                self._refill(batch)
        except Exception as error:
            if programs.lanes > 1 and "RESOURCE_EXHAUSTED" in str(error):
                error = MemoryError(
                    f"too little memory for {programs.lanes} images on {len(programs.devices)} "
                    "devices at once; lower config.parallel.images_per_device"
                )
            for _, run in batch.running():
                run.fail(error)
                self._ended.append(run)
        yield

    def _compile_ahead(self, batch: _Batch) -> None:
        """Starts to compile the programs that the runs will need."""
        for _, run in batch.running()[:1]:  # with variants, all lanes are at the same step
            pauses = {"offset": run.offset, "snapshot_every": run.snapshot_every}
            states = batch.states, batch.inputs
            self._programs.compile_ahead(batch.index, run.seed, run.step, *states, **pauses)

    def _round(self, batch: _Batch) -> None:
        """Advances every lane to its next evaluation, snapshot or end of stage."""
        programs, stage = self._programs, batch.stage
        every = stage.evaluate_every if stage.evaluate else 0
        left = [0] * programs.lanes
        for lane, run in batch.running():
            pauses = {"offset": run.offset, "snapshot_every": run.snapshot_every}
            left[lane] = 0 if run.ended else schedule.limit(stage, run.step, **pauses)
        if not every:
            shortest = min((n for n in left if n), default=0)
            left = [shortest if n else 0 for n in left]
        while any(left):
            before = [run.step if run else 0 for run in batch.runs]
            try:
                budget, results = self._dispatch(batch, left)
            except Interrupted:  # before anything was dispatched
                return
            left, evaluated = [n - b for n, b in zip(left, budget)], {}
            chosen = [b > 0 and r.step % every == 0 for b, r in zip(budget, batch.runs) if every]
            if not any(left) and any(chosen):
                which = None if programs.lanes == 1 else chosen
                batch.states, evaluated = programs.evaluate(
                    batch.index, batch.states, batch.inputs, which
                )
            batch.pending.append(_Pending([*batch.runs], before, budget, results, evaluated))
            self._look(batch, leave=IN_FLIGHT)
            self._save(batch)
            running = dict(batch.running())
            ended = [run.ended for run in running.values()]
            if self._interrupted or all(ended) or (any(ended) and not every):
                return
            left = [n if lane in running else 0 for lane, n in enumerate(left)]

    def _dispatch(self, batch: _Batch, left: Sequence[int]) -> tuple[list[int], PyTree]:
        """Dispatches some steps; returns their number in each lane, and their results.

        Lanes with fewer steps left start later.
        """
        programs, stage = self._programs, batch.stage
        most = max(left)
        longest = batch.runs[left.index(most)]
        count, variant = schedule.dispatch(
            stage, longest.seed, longest.step, most, programs.steps_per_dispatch
        )
        budget = [max(0, n - (most - count)) for n in left]
        if self._profile:
            self._profile.tick()
        if programs.lanes == 1:
            dispatched, steps = None, count
        else:  # one program of a fixed length, unless the variant decides
            dispatched = budget
            steps = programs.steps_per_dispatch if stage.variant is no_variant else count
        batch.states, results = programs.steps(
            batch.index, variant, steps, batch.states, batch.inputs, dispatched
        )
        for lane, run in batch.running():
            run.step += budget[lane]
        return budget, results

    def _look(self, batch: _Batch, *, leave: int = 0) -> None:
        """Waits for all but the newest dispatches, and passes the results to their runs."""
        while len(batch.pending) > leave:
            entry = batch.pending.popleft()
            seen = self._programs.per_lane((entry.results, entry.evaluated))
            for lane, ((metrics, done), evaluated) in enumerate(seen):
                run = entry.runs[lane]
                if run and not run.ended and run.status == "running":
                    with self._guard(run):
                        run.see(entry.firsts[lane], entry.counts[lane], metrics, done, evaluated)

    def _save(self, batch: _Batch) -> None:
        """Saves the runs whose checkpoints are due; after a signal, `stop` saves instead."""
        least = self._saving / SAVING_SHARE if self._programs.lanes > 1 else 0.0
        due = [pair for pair in batch.running() if pair[1].must_save(least=least)]
        if not due or self._interrupted:
            return
        self._look(batch)
        began = time.monotonic()
        for lane, run in due:
            if run.status == "running" and not run.ended:
                with self._guard(run):
                    run.save_if_possible(self._programs.pick(batch.states, lane))
        self._saving = time.monotonic() - began

    def _settle(self, batch: _Batch) -> None:
        """Removes runs that have ended the stage, or on a signal all runs, from their lanes."""
        if self._interrupted or not all(run.steps_left for _, run in batch.running()):
            self._look(batch)
        for lane, run in batch.running():
            if self._interrupted or not run.steps_left:
                action = run.stop if self._interrupted else run.finish_stage
                with self._guard(run):
                    action(self._programs.pick(batch.states, lane))
                batch.runs[lane] = None
                if run.status == "running":
                    self._waiting[run.stage].append(run)

    def _refill(self, batch: _Batch) -> None:
        """Places the next runs into free lanes."""
        busy = dict(batch.running())
        for lane in range(self._programs.lanes):
            if lane not in busy and not self._interrupted and (new := self._next_run(batch)):
                fresh = (new.state, new.inputs)
                both = self._programs.put((batch.states, batch.inputs), lane, fresh)
                batch.states, batch.inputs = both
                batch.runs[lane], new.state = new, None
        if any(run not in busy.values() for _, run in batch.running()):
            self._compile_ahead(batch)


def train(programs: Programs, inputs: Inputs, *, stop: StopSignal | None = None, **options) -> Run:
    """Trains on one input to the end, or until a signal.

    Args:
        programs: The method's programs, with a single lane.
        inputs: The method's inputs.
        stop: Polled between dispatches.
        **options: See `Run`.

    Returns:
        The run, whose status is `done`.

    Raises:
        Stopped: A signal arrived, and a checkpoint was saved.
        Exception: The error that ended the run, such as NonFiniteError if the loss became NaN or
            infinite.
    """
    run = Run(inputs, **options)
    for ended in Loop(programs, stop=stop).train([run]):
        if ended.status == "failed":
            raise ended.error
        if ended.status == "stopped":
            raise Stopped(stop.signum, run)
    return run
