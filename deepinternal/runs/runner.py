"""Works through the jobs of a work folder that several processes may share.

The failure of a job is recorded, and the others continue. No method is known here by name;
`deepinternal.recipe` defines what a method provides.
"""

import dataclasses
import functools
import itertools
import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.engine.layout import spread
from deepinternal.engine.loop import Loop
from deepinternal.engine.parallel import Programs
from deepinternal.engine.progress import Board
from deepinternal.engine.run import Run
from deepinternal.engine.signals import StopSignal
from deepinternal.engine.telemetry import Profile
from deepinternal.engine.tensorboard import TensorBoard
from deepinternal.files import reason, remove_unfinished, show_path
from deepinternal.messages import tell
from deepinternal.runs import results, room
from deepinternal.runs.background import Background
from deepinternal.runs.claims import CLAIMS, Claims
from deepinternal.runs.contents import TENSORBOARD
from deepinternal.runs.groups import Group, groups
from deepinternal.runs.inputs import Job
from deepinternal.runs.opening import Opened, Opener
from deepinternal.runs.outcomes import Outcomes
from deepinternal.runs.stems import PROFILE
from deepinternal.runs.workdir import RefusedError
from deepinternal.types import InputError, input_spec

PROFILE_AFTER = 5  # dispatches before a trace
_POLL = 0.2  # seconds between looks at what other processes hold
_OLD = 3600.0  # seconds after which an unfinished file is abandoned
_TYING = ""  # the name that a process claims while it ties jobs to folders; no stem is empty
UNWRITTEN = 3  # images, or as many as train side by side, whose results may be unwritten


def check_unused(workdir: str) -> None:
    """Refuses to discard results that another process is working on."""
    if not os.path.isdir(os.path.join(workdir, CLAIMS)):
        return
    claims = Claims(os.path.join(workdir, CLAIMS))
    owner = claims.others()
    claims.close()
    if owner:
        raise RefusedError(
            f"--overwrite: {owner} is working in {show_path(workdir)}; end it first, or use "
            "another --workdir"
        )


