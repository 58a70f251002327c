"""Runs a list of image files into a work folder, which several processes may share.

The failure of an image is recorded, and the others continue. No method is known here by name;
`deepinternal.recipe` defines what a method provides.
"""

import contextlib
import functools
import importlib.util
import itertools
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from deepinternal.config import MethodConfig
from deepinternal.engine import compiling
from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.engine.layout import spread
from deepinternal.engine.loop import Loop
from deepinternal.engine.parallel import Programs
from deepinternal.engine.progress import Board
from deepinternal.engine.run import LostError, Run
from deepinternal.engine.signals import StopSignal
from deepinternal.engine.telemetry import Profile
from deepinternal.engine.tensorboard import TensorBoard
from deepinternal.files import show_path
from deepinternal.messages import tell
from deepinternal.recipe import Recipe
from deepinternal.report import report
from deepinternal.runs import results
from deepinternal.runs import settings as run_settings
from deepinternal.runs.background import Background
from deepinternal.runs.claims import Claims
from deepinternal.runs.groups import Group, groups
from deepinternal.runs.inputs import Job, jobs_of
from deepinternal.runs.opening import Opened, Opener
from deepinternal.runs.records import Made, Records
from deepinternal.runs.settings import RunConfig
from deepinternal.runs.summary import write_summary
from deepinternal.runs.workdir import CLAIMS, PROFILE, TENSORBOARD, RefusedError, Workdir
from deepinternal.types import InputError, input_spec

PROFILE_AFTER = 5  # dispatches before a trace
UNWRITTEN = 3  # images, or as many as train side by side, whose results may be unwritten


def run_all(
    recipe: Recipe,
    config: MethodConfig,
    settings: RunConfig,
    workdir: str,
    *,
    overwrite: bool = False,
    process: tuple[int, int] = (0, 1),
) -> int:
    """Trains on all inputs of `config.input`, and writes the results to `workdir`.

    Several processes may do so at once: each image is claimed by one of them.

    Args:
        recipe: The recipe of the method.
        config: Its config.
        settings: How to run.
        workdir: The folder for results.
        overwrite: Discard results of another config instead of refusing.
        process: The index of this process and the number of processes; each starts with its own
            share.

    Returns:
        The exit status: 0 if all are done, 1 if some images failed, 128 + signal after a signal.

    Raises:
        InputError: The config, the work folder or the input list cannot be used; or the only image
            cannot be used.
    """
    check(recipe, config, settings)
    jobs = jobs_of(recipe, config, settings)
    if overwrite:
        _check_unused(workdir)
    folder = Workdir(workdir, recipe, config, settings, overwrite=overwrite)
    claims = Claims(folder.path / CLAIMS)
    try:
        runner = _Runner(Opener(recipe, config, settings, folder), claims, process)
        with StopSignal() as stop:
            runner.work(jobs, stop)
        images = runner.summarise(jobs)
        runner.say_if_finished(jobs)
    finally:
        claims.close()
    if stop.signum:
        return 128 + stop.signum
    return int(any(m["status"] == "failed" for m in images))


def check(recipe: Recipe, config: MethodConfig, settings: RunConfig) -> None:
    """Raises InputError for mistakes in a command that show before any image is read."""
    run_settings.check(recipe)
    if settings.tensorboard and importlib.util.find_spec("tensorboardX") is None:
        raise InputError("config.tensorboard: needs tensorboardX; pip install 'tensorboardX>=2.6'")
    devices, most = settings.parallel.devices, jax.local_device_count()
    if devices > most:
        raise InputError(f"config.parallel.devices={devices}: must be from 0 to {most}")
    compiling.check_options(settings.parallel.compiler_options)
    is_video = recipe.grouping(config).kind == "video"
    if settings.ground_truth and (is_video or not recipe.scored):
        what = "videos" if is_video else f"results of {recipe.name}"
        raise InputError(f"config.ground_truth: {what} are not scored; leave it empty")


def _check_unused(workdir: str) -> None:
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


