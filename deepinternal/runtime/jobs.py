"""From image files to results in a work folder, one image after another.

A failing image is noted and the others go on. What a method's module must offer is written in
`deepinternal.methods.registry`; no method is known here by name.
"""

import contextlib
import json
import math
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import ml_collections
import numpy as np

from deepinternal.runtime import image_io, kernel_io, report
from deepinternal.runtime.checkpoint import Checkpoints
from deepinternal.runtime.files import atomic_write_text, sha256_file, show_path
from deepinternal.runtime.loop import Loop, Run, Schedule, Stopped, StopSignal
from deepinternal.runtime.parallel import Programs
from deepinternal.runtime.progress import Progress
from deepinternal.runtime.results import SAMPLE, border_of, read_truth, score, write_outputs
from deepinternal.runtime.workdir import Job, RefusedError, Workdir, companion, list_jobs
from deepinternal.runtime.writers import to_json
from deepinternal.types import InputError, input_spec

_READERS: dict[str, Callable] = {
    "kernel": kernel_io.read_kernel,
    "image": lambda path: image_io.read_image(path).pixels,
}


def run_all(
    module: ModuleType, config: ml_collections.ConfigDict, workdir: str, *, overwrite: bool = False
) -> int:
    """Works through `config.input`; results appear in `workdir`.

    Args:
        module: the method's module.
        config: the method's fields and the runtime's.
        workdir: the folder for results.
        overwrite: discard results of another config instead of refusing.

    Returns:
        Exit status: 0 all done, 1 some images failed, 128 + signal after a signal.

    Raises:
        InputError: bad config, work folder or input list; also what is wrong with the image where
            there is only one.
    """
    _check_fields(config)
    module.check(config)
    sides = tuple(module.SIDE_INPUTS)
    companions = [config.ground_truth, *(config[field] for field in sides)]
    jobs = list_jobs(config.input, tags=("gt", *sides), companions=companions)
    runner = _Runner(module, config, Workdir(workdir, to_plain(config), overwrite=overwrite))
    for job in jobs:
        runner.check_hashes(job)
    images = []
    with StopSignal() as stop:
        for job in jobs:
            try:
                images.append(runner.run(job, stop))
            except Stopped:
                images.append(runner.workdir.metrics(job.stem))
            except RefusedError:
                raise
            except Exception as error:  # one image's failure must not cost the others
                if len(jobs) == 1 and isinstance(error, InputError):
                    raise
                images.append(runner.fail(job, error))
            if stop.signum:  # also where it came too late to stop this image
                break
    later = (runner.workdir.metrics(job.stem) for job in jobs[len(images) :])
    images += filter(None, later)
    runner.workdir.write_summary(images)
    report.write_index(runner.workdir.path, images)
    if stop.signum:
        return 128 + stop.signum
    return int(any(m["status"] == "failed" for m in images))