class Runner:
    """Works through jobs; those that share programs train side by side.

    Attributes:
        outcomes: What became of the jobs.
    """

    def __init__(self, opener: Opener, claims: Claims, process: tuple[int, int]):
        """Prepares the work.

        Args:
            opener: The opener of the jobs.
            claims: The claims of this process in the work folder.
            process: The index of this process and the number of processes.
        """
        self._opener, self._claims, self._process = opener, claims, process
        self._settings, self._workdir = opener.settings, opener.workdir
        self.outcomes = Outcomes(opener, claims)
        self._working: dict[str, Opened] = {}  # by stem
        self._alone = False  # whether there is only one image, whose input errors are raised
        self._first: Opened | None = None  # that image

    def work(self, listed: Sequence[Job], stop: StopSignal, *, wait: bool) -> list[Job]:
        """Trains on all jobs that no other process is working on, until a signal comes.

        Args:
            listed: The jobs.
            stop: Polled between dispatches.
            wait: Whether to wait for other processes, and to train on what they abandon.

        Returns:
            The jobs with the stems of their folders.
        """
        self._alone = len(listed) == 1
        jobs = self._workdir.tied(listed)
        for job in jobs:
            self._check(job)
        if self._alone and self._open_first(jobs[0]):
            return jobs
        jobs = self._tie(listed, stop)
        self.outcomes.begin(jobs)
        begun = self._opener.canvases(jobs)
        shapes = {job: None if self._alone else self._opener.shapes(job) for job in jobs}
        found = groups(self._opener.recipe, self._opener.config, shapes, begun)
        self._train_all(found, stop)
        while wait and (free := self._wait(stop)):
            left = [tuple(job for job in group.jobs if job.stem in free) for group in found]
            self._train_all([Group(j, g.canvas) for j, g in zip(left, found)], stop)
        return jobs

    def _train_all(self, found: Sequence[Group], stop: StopSignal) -> None:
        """Trains on groups of jobs, while a thread writes the results of those that have ended."""
        with Background() as self._background:
            for group in found:
                self._train(group, stop)

    def _wait(self, stop: StopSignal) -> set[str]:
        """Waits for the images that other processes hold; returns the stems that are free again.

        This process holds none meanwhile.
        """
        told = False
        while self.outcomes.held_elsewhere and not stop.signum:
            owners = {stem: self._claims.owner(stem) for stem in self.outcomes.held_elsewhere}
            if free := {stem for stem, owner in owners.items() if not owner}:
                self.outcomes.held_elsewhere -= free
                return free
            for owner, images in () if told else Counter(owners.values()).items():
                tell(f"waiting for {owner}: {images} image{'s' * (images > 1)}")
            told = True
            time.sleep(_POLL)
        return set()

    def _open_first(self, job: Job) -> bool:
        """Opens the only job, whose errors are raised before anything is written.

        Returns:
            Whether it is finished.
        """
        try:
            if self._opener.check_finished(job):
                self.outcomes.finished.add(job.stem)
                return True
            self._first = self._opener.open(job, self._opener.canvases([job]).get(job))
        except InputError:
            raise
        except Exception:  # an internal error: recorded later, once the image is claimed
            self._first = None
        return False

    def _tie(self, listed: Sequence[Job], stop: StopSignal) -> list[Job]:
        """Creates the work folder, and ties jobs to folders in it, one process at a time."""
        self._begin()
        try:
            while not self._claims.take(_TYING):
                if stop.signum:
                    return self._workdir.tied(listed)
                time.sleep(0.05)
            remove_unfinished(self._workdir.path, deep=False, older=_OLD)
            return self._workdir.tie(listed)
        except OSError as error:
            where = show_path(self._workdir.path)
            why = f"cannot be written: {reason(error)}; give a writable folder"
            raise RefusedError(f"--workdir={where}: {why}") from None
        finally:
            self._claims.release(_TYING)

    def _check(self, job: Job) -> None:
        """Refuses a job with results from different files."""
        try:
            if self._workdir.noted(job.stem):
                self._opener.look_at(job)
        except RefusedError:
            raise
        except InputError:  # that image fails when its turn comes
            return

    def _train(self, group: Group, stop: StopSignal) -> None:
        """Trains on the images of a group, then on those that need programs of their own."""
        if stop.signum:
            return
        waiting = self._open(group)
        first = next(waiting, None)
        if first is None:
            return
        programs, board = self._programs(first, group)
        if text := self._announcement(first, group):
            tell(text)
        others: dict[str, list[Job]] = {}  # by the shapes of their inputs

        def runs() -> Iterator[Run]:
            spec = str(input_spec(first.placed))
            for opened in itertools.chain([first], waiting):
                own = str(input_spec(opened.placed))
                if own == spec:
                    yield self._run(opened, board)
                else:
                    others.setdefault(own, []).append(opened.job)
                    del self._working[opened.job.stem]
                    self._claims.release(opened.job.stem)

        trace = str(self._workdir.path / PROFILE)
        profile = Profile(trace, first=PROFILE_AFTER, count=self._settings.profile)
        try:
            for run in Loop(programs, stop=stop, profile=profile).train(runs()):
                self._ended(run, most=max(UNWRITTEN, programs.lanes))
        except InputError:
            raise
        except Exception as error:  # not specific to one image; checkpoints on disk are safe
            board.close()
            for opened in self._working.values():
                self.outcomes.fail(opened.job, error, opened)
            self._working.clear()
        finally:
            board.close()
        for jobs in others.values():
            self._train(Group(tuple(jobs), group.canvas), stop)

    def _announcement(self, first: Opened, group: Group) -> str:
        """Returns what is said before large images are trained on; '' for nothing."""
        if not self._settings.progress:
            return ""
        more = len(group.jobs) - 1
        name = show_path(first.job.stem) + (f" and {more} more, each" if more else "")
        return room.announcement(name, first.room, self._opener.method(first.placed), first.placed)

    def _programs(self, first: Opened, group: Group) -> tuple[Programs, Board]:
        """Returns the programs of a group, and the progress board that its images share."""
        settings, parallel = self._settings, self._settings.parallel
        images = sum(not self._opener.is_done(job, first.limit) for job in group.jobs)
        method = self._opener.method(first.placed)
        devices, per_device = spread(
            1 if settings.debug_nans else math.ceil(images / self._process[1]),
            images_per_device=parallel.images_per_device,
            devices=parallel.devices,
            method=method,
            inputs=first.placed,
        )
        programs = Programs(
            method,
            steps_per_dispatch=parallel.steps_per_dispatch,
            images_per_device=per_device,
            devices=devices,
            debug_nans=settings.debug_nans,
            compiler_options=parallel.compiler_options,
        )
        return programs, Board(images, enabled=settings.progress)

    def _open(self, group: Group) -> Iterator[Opened]:
        """Yields the jobs of a group to train on: not finished, and not held by another process."""
        index, count = self._process
        share = group.jobs[index::count]
        for job in [*share, *(job for job in group.jobs if job not in share)]:
            self.outcomes.check_present()
            try:
                opened = self._ready(job, group.canvas)
            except RefusedError:
                raise
            except Exception as error:  # one image's failure must not affect the others
                if self._alone and isinstance(error, InputError):
                    raise
                self.outcomes.fail(job, error)
                continue
            if opened:
                self._working[job.stem] = opened
                yield opened

    def _ready(self, job: Job, canvas: tuple[int, int] | None) -> Opened | None:
        """Claims and opens a job; None if it is finished, or if another process holds it."""
        opener, first = self._opener, self._first
        self._first = None
        if not self._claims.take(job.stem):
            self.outcomes.held_elsewhere.add(job.stem)
            return None
        if self.outcomes.has_failed(job.stem):
            self._claims.release(job.stem)
            return None
        if not opener.check_finished(job):
            remove_unfinished(self._workdir.path / job.stem)
            same = first and dataclasses.replace(first, job=job)  # its stem may be another one
            opened = same or opener.open(job, canvas)
            opener.note(opened)
            if not opener.is_done(job, opened.limit):
                return opened
            self.outcomes.records.score_again(opened)
        self.outcomes.finished.add(job.stem)
        self._claims.release(job.stem)
        return None

    def _begin(self) -> None:
        """Creates the work folder, unless other processes work in results that it would discard."""
        if self._workdir.discards:
            check_unused(str(self._workdir.path))
        self._workdir.begin()

    def _run(self, opened: Opened, board: Board) -> Run:
        """Returns the run that trains on a job."""
        settings, stem = self._settings, opened.job.stem
        folder, label = self._workdir.folder(stem), show_path(stem)
        about = opened.source.images[0].metadata.colours
        progress = board.share(label, opened.limit)
        progress.remark(opened.remarks)
        every = settings.snapshot_every
        telemetry = functools.partial(TensorBoard, folder / TENSORBOARD, self._workdir.fields)
        return Run(
            opened.placed,
            seed=self._opener.config.seed,
            name=stem,
            log_every=settings.log_every,
            checkpoint_every=settings.checkpoint_every,
            snapshot_every=every,
            checkpoints=Checkpoints(folder / "checkpoints", keep_every=every),
            log_path=str(folder / "train.jsonl"),
            progress=progress,
            open_telemetry=telemetry if settings.tensorboard else None,
            pictures=functools.partial(results.write_pictures, folder, about),
            held=lambda: self._claims.held(stem),
            started=opened.started,
            save_end=False,
            changes=noted.changes if (noted := self._workdir.noted(stem)) else 0,
        )

    def _ended(self, run: Run, *, most: int) -> None:
        """Computes the results of a run that has ended, and has them written.

        Args:
            run: The run.
            most: The maximum number of images whose results may be unwritten.
        """
        opened, made, problem = self._working.pop(run.name), None, run.error
        run.progress.close()
        if run.status == "done":
            try:
                made = self.outcomes.records.compute(opened, run)
            except Exception as error:  # reported after the checkpoint is saved
                problem = error
        run.account.stop_counting()
        task = functools.partial(self.outcomes.write, opened, run, made, problem)
        self._background.add(task, most=most)
        if opened.room:  # a large image: the next one needs the memory of its results
            self._background.finish()
