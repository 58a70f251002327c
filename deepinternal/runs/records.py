"""Writes the results of a job when its run has ended: outputs, metrics.json, report."""

import contextlib
import dataclasses
import traceback
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from deepinternal.codecs.decoding import decode
from deepinternal.engine.parallel import Programs
from deepinternal.engine.run import Run
from deepinternal.engine.spent import Spent
from deepinternal.files import atomic_write_text, printable, reason, show_path
from deepinternal.messages import tell
from deepinternal.report import report
from deepinternal.runs.inputs import Job
from deepinternal.runs.opening import Opened, Opener
from deepinternal.runs.results import alpha_of, cut, score_result, views, write_outputs
from deepinternal.types import Array, InputError, Inputs, Output


@dataclasses.dataclass(frozen=True)
class Made:
    """Results of a run on the device: the method's outputs, and its baseline or None."""

    outputs: Mapping[str, Output]
    before: Array | None


@dataclasses.dataclass
class Records:
    """Writes the results of runs to a work folder.

    Attributes:
        opener: The opener of the jobs.
    """

    opener: Opener

    def __post_init__(self):
        self.workdir = self.opener.workdir

    def compute(self, opened: Opened, run: Run) -> Made:
        """Starts to compute what `finish` writes; does not wait for the device."""
        outputs = run.programs.outputs(run.state, run.inputs)
        return Made(outputs, _before(opened, run.programs, run.initial))

    def finish(self, opened: Opened, run: Run, made: Made) -> dict[str, Any]:
        """Writes the results of a finished run, possibly in another thread; returns its metrics."""
        outputs = {name: cut(output) for name, output in made.outputs.items()}
        before = _on_host(made.before, opened)
        folder = self.workdir.folder(opened.job.stem)
        figures, samples = write_outputs(outputs, folder, opened.source)
        run.account.update()
        metrics = self._metrics(opened.job, "done", opened, run)
        metrics |= {"steps_limit": opened.limit, "changes": run.changes, **figures}
        scalars = {name: figures[name] for name, o in outputs.items() if o.kind == "scalar"}
        remarks = list(self.opener.remarks(opened.source, opened.inputs, scalars))
        if steps := run.spent.continued_steps:
            remarks.append(f"the run continued from step {steps[-1]} after its inputs had changed")
        if run.unsaved:  # the same command repeats the steps since the last checkpoint
            metrics["unsaved"] = run.unsaved
            remarks.append(f"the last checkpoint cannot be written ({run.unsaved})")
        if remarks:
            metrics["remarks"] = remarks
        if run.log.telemetry:
            run.log.telemetry.images({"before": before, **views(outputs)})
        self._publish(opened, metrics, before, samples)
        return metrics

    def score_again(self, opened: Opened) -> None:
        """Updates the figures of a finished job if its ground truth has changed."""
        metrics, truth = self.workdir.metrics(opened.job.stem), opened.truth
        if truth is None or metrics.get("ground_truth_sha256") == truth.sha256:
            return
        programs = Programs(self.opener.method(opened.inputs))
        before = _on_host(_before(opened, programs, opened.inputs), opened)
        path = self.workdir.folder(opened.job.stem) / "result.png"
        if truth.remarks:
            metrics["remarks"] = list(dict.fromkeys([*metrics.get("remarks", ()), *truth.remarks]))
        samples = decode(path, int(np.prod(opened.shape))).samples
        self._publish(opened, metrics, before, {path.name: samples})

    def _publish(
        self, opened: Opened, metrics: dict, before: np.ndarray, samples: Mapping[str, np.ndarray]
    ) -> None:
        """Writes the report, and then the metrics, which mark the job as done."""
        source, stem = opened.source, opened.job.stem
        if opened.truth is not None:
            metrics |= score_result(samples["result.png"], opened.truth, before, source.size)
        report.write_report(
            self.workdir.folder(stem),
            metrics,
            self.workdir.fields,
            before=before,
            alpha=alpha_of(source.images[0], before.shape[:2]),
            inputs=source.images,
            samples=samples,
            formulas=self.opener.recipe.equations(self.opener.config, opened.inputs),
        )
        self.workdir.write_metrics(stem, metrics)

    def stopped(self, opened: Opened, run: Run) -> None:
        """Records that a signal ended a run."""
        stem, metrics = opened.job.stem, self._metrics(opened.job, "stopped", opened, run)
        self._write_page(stem, metrics, opened)
        self.workdir.write_metrics(stem, metrics)

    def _write_page(self, stem: str, metrics: dict, opened: Opened | None) -> None:
        """Writes the report of a job without a result."""
        report.write_report(
            self.workdir.folder(stem),
            metrics,
            self.workdir.fields,
            before=None,
            inputs=opened.source.images if opened else None,
        )

    def fail(
        self, job: Job, error: Exception, opened: Opened | None = None, run: Run | None = None
    ) -> dict[str, Any]:
        """Records the failure of a job; the traceback of an internal error goes to a file.

        Args:
            job: The job.
            error: The error.
            opened: The opened job, if it was opened.
            run: Its run, if it had begun.

        Returns:
            The metrics of the job.
        """
        text, trace = " ".join(str(error).split()) or type(error).__name__, ""
        if isinstance(error, OSError) and error.errno:  # of the host, such as a full disk
            text = reason(error)
        elif not isinstance(error, InputError):
            text = f"{type(error).__name__}: {text[:300]}"
            trace = printable("".join(traceback.format_exception(error)))
        text = self.opener.spelling(text)
        tell(f"{show_path(job.stem)}: failed: {text}")
        metrics = self._metrics(job, "failed", opened, run) | {"error": printable(text)}
        with contextlib.suppress(OSError, InputError):  # the folder itself may be the problem
            folder = self.workdir.folder(job.stem)
            if trace:
                atomic_write_text(folder / "traceback.txt", trace)
            if (self.workdir.metrics(job.stem) or {}).get("status") != "done":
                self._write_page(job.stem, metrics, opened)
                self.workdir.write_metrics(job.stem, metrics)
        return metrics

    def _metrics(
        self, job: Job, status: str, opened: Opened | None, run: Run | None
    ) -> dict[str, Any]:
        """Returns the metrics common to all jobs, including failed ones."""
        spent = dataclasses.asdict(run.spent if run else Spent())
        rate = spent["steps"] / max(spent.pop("train_seconds"), 1e-9)
        devices, lanes = (len(run.programs.devices), run.programs.lanes) if run else (1, 1)
        return {
            "image": job.stem,
            "method": self.opener.recipe.name,
            "input": opened.source.name if opened and not job.files else job.name,
            "status": status,
            "error": "",
            "seed": self.workdir.fields["seed"],
            **spent,
            "steps_per_second": round(rate, 4),
            **self.workdir.made_with,
            "device": jax.local_devices()[0].device_kind,
            "device_count": devices,
            "images_per_device": lanes // devices,
            "jax_version": jax.__version__,
            "image_shape": list(opened.source.shape) if opened else None,
            "output_shape": list(opened.shape) if opened else None,
        }


def _before(opened: Opened, programs: Programs, inputs: Inputs) -> Array | None:
    """Returns the method's baseline on its canvas; None if it has none."""
    if not programs.method.baseline or opened.source.is_video:
        return None
    return programs.baseline(inputs)


def _on_host(baseline: Array | None, opened: Opened) -> np.ndarray:
    """Returns the image to compare the result with: the method's baseline, or the input."""
    if baseline is None:
        return opened.source.images[0].pixels
    return np.asarray(baseline)[: opened.shape[0], : opened.shape[1]]
