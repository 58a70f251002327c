"""One image of a run: what is read before it trains, and what is written afterwards."""

import contextlib
import dataclasses
import json
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import ml_collections
import numpy as np

from deepinternal.codecs import image_io
from deepinternal.report import report
from deepinternal.runs import sources
from deepinternal.files import atomic_write_text, sha256_files, show_path
from deepinternal.runs.inputs import Job, companion, mask_files
from deepinternal.engine.parallel import Programs
from deepinternal.runs.plan import Planner
from deepinternal.runs.results import (
    SAMPLE,
    Truth,
    cut,
    read_truth,
    score_file,
    views,
    write_input,
    write_outputs,
)
from deepinternal.engine.track import Run, Track
from deepinternal.runs.workdir import Workdir
from deepinternal.writers import to_json
from deepinternal.types import Example, InputError, Inputs, PyTree, input_spec


@dataclasses.dataclass(frozen=True)
class Case:
    """A job that has been read.

    Attributes:
        job: the job.
        source: its file or files.
        inputs: the method's, on no canvas.
        truth: the ground truth, if there is one.
        shape: of the result.
        limit: steps that training may take.
        old: metrics.json of an earlier run, if there is one.
        started: `time.monotonic()` when reading it began.
        remarks: what the method said of it before training.
    """

    job: Job
    source: sources.Source
    inputs: Inputs
    truth: Truth | None
    shape: tuple[int, ...]
    limit: int
    old: dict[str, Any] | None
    started: float
    remarks: tuple[str, ...]


