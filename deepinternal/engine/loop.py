"""Trains many runs of a method in the lanes of its programs: rounds, refills, log, checkpoints, stops.

The device is never waited for at each step: a few dispatches stay in flight, and the log follows
them. A run that was interrupted and resumed ends with the same bits as one that was not, for a
checkpoint holds all that decides the future and is taken between dispatches.

A *round* takes every lane to its next evaluation, or to the end of its stage; then a run that has come
to its end leaves its lane to the next. So all lanes are evaluated at once whenever their runs began,
and nothing is compiled again.
"""

import collections
import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

from deepinternal.engine.parallel import Programs
from deepinternal.engine.telemetry import Profile
from deepinternal.engine.track import Run, Track, TrackError
from deepinternal.types import Inputs, PyTree, Stage, TrainState, no_variant

IN_FLIGHT = 3  # dispatches waiting before the oldest is waited for
SAVING_SHARE = 0.1  # of the time, at most, goes into checkpoints of many lanes


class Stopped(Exception):  # noqa: N818  (an event, not an error)
    """A signal ended the run after a checkpoint; `signum` says which, `run` how far it came."""

    def __init__(self, signum: int, run: Run):
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum, self.run = signum, run


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
class _Pending:
    """A dispatch whose results have not been looked at."""

    tracks: list[Track | None]
    firsts: list[int]  # steps of the stage taken before, per lane
    counts: list[int]
    results: PyTree
    tests: PyTree


@dataclasses.dataclass
class _Batch:
    """What trains at the moment: one stage, a track or nothing in each lane."""

    stage: Stage
    index: int
    tracks: list[Track | None]
    states: TrainState | None = None
    inputs: Inputs | None = None
    results: PyTree = None  # of the newest dispatch
    pending: collections.deque[_Pending] = dataclasses.field(default_factory=collections.deque)

    def active(self) -> Iterator[tuple[int, Track]]:
        """Lanes that have a track, and the tracks."""
        return ((lane, track) for lane, track in enumerate(self.tracks) if track)