class _Runner:
    """Works through jobs; those that share programs train side by side."""

    def __init__(self, opener: Opener, claims: Claims, process: tuple[int, int]):
        self._opener, self._claims, self._process = opener, claims, process
        self._settings, self._workdir = opener.settings, opener.workdir
        self._records = Records(opener)
        self._background = Background()  # writes results
        self._working: dict[str, Opened] = {}  # by stem
        self._failed: dict[str, dict[str, Any]] = {}
        self._finished: set[str] = set()  # already finished when their turn came
        self._skipped: set[str] = set()  # held by another process when their turn came
        self._alone = False  # whether there is only one image, whose input errors are raised

    def work(self, jobs: Sequence[Job], stop: StopSignal) -> None:
        """Trains on all jobs that no other process is working on, until a signal comes."""
        self._alone = len(jobs) == 1
        for job in jobs:
            self._check(job)
        shapes = {job: None if self._alone else self._opener.shapes(job) for job in jobs}
        found = groups(self._opener.recipe, self._opener.config, shapes)
        with self._background:
            for group in found:
                self._train(group, stop)
            free = self._claims.abandoned(self._skipped, stopped=lambda: bool(stop.signum))
            for group in found:
                left = tuple(job for job in group.jobs if job.stem in free)
                self._train(Group(left, group.canvas), stop)
        owners = Counter(filter(None, (self._claims.owner(job.stem) for job in jobs)))
        for owner, images in owners.items():
            if owner != self._claims.name:
                tell(f"left to {owner}: {images} image{'s' * (images > 1)}")

    def _check(self, job: Job) -> None:
        """Refuses a job with results from different files."""
        try:
            if self._workdir.noted(job.stem):
                self._opener.look_at(job)
        except RefusedError:
            raise
        except InputError:  # an unreadable file is handled as that image's failure, on its turn
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
                self._fail(opened.job, error, opened)
            self._working.clear()
        finally:
            board.close()
        for jobs in others.values():
            self._train(Group(tuple(jobs), group.canvas), stop)

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
            try:
                opened = self._ready(job, group.canvas)
            except RefusedError:
                raise
            except Exception as error:  # one image's failure must not affect the others
                if self._alone and isinstance(error, InputError):
                    raise
                self._fail(job, error)
                continue  # and keep the claim, so that no other process tries
            if opened:
                self._working[job.stem] = opened
                yield opened

    def _ready(self, job: Job, canvas: tuple[int, int] | None) -> Opened | None:
        """Claims and opens a job; None if it is finished, or if another process holds it."""
        opener, opened = self._opener, None
        if self._alone:  # errors of the only image are raised before anything is written
            if opener.is_finished(job):
                self._finished.add(job.stem)
                return None
            try:
                opened = opener.open(job, canvas)
            except InputError:
                raise
            except Exception:  # an internal error: recorded below, once the image is claimed
                opened = None
        self._begin()
        if not self._claims.take(job.stem):
            self._skipped.add(job.stem)
            return None
        if not opener.is_finished(job):
            opened = opened or opener.open(job, canvas)
            opener.note(opened)
            if not opener.is_done(job, opened.limit):
                return opened
            self._records.score_again(opened)
        self._finished.add(job.stem)
        self._claims.release(job.stem)
        return None

    def _begin(self) -> None:
        """Creates the work folder, unless other processes work in results that it would discard."""
        if self._workdir.discards:
            _check_unused(str(self._workdir.path))
        self._workdir.begin()

    def _run(self, opened: Opened, board: Board) -> Run:
        settings, stem = self._settings, opened.job.stem
        folder, label = self._workdir.folder(stem), show_path(stem)
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
            pictures=functools.partial(results.write_pictures, folder),
            held=lambda: self._claims.held(stem),
            started=opened.started,
            save_end=False,
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
                made = self._records.compute(opened, run)
            except Exception as error:  # reported after the checkpoint is saved
                problem = error
        run.stop_counting()
        task = functools.partial(self._write, opened, run, made, problem)
        self._background.add(task, most=most)

    def _write(
        self, opened: Opened, run: Run, made: Made | None, problem: Exception | None
    ) -> None:
        """Writes the last checkpoint and the results of a run, or its error; releases the image."""
        try:
            if run.status == "done":
                run.complete()
            if problem:
                raise problem
            if made is None:
                self._records.stopped(opened, run)
                word = f"stopped at step {run.steps}; the same command continues it"
            else:
                metrics = self._records.finish(opened, run, made)
                remarks = metrics.get("remarks", ())
                run.progress.remark([r for r in remarks if r not in opened.remarks])
                word = f"done, {run.steps} steps, {metrics['seconds']:.0f} s"
                word += f", {metrics['psnr_y']:.2f} dB" if metrics.get("psnr_y") else ""
            run.progress.remark([word])
        except LostError as error:
            run.fail(error)
            run.progress.remark(["left to another process"])
            tell(f"{show_path(opened.job.stem)}: {error}")
        except Exception as error:  # one image's failure must not affect the others
            with contextlib.suppress(OSError):
                run.fail(error)
            self._fail(opened.job, error, opened, run)
            return
        finally:
            if run.telemetry:
                run.telemetry.close()
        self._claims.release(opened.job.stem)

    def _fail(self, job: Job, *args) -> None:
        self._failed[job.stem] = self._records.fail(job, *args)

    def summarise(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """Writes the summary and the index of all images with results; returns their metrics.

        Another process may end at the same moment; the last one to read the results sees all.
        """
        if self._workdir.discards or not self._workdir.path.is_dir():  # stopped before it began
            return []
        images = None
        while images != (images := self._results(jobs)):
            write_summary(self._workdir.path, images)
            report.write_index(self._workdir.path, images)
        return images

    def say_if_finished(self, jobs: Sequence[Job]) -> None:
        """Prints a line if nothing was left to do."""
        if self._settings.progress and self._finished == {job.stem for job in jobs}:
            index = show_path(self._workdir.path / "index.html")
            what = "the image is" if len(jobs) == 1 else f"all {len(jobs)} images are"
            tell(f"{what} already done: {index}")

    def _results(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        found = (self._failed.get(j.stem) or self._workdir.metrics(j.stem) for j in jobs)
        return [metrics for metrics in found if metrics]