class Cases:
    """Reads and writes the images of one run."""

    def __init__(
        self,
        module: ModuleType,
        config: ml_collections.ConfigDict,
        workdir: Workdir,
        planner: Planner,
    ):
        """Args: the method's module; the config; the work folder; who makes methods."""
        self._module, self._config = module, config
        self._workdir, self._planner = workdir, planner

    def spec(self, job: Job) -> PyTree:
        """Shapes of a job's inputs. Raises InputError where it cannot be worked on."""
        source, _, sides = self._read(job)
        inputs = self._prepare(source, sides)
        return input_spec(inputs)

    def open(self, job: Job) -> Case:
        """Reads a job and notes in the work folder what it is made from.

        Raises:
            InputError: something is wrong with one of its files.
            RefusedError: the work folder has it from other files.
        """
        started = time.monotonic()
        source, truth_path, sides = self._read(job)
        inputs = self._prepare(source, sides)
        shape = self._planner.result_shape(inputs)
        resizable = "output_shape" in self._config
        truth = None if truth_path is None else read_truth(truth_path, shape, resizable=resizable)
        limit = sum(stage.steps for stage in self._planner.method(inputs).stages)
        old = self._workdir.metrics(job.stem)
        self._workdir.note(job.stem, self._hashes(job), steps=limit)
        if job.path is None:
            write_input(source, self.folder(job))
        remarks = self._remarks(inputs, None)
        return Case(job, source, inputs, truth, shape, limit, old, started, remarks)

    def folder(self, job: Job) -> Path:
        """The folder of a job's results."""
        return self._workdir.folder(job.stem)

    def check_hashes(self, job: Job) -> None:
        """Refuses an image whose files are not those its results were made from."""
        try:
            hashes = self._hashes(job)
        except InputError:
            return  # an unreadable file is that image's own failure
        self._workdir.check(job.stem, hashes)

    def _hashes(self, job: Job) -> dict[str, str]:
        hashes = {"input": sha256_files(job.files)} if job.files else {}
        for field, path in self._side_files(job).items():
            if path:
                several = mask_files(path, field).values() if path.is_dir() else ()
                hashes[field] = sha256_files([*several] or [path])
        return hashes

    def _side_files(self, job: Job) -> dict[str, Path | None]:
        kinds = self._module.SIDE_INPUTS.items()
        return {f: companion(f, self._config[f], job, kind=kind, tag=f) for f, kind in kinds}

    def _read(self, job: Job):
        """The input, its ground truth (a path, an array or None), and the side inputs."""
        config, kinds = self._config, self._module.SIDE_INPUTS
        files = {field: path for field, path in self._side_files(job).items() if path}
        sides = {f: sources.read_side(kinds[f], path, job, tag=f) for f, path in files.items()}
        truth = None
        if sources.is_scored(self._module):
            truth = companion("ground_truth", config.ground_truth, job, tag="gt", beside=True)
        if job.path is not None:
            source = sources.read_source(job, self._module, config)
        else:
            import skimage.data

            photo = skimage.data.astronaut().astype(np.float32) / 255
            made = self._module.example(config, photo, **sides)
            example = made if isinstance(made, Example) else Example(made, truth=photo)
            source = sources.from_example(example.image, self._module, config)
            sides = {**example.sides, **sides}
            if truth is None and sources.is_scored(self._module):
                truth = example.truth
        sources.check_sides(sides, kinds, source, files)
        return source, None if source.is_video else truth, sides

    def _prepare(self, source: image_io.ImageFile, sides: Mapping[str, Any]) -> Inputs:
        inputs = self._module.prepare(self._config, source.given, **sides)
        try:
            self._planner.method(inputs)
        except InputError as error:
            raise InputError(f"{source.name}: {error}" if source.name else str(error)) from None
        return inputs

    def _remarks(self, inputs: Inputs, figures: Mapping[str, Any] | None) -> tuple[str, ...]:
        """What the method says of its decisions, a line each; `figures` as of its `remarks`."""
        find = getattr(self._module, "remarks", lambda *_: ())
        lines = (" ".join(remark.split()) for remark in find(self._config, inputs, figures))
        return tuple(line.encode("utf-8", "replace").decode() for line in lines)

    def is_finished(self, job: Job, limit: int) -> bool:
        """Whether a result is there that training up to `limit` steps would not change."""
        old = self._workdir.metrics(job.stem)
        if not old or old["status"] != "done":
            return False
        if not any((self.folder(job) / name).exists() for name in ("result.png", "result")):
            return False
        return old["steps"] < old["steps_limit"] or limit <= old["steps_limit"]

    def score_again(self, case: Case) -> None:
        """Brings the figures of a finished image up to date with its ground truth."""
        if case.truth is None or case.old.get("ground_truth_sha256") == case.truth.sha256:
            return
        programs = Programs(self._planner.method(case.inputs))
        before = self._before(case, programs, case.inputs)
        self._score(case.old, case, before)
        self._publish(case, case.old, before)

    def finish(self, case: Case, track: Track, programs: Programs) -> dict[str, Any]:
        """Writes the results of a run that has come to its end; returns its metrics."""
        outputs = programs.outputs(track.run.state, track.run.inputs)
        outputs = {name: cut(output) for name, output in outputs.items()}
        rate = self._config.get("frame_rate", 0)
        figures = write_outputs(outputs, self.folder(case.job), case.source, frame_rate=rate)
        track.account()
        metrics = self.metrics(case.job, track.run, "done", case=case, programs=programs)
        metrics |= {"steps_limit": case.limit, **figures}
        scalars = {name: figures[name] for name, o in outputs.items() if o.kind == "scalar"}
        if remarks := self._remarks(case.inputs, scalars):
            metrics["remarks"] = list(remarks)
        before = self._before(case, programs, track.initial)
        if track.telemetry:
            track.telemetry.images({"before": before, **views(outputs)})
        if case.truth is not None:
            self._score(metrics, case, before)
        self._publish(case, metrics, before)
        return metrics

    def stopped(self, case: Case, track: Track, programs: Programs) -> None:
        """Notes that a signal ended a run."""
        metrics = self.metrics(case.job, track.run, "stopped", case=case, programs=programs)
        self._workdir.write_metrics(case.job.stem, metrics)

    def fail(
        self, job: Job, error: Exception, run: Run | None = None, **known: Any
    ) -> dict[str, Any]:
        """Notes that an image failed, and why; a traceback of ours goes to a file beside.

        Args:
            job: the image.
            error: what happened.
            run: how far it came.
            **known: as of `metrics`.

        Returns:
            Its metrics.
        """
        text = " ".join(str(error).split()) or type(error).__name__
        trace = ""
        if not isinstance(error, InputError):
            text = f"{type(error).__name__}: {text[:300]}"
            trace = "".join(traceback.format_exception(error))
        print(f"{show_path(job.stem)}: failed: {text}", file=sys.stderr)
        metrics = self.metrics(job, run or Run(), "failed", error=text, **known)
        with contextlib.suppress(OSError, InputError):  # the folder itself may be what is wrong
            if trace:
                trace = trace.encode("utf-8", "replace").decode()
                atomic_write_text(self.folder(job) / "traceback.txt", trace)
            if (self._workdir.metrics(job.stem) or {}).get("status") != "done":
                report.write_report(self.folder(job), metrics, to_plain(self._config), before=None)
                self._workdir.write_metrics(job.stem, metrics)
        return metrics

    def _before(self, case: Case, programs: Programs, inputs: Inputs) -> np.ndarray:
        """What to compare the result with: the method's baseline, or the input."""
        if not programs.method.baseline or case.source.is_video:
            return case.source.images[0].pixels
        return np.asarray(programs.baseline(inputs))[: case.shape[0], : case.shape[1]]

    def _score(self, figures: dict, case: Case, before: np.ndarray) -> None:
        """Adds the figures of the result file, and of the baseline, against the ground truth."""
        path = self.folder(case.job) / "result.png"
        figures.update(score_file(path, case.truth, before, case.source.size))

    def _publish(self, case: Case, metrics: dict, before: np.ndarray) -> None:
        """Writes the report and, last of all, the metrics: they say that the image is done."""
        folder = self.folder(case.job)
        report.write_report(
            folder,
            metrics,
            to_plain(self._config),
            before=None if case.source.is_video else before,
            inputs=[str(path) for path in case.job.files] if not case.source.is_video else (),
        )
        self._workdir.write_metrics(case.job.stem, metrics)

    def metrics(
        self,
        job: Job,
        run: Run,
        status: str,
        *,
        error: str = "",
        case: Case | None = None,
        programs: Programs | None = None,
    ) -> dict[str, Any]:
        """What metrics.json says of every image, also of one that failed."""
        device = jax.local_devices()[0]
        path = SAMPLE if job.path is None else str(job.path)
        if job.several and job.path == job.several[0]:
            path = ",".join(map(str, job.several))
        devices = len(programs.devices) if programs else 1
        return {
            "image": job.stem,
            "method": self._config.method,
            "input": path.encode("utf-8", "replace").decode(),
            "status": status,
            "error": error.encode("utf-8", "replace").decode(),
            "seed": self._config.seed,
            "steps": run.steps,
            "seconds": run.seconds,
            "compile_seconds": run.compile_seconds,
            "steps_per_second": round(run.steps / max(run.train_seconds, 1e-9), 4),
            "programs": run.programs,
            "resumed_steps": run.resumed_steps,
            "spans": run.spans,
            "device": device.device_kind,
            "device_count": devices,
            "images_per_device": programs.lanes // devices if programs else 1,
            "jax_version": jax.__version__,
            "image_shape": list(case.source.shape) if case else None,
            "output_shape": list(case.shape) if case else None,
        }


def to_plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The config as JSON types."""
    # Command-line bytes that are no valid UTF-8 become question marks.
    return json.loads(to_json(config.to_dict()).encode("utf-8", "replace"))