class Loop:
    """Trains tracks in the lanes of a method's programs. Call `train` once."""

    def __init__(
        self, programs: Programs, *, stop: StopSignal | None = None, profile: Profile | None = None
    ):
        """Args: programs; stop: asked between dispatches; profile: told of each dispatch."""
        self._programs, self._stop, self._profile = programs, stop, profile
        self._waiting: list[collections.deque[Track]] = [
            collections.deque() for _ in programs.method.stages
        ]
        self._failed: list[Track] = []
        self._saving = 0.0  # seconds that the last checkpoints took

    def train(self, source: Iterable[Track]) -> Iterator[Track]:
        """Trains all tracks; yields each when it has ended: done, failed or stopped.

        Args:
            source: asked for the next track whenever a lane is free.
        """
        self._source = iter(source)
        try:
            while not self._interrupted and (index := self._next_stage()) is not None:
                yield from self._train_stage(index)
            for track in (t for queue in self._waiting for t in queue):
                try:
                    track.stop(track.state)
                    yield track
                except TrackError as error:
                    self._fail(track, error)
            yield from self._take_failed()
        finally:
            if self._profile:
                self._profile.close()

    @property
    def _interrupted(self) -> bool:
        return bool(self._stop and self._stop.signum)

    def _pull(self) -> bool:
        """Takes one track from the source to where it belongs; False where there is none."""
        track = None if self._interrupted else next(self._source, None)
        if track is not None:
            try:
                track.begin(self._programs)
                self._waiting[track.stage].append(track)
            except Exception as error:  # one image's failure must not cost the others
                self._fail(track, error)
        return track is not None

    def _next_stage(self) -> int | None:
        """The last stage for which all lanes can be filled; else the first with anything to do."""
        while True:
            filled = [i for i, queue in enumerate(self._waiting) if queue]
            full = [i for i in filled if len(self._waiting[i]) >= self._programs.lanes]
            if full:
                return full[-1]
            if self._waiting[0] or not self._pull():
                return filled[0] if filled else None

    def _next_track(self, batch: _Batch, index: int) -> Track | None:
        """The next track for a free lane of a stage, None where there is none."""
        queue = self._waiting[index]
        later = lambda: sum(map(len, self._waiting[1:]))
        while index == 0 and not queue and later() < self._programs.lanes and self._pull():
            pass
        if not queue:
            return None
        present = {(track.seed, track.step) for _, track in batch.active()}
        if batch.stage.variant is not no_variant and present - {(queue[0].seed, queue[0].step)}:
            return None  # all lanes run one program, which depends on seed and step
        return queue.popleft()

    def _train_stage(self, index: int) -> Iterator[Track]:
        """Trains in one stage until there is nothing more to do in it, or a signal comes."""
        programs = self._programs
        batch = _Batch(programs.method.stages[index], index, [])
        while len(batch.tracks) < programs.lanes and (new := self._next_track(batch, index)):
            batch.tracks.append(new)
        try:
            batch.states, batch.inputs = programs.stack([(t.state, t.inputs) for t in batch.tracks])
            batch.tracks += [None] * (programs.lanes - len(batch.tracks))
            for _, track in batch.active():
                track.state = None  # its memory is given away
            while any(batch.tracks):
                self._round(batch)
                if self._interrupted:
                    yield from self._end(batch)
                    return
                yield from self._change(batch)
        except Exception as error:
            if programs.lanes > 1 and "RESOURCE_EXHAUSTED" in str(error):
                error = MemoryError(
                    f"too little memory for {programs.lanes} images on {len(programs.devices)} "
                    "devices at once; lower config.parallel.images_per_device"
                )
            for _, track in batch.active():
                self._fail(track, error)
        yield from self._take_failed()

    def _end(self, batch: _Batch) -> Iterator[Track]:
        """Saves and stops what is in the lanes."""
        self._drain(batch)
        for lane, track in list(batch.active()):
            self._guard(batch, lane, lambda t, state: t.stop(state))
            if track.status == "stopped":
                yield track
        yield from self._take_failed()

    def _round(self, batch: _Batch) -> None:
        """Takes every lane to its next evaluation, snapshot or end of stage, if nothing comes up."""
        programs, stage = self._programs, batch.stage
        every = stage.evaluate_every if stage.evaluate else 0
        left = [track.steps_left if track else 0 for track in batch.tracks]
        if every:
            left = [min(n, every - t.step % every) if n else 0 for n, t in zip(left, batch.tracks)]
        left = [min(n, t.until_snapshot) if n else 0 for n, t in zip(left, batch.tracks)]
        if not every:
            shortest = min((n for n in left if n), default=0)
            left = [shortest if n else 0 for n in left]
        while any(left := [n if t else 0 for n, t in zip(left, batch.tracks)]):
            before = [track.step if track else 0 for track in batch.tracks]
            budget = self._dispatch(batch, left)
            left = [n - b for n, b in zip(left, budget)]
            results, tests = batch.results, {}
            chosen = [b > 0 and t.step % every == 0 for b, t in zip(budget, batch.tracks) if every]
            if not any(left) and any(chosen):
                which = None if programs.lanes == 1 else chosen
                batch.states, tests = programs.evaluate(
                    batch.index, batch.states, batch.inputs, which
                )
            batch.pending.append(_Pending([*batch.tracks], before, budget, results, tests))
            while len(batch.pending) > IN_FLIGHT:
                self._look_at(batch, batch.pending.popleft())
            self._save(batch)
            ended = [track.ended for _, track in batch.active()]
            if self._interrupted or all(ended) or (any(ended) and not every):
                return

    def _dispatch(self, batch: _Batch, left: Sequence[int]) -> list[int]:
        """Starts some steps; returns how many in each lane. Lanes with fewer left begin later."""
        programs, stage = self._programs, batch.stage
        most = max(left)
        leader = batch.tracks[left.index(most)]
        count, variant = self._count(stage, leader, most)
        budget = [max(0, n - (most - count)) for n in left]
        if self._profile:
            self._profile.tick()
        if programs.lanes == 1:
            dispatched, steps = None, count
        else:  # one program of a fixed length, unless the variant decides
            dispatched = budget
            steps = programs.chunk if stage.variant is no_variant else count
        batch.states, batch.results = programs.steps(
            batch.index, variant, steps, batch.states, batch.inputs, dispatched
        )
        for lane, track in batch.active():
            track.step += budget[lane]
        return budget

    def _count(self, stage: Stage, track: Track, limit: int) -> tuple[int, Hashable]:
        """Steps up to the next change of variant, at most a dispatch's; and their variant."""
        limit = min(self._programs.chunk, limit)
        variant, count = stage.variant(track.seed, track.step), 1
        while count < limit and stage.variant(track.seed, track.step + count) == variant:
            count += 1
        return count, variant

    def _look_at(self, batch: _Batch, entry: _Pending) -> None:
        """Waits for a dispatch and tells its tracks."""
        seen = self._programs.per_lane((entry.results, entry.tests))
        for lane, ((metrics, done), tests) in enumerate(seen):
            track = entry.tracks[lane]
            if track is None or track.ended or track.status != "running":
                continue
            try:
                track.see(entry.firsts[lane], entry.counts[lane], metrics, done, tests)
            except TrackError as error:
                self._fail(track, error)
                batch.tracks[lane] = None

    def _drain(self, batch: _Batch) -> None:
        while batch.pending:
            self._look_at(batch, batch.pending.popleft())

    def _save(self, batch: _Batch) -> None:
        """Saves the tracks that are due, or all on a signal."""
        least = self._saving / SAVING_SHARE if self._programs.lanes > 1 else 0.0
        due = [track for _, track in batch.active() if track.must_save(least=least)]
        if not due or self._interrupted:
            return  # on a signal `stop` saves
        self._drain(batch)
        began = time.monotonic()
        for lane, track in list(batch.active()):
            if track in due and not track.ended:
                self._guard(batch, lane, lambda t, state: t.save(state))
        self._saving = time.monotonic() - began

    def _guard(self, batch: _Batch, lane: int, action: Callable) -> None:
        """Does something with a track and its state; a state that is no good ends that track only."""
        track = batch.tracks[lane]
        try:
            action(track, self._programs.pick(batch.states, lane))
        except TrackError as error:
            self._fail(track, error)
            batch.tracks[lane] = None

    def _change(self, batch: _Batch) -> Iterator[Track]:
        """Takes tracks that have ended the stage out of their lanes, and puts others in."""
        if any(track.steps_left == 0 for _, track in batch.active()):
            self._drain(batch)
        for lane, track in list(batch.active()):
            if track.steps_left:
                continue
            self._guard(batch, lane, lambda t, state: t.finish_stage(state))
            batch.tracks[lane] = None
            if track.status == "running":
                self._waiting[track.stage].append(track)
            elif track.status == "done":
                yield track
        yield from self._take_failed()
        for lane, track in enumerate(batch.tracks):
            if track is None and (new := self._next_track(batch, batch.index)):
                fresh = (new.state, new.inputs)
                both = self._programs.put((batch.states, batch.inputs), lane, fresh)
                batch.states, batch.inputs = both
                batch.tracks[lane], new.state = new, None

    def _fail(self, track: Track, error: Exception) -> None:
        track.fail(error)
        self._failed.append(track)

    def _take_failed(self) -> Iterator[Track]:
        while self._failed:
            yield self._failed.pop(0)


def train(programs: Programs, inputs: Inputs, *, stop: StopSignal | None = None, **options) -> Run:
    """Trains on one input to the end, or to a signal.

    Args:
        programs: the method's programs, of a single lane.
        inputs: the method's inputs.
        stop: asked between dispatches.
        **options: as of `Track`.

    Raises:
        Stopped: a signal came; a checkpoint was saved.
        NonFiniteError: the loss is no longer a number.
    """
    track = Track(inputs, **options)
    for ended in Loop(programs, stop=stop).train([track]):
        if ended.status == "failed":
            raise ended.error
        if ended.status == "stopped":
            raise Stopped(stop.signum, ended.run)
    return track.run