def to_plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The config as JSON types."""
    # Command-line bytes that are no valid UTF-8 become question marks.
    return json.loads(to_json(config.to_dict()).encode("utf-8", "replace"))


def _check_fields(config: ml_collections.ConfigDict) -> None:
    """Refuses run fields out of range, and a preset without what it needs."""
    for field in filter(None, config.required.split(",")):
        if not config.get(field):
            raise InputError(f"config.{field} must be given with this preset")
    chunk = config.parallel.steps_per_dispatch
    for field, value, least, most in (
        ("seed", config.seed, 0, 2**32 - 1),
        ("log_every", config.log_every, 1, math.inf),
        ("checkpoint_every", config.checkpoint_every, 0, math.inf),
        ("parallel.steps_per_dispatch", chunk, 0, math.inf),
    ):
        if not least <= value <= most:
            bounds = f"at least {least}" if most == math.inf else f"from {least} to {most}"
            raise InputError(f"config.{field}={value}: must be {bounds}")


class _Runner:
    """Runs jobs with one config; programs are shared among images of one shape."""

    def __init__(self, module: ModuleType, config: ml_collections.ConfigDict, workdir: Workdir):
        self.module, self.config, self.workdir = module, config, workdir
        self._programs: dict[Any, Programs] = {}

    def run(self, job: Job, stop: StopSignal) -> dict[str, Any]:
        """One image from file to results; returns its metrics."""
        started = time.monotonic()
        config = self.config
        source, truth_path, sides = self._read(job)
        programs, inputs = self._prepare(source, sides)
        method = programs.method
        shape = _result_shape(method, inputs)
        truth = None if truth_path is None else read_truth(truth_path, shape)
        limit = sum(stage.steps for stage in method.stages)
        old = self.workdir.metrics(job.stem)
        self.workdir.claim(job.stem, self._hashes(job), steps=limit)
        folder = self.workdir.folder(job.stem)
        if _is_finished(old, limit, folder):
            if truth is not None and old.get("ground_truth_sha256") != truth.sha256:
                self._score(old, programs, inputs, truth, folder)
                self._publish(job, old, programs, inputs, source)
            return old
        if job.path is None:
            image_io.write_image(folder / "input.png", source.pixels)
        checkpoints = Checkpoints(folder / "checkpoints")
        progress = Progress(show_path(job.stem), limit, enabled=config.progress)
        loop = Loop(
            programs,
            inputs,
            seed=config.seed,
            schedule=Schedule(config.log_every, config.checkpoint_every),
            checkpoints=checkpoints,
            log_path=str(folder / "train.jsonl"),
            progress=progress,
            stop=stop,
            started=started,
        )
        try:
            run = loop.train()
        except Stopped as event:
            metrics = self._metrics(job, event.run, status="stopped")
            metrics |= _shapes(source, shape)
            self.workdir.write_metrics(job.stem, metrics)
            progress.close(f"stopped at step {event.run.steps}; the same command goes on")
            raise
        finally:
            checkpoints.close()
        figures = write_outputs(programs.outputs(run.state, run.inputs), folder, source)
        loop.account()
        metrics = self._metrics(job, run, status="done") | _shapes(source, shape)
        metrics |= {"steps_limit": limit, **figures}
        if truth is not None:
            self._score(metrics, programs, inputs, truth, folder)
        self._publish(job, metrics, programs, inputs, source)
        score = f", {metrics['psnr_y']:.2f} dB" if metrics.get("psnr_y") else ""
        progress.close(f"done, {run.steps} steps, {metrics['seconds']:.0f} s{score}")
        return metrics

    def fail(self, job: Job, error: Exception) -> dict[str, Any]:
        """Notes that an image failed, and why; a traceback of ours goes to a file beside."""
        text = " ".join(str(error).split()) or type(error).__name__
        trace = ""
        if not isinstance(error, InputError):
            text = f"{type(error).__name__}: {text[:300]}"
            trace = "".join(traceback.format_exception(error))
        print(f"{show_path(job.stem)}: failed: {text}", file=sys.stderr)
        metrics = self._metrics(job, Run(), status="failed", error=text)
        with contextlib.suppress(OSError, InputError):  # the folder itself may be what is wrong
            if trace:
                trace = trace.encode("utf-8", "replace").decode()
                atomic_write_text(self.workdir.folder(job.stem) / "traceback.txt", trace)
            if (self.workdir.metrics(job.stem) or {}).get("status") != "done":
                self.workdir.write_metrics(job.stem, metrics)
        return metrics

    def check_hashes(self, job: Job) -> None:
        """Refuses an image whose files are not those its results were made from."""
        try:
            hashes = self._hashes(job)
        except InputError:
            return  # an unreadable file is that image's own failure
        self.workdir.check(job.stem, hashes)

    def _hashes(self, job: Job) -> dict[str, str]:
        files = {"input": job.path, **self._side_files(job)}
        return {name: sha256_file(path) for name, path in files.items() if path}

    def _side_files(self, job: Job) -> dict[str, Path | None]:
        kinds = self.module.SIDE_INPUTS.items()
        return {f: companion(f, self.config[f], job, kind=kind, tag=f) for f, kind in kinds}

    def _read(self, job: Job):
        """The image, its ground truth (a path, an array or None), and the side inputs."""
        config, kinds = self.config, self.module.SIDE_INPUTS
        sides = {f: _READERS[kinds[f]](path) for f, path in self._side_files(job).items() if path}
        truth = companion("ground_truth", config.ground_truth, job, tag="gt", beside=True)
        if job.path is not None:
            return image_io.read_image(job.path), truth, sides
        import skimage.data

        photo = skimage.data.astronaut().astype(np.float32) / 255
        image = np.asarray(self.module.example(config, photo, **sides))
        source = image_io.ImageFile(image, None, 8, False, "")
        return source, photo if truth is None else truth, sides

    def _prepare(self, source: image_io.ImageFile, sides: Mapping[str, Any]):
        inputs = self.module.prepare(self.config, source.pixels, **sides)
        spec = input_spec(inputs)
        key = str(spec)
        if key not in self._programs:
            try:
                method = self.module.make(self.config, spec)
            except InputError as error:
                raise InputError(f"{source.path}: {error}" if source.path else str(error)) from None
            chunk = self.config.parallel.steps_per_dispatch
            self._programs[key] = Programs(method, steps_per_dispatch=chunk)
        return self._programs[key], inputs

    def _score(self, figures: dict, programs: Programs, inputs, truth, folder: Path) -> None:
        """Adds the figures of the result file, and of the baseline, against the ground truth."""
        size = math.prod(truth.pixels.shape[:2])
        result = image_io.read_image(folder / "result.png", max_pixels=size).pixels
        border = border_of(inputs["image"].shape[:2], result.shape[:2])
        figures.update(score(result, truth.pixels, border))
        if programs.method.baseline:
            base = np.asarray(programs.baseline(inputs))
            base = np.round(base * 255) / 255
            scored = score(base, truth.pixels, border)
            figures.update({f"baseline_{name}": value for name, value in scored.items()})
        figures.update(ground_truth=truth.name, ground_truth_sha256=truth.sha256)

    def _publish(self, job: Job, metrics: dict, programs: Programs, inputs, source) -> None:
        """Writes the report and, last of all, the metrics: they say that the image is done."""
        folder = self.workdir.folder(job.stem)
        before = source.pixels
        if programs.method.baseline:
            before = np.asarray(programs.baseline(inputs))
        report.write_report(folder, metrics, to_plain(self.config), before=before)
        self.workdir.write_metrics(job.stem, metrics)

    def _metrics(self, job: Job, run: Run, *, status: str, error: str = "") -> dict[str, Any]:
        """What metrics.json says of every image, also of one that failed."""
        device = jax.local_devices()[0]
        path = SAMPLE if job.path is None else str(job.path)
        return {
            "image": job.stem,
            "method": self.config.method,
            "input": path.encode("utf-8", "replace").decode(),
            "status": status,
            "error": error.encode("utf-8", "replace").decode(),
            "seed": self.config.seed,
            "steps": run.steps,
            "seconds": run.seconds,
            "compile_seconds": run.compile_seconds,
            "steps_per_second": round(run.steps / max(run.train_seconds, 1e-9), 4),
            "programs": run.programs,
            "resumed_steps": run.resumed_steps,
            "device": device.device_kind,
            "device_count": 1,
            "jax_version": jax.__version__,
            "image_shape": None,
            "output_shape": None,
        }


def _shapes(source: image_io.ImageFile, shape: tuple[int, ...]) -> dict[str, list[int]]:
    return {"image_shape": list(source.pixels.shape), "output_shape": list(shape)}


def _is_finished(old: Mapping | None, limit: int, folder: Path) -> bool:
    """Whether a result is there that more steps would not change."""
    if not old or old["status"] != "done" or not (folder / "result.png").exists():
        return False
    ended_itself = old["steps"] < old["steps_limit"]
    return ended_itself or limit <= old["steps_limit"]


def _result_shape(method, inputs) -> tuple[int, ...]:
    """Shape of the output 'result' without computing it."""
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    for stage in method.stages[:-1]:
        state, inputs = jax.eval_shape(stage.advance, state, inputs)
    return jax.eval_shape(method.outputs, state, inputs)["result"].value.shape
