"""From a list of image files to results in a work folder, shared with other processes.

A failing image is noted and the others go on. What a method's module must offer is written in
`deepinternal.methods.registry`; no method is known here by name.
"""

import dataclasses
import functools
import itertools
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_collections

from deepinternal.report import report
from deepinternal.runs import results, sources
from deepinternal.runs.cases import Case, Cases, to_plain
from deepinternal.engine.checkpoint import Checkpoints
from deepinternal.runs.checks import check_fields, check_truth, check_unused
from deepinternal.runs.claims import Claims
from deepinternal.files import show_path
from deepinternal.runs.inputs import Job, list_jobs, tags_of
from deepinternal.engine.loop import Loop, StopSignal
from deepinternal.engine.parallel import Programs, spread
from deepinternal.runs.plan import Group, Planner
from deepinternal.engine.progress import Board, Progress
from deepinternal.engine.telemetry import Profile
from deepinternal.engine.tensorboard import TensorBoard
from deepinternal.engine.track import LostError, Schedule, Track
from deepinternal.runs.workdir import (
    CLAIMS,
    PROFILE,
    TENSORBOARD,
    RefusedError,
    Workdir,
)
from deepinternal.types import InputError

PROFILE_AFTER = 5  # dispatches before a trace


def run_all(
    module: ModuleType,
    config: ml_collections.ConfigDict,
    workdir: str,
    *,
    overwrite: bool = False,
    process: tuple[int, int] = (0, 1),
) -> int:
    """Works through `config.input`; results appear in `workdir`.

    Several processes may do so at once: each image is claimed by one of them.

    Args:
        module: the method's module.
        config: the method's fields and the runtime's.
        workdir: the folder for results.
        overwrite: discard results of another config instead of refusing.
        process: which one of how many this is; it begins with its share of the list.

    Returns:
        Exit status: 0 all done, 1 some images failed, 128 + signal after a signal.

    Raises:
        InputError: bad config, work folder or input list; also what is wrong with the image where
            there is only one.
    """
    check_fields(config)
    module.check(config)
    check_truth(module, config)
    companions = [config.ground_truth, *(config[field] for field in module.SIDE_INPUTS)]
    tags, grouping = tags_of(module.SIDE_INPUTS), sources.grouping_of(module, config)
    jobs = list_jobs(config.input, tags=tags, companions=companions, grouping=grouping)
    if overwrite:
        check_unused(workdir)
    folder = Workdir(workdir, to_plain(config), overwrite=overwrite)
    claims = Claims(folder.path / CLAIMS)
    try:
        runner = _Runner(module, config, folder, claims, process)
        with StopSignal() as stop:
            runner.work(jobs, stop)
        images = runner.summarise(jobs)
    finally:
        claims.close()
    if stop.signum:
        return 128 + stop.signum
    return int(any(m["status"] == "failed" for m in images))


class _Runner:
    """Works through jobs, those that can share programs side by side."""

    def __init__(
        self,
        module: ModuleType,
        config: ml_collections.ConfigDict,
        workdir: Workdir,
        claims: Claims,
        process: tuple[int, int],
    ):
        self._config, self._workdir = config, workdir
        self._claims, self._process = claims, process
        self._planner = Planner(module, config)
        self._cases = Cases(module, config, workdir, self._planner)
        self._working: dict[str, Case] = {}  # by stem
        self._failed: dict[str, dict[str, Any]] = {}
        self._skipped: set[str] = set()  # what another process had when its turn came
        self._alone = False  # whether what is wrong with the one image is the user's mistake

    def work(self, jobs: Sequence[Job], stop: StopSignal) -> None:
        """Trains on all jobs that no other process is working on, until a signal comes."""
        self._alone = len(jobs) == 1
        for job in jobs:
            self._cases.check_hashes(job)
        groups = self._groups(jobs)
        for group in groups:
            if not stop.signum:
                self._train(group, stop)
        free = self._claims.abandoned(self._skipped, stopped=lambda: bool(stop.signum))
        for group in groups:
            left = tuple(job for job in group.jobs if job.stem in free)
            if left and not stop.signum:
                self._train(dataclasses.replace(group, jobs=left), stop)
        owners = Counter(filter(None, (self._claims.owner(job.stem) for job in jobs)))
        for owner, images in owners.items():
            if owner != self._claims.name:
                print(f"left to {owner}: {images} images", file=sys.stderr)

    def _groups(self, jobs: Sequence[Job]) -> list[Group]:
        """Jobs that can share programs; what cannot be worked on fails here."""
        if self._alone:
            return [Group(tuple(jobs), None)]
        specs = {}
        for job in jobs:
            try:
                specs[job] = self._cases.spec(job)
            except Exception as error:  # one image's failure must not cost the others
                self._fail(job, error)
        return self._planner.groups(specs)

    def _train(self, group: Group, stop: StopSignal) -> None:
        """Trains on the images of a group, as many at a time as there are lanes."""
        cases = self._open(group)
        first = next(cases, None)
        if first is None:
            return
        config, parallel = self._config, self._config.parallel
        images = sum(not self._cases.is_finished(job, first.limit) for job in group.jobs)
        devices, per_device = spread(
            1 if config.debug_nans else math.ceil(images / self._process[1]),
            images_per_device=parallel.images_per_device,
            devices=parallel.devices,
        )
        programs = Programs(
            self._planner.method(self._planner.place(first.inputs, group.canvas)),
            steps_per_dispatch=parallel.steps_per_dispatch,
            images_per_device=per_device,
            devices=devices,
            debug_nans=config.debug_nans,
        )
        board = Board(images, enabled=config.progress) if programs.lanes > 1 else None
        tracks = (self._track(case, group, board) for case in itertools.chain([first], cases))
        trace = str(self._workdir.path / PROFILE)
        profile = Profile(trace, first=PROFILE_AFTER, count=config.profile)
        try:
            for track in Loop(programs, stop=stop, profile=profile).train(tracks):
                self._ended(track, programs)
        except InputError:
            raise
        except Exception as error:  # not one image's, but what is on disk is safe
            for case in self._working.values():
                self._fail(case.job, error, case=case, programs=programs)
            self._working.clear()

    def _open(self, group: Group) -> Iterator[Case]:
        """What of a group is to be trained on: not finished, and not another process's."""
        index, count = self._process
        share = group.jobs[index::count]
        queue = [*share, *(job for job in group.jobs if job not in share)]
        for job in queue:
            if not self._claims.take(job.stem):
                self._skipped.add(job.stem)
                continue
            try:
                case = self._cases.open(job)
                if not self._cases.is_finished(job, case.limit):
                    self._working[job.stem] = case
                    yield case
                    continue
                self._cases.score_again(case)
            except RefusedError:
                raise
            except Exception as error:  # one image's failure must not cost the others
                if self._alone and isinstance(error, InputError):
                    raise
                self._fail(job, error)
                continue  # and keep the claim, so that no one else tries
            self._claims.release(job.stem)

    def _track(self, case: Case, group: Group, board: Board | None) -> Track:
        config, stem = self._config, case.job.stem
        folder, label = self._cases.folder(case.job), show_path(stem)
        progress = Progress(label, case.limit, enabled=config.progress)
        progress = board.member(label) if board else progress
        progress.remark(case.remarks)
        return Track(
            self._planner.place(case.inputs, group.canvas),
            seed=config.seed,
            name=stem,
            schedule=Schedule(config.log_every, config.checkpoint_every, config.snapshot_every),
            checkpoints=Checkpoints(folder / "checkpoints", keep_every=config.snapshot_every),
            log_path=str(folder / "train.jsonl"),
            progress=progress,
            telemetry=functools.partial(self._tensorboard, folder) if config.tensorboard else None,
            pictures=functools.partial(results.write_pictures, folder),
            held=lambda: self._claims.held(stem),
            started=case.started,
        )

    def _tensorboard(self, folder: Path, before: list[dict]) -> TensorBoard:
        board = TensorBoard(folder / TENSORBOARD, before=before)
        board.config(to_plain(self._config))
        return board

    def _ended(self, track: Track, programs: Programs) -> None:
        """Writes what a track has come to."""
        case = self._working.pop(track.name)
        try:
            if track.status == "failed":
                raise track.error
            if track.status == "stopped":
                self._cases.stopped(case, track, programs)
                word = f"stopped at step {track.run.steps}; the same command goes on"
            else:
                metrics = self._cases.finish(case, track, programs)
                remarks = metrics.get("remarks", ())
                track.progress.remark([r for r in remarks if r not in case.remarks])
                word = f"done, {track.run.steps} steps, {metrics['seconds']:.0f} s"
                word += f", {metrics['psnr_y']:.2f} dB" if metrics.get("psnr_y") else ""
            track.progress.close(word)
        except LostError as error:
            track.progress.close("left to another process")
            print(f"{show_path(case.job.stem)}: {error}", file=sys.stderr)
        except Exception as error:  # one image's failure must not cost the others
            track.progress.close("failed")
            self._fail(case.job, error, track.run, case=case, programs=programs)
            return
        finally:
            if track.telemetry:
                track.telemetry.close()
        self._claims.release(case.job.stem)

    def _fail(self, job: Job, *args, **known) -> None:
        self._failed[job.stem] = self._cases.fail(job, *args, **known)

    def summarise(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """Writes the summary and the index of all images there are results of; returns their metrics.

        Another process may end at the same moment: the last one to look sees all.
        """
        images = None
        while images != (images := self._results(jobs)):
            self._workdir.write_summary(images)
            report.write_index(self._workdir.path, images)
        return images

    def _results(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        found = (self._failed.get(j.stem) or self._workdir.metrics(j.stem) for j in jobs)
        return [metrics for metrics in found if metrics]
