"""What became of the jobs of a command: results, stops and failures, and their summary."""

import errno
import os
from collections.abc import Sequence
from typing import Any

from deepinternal.engine.errors import LostError
from deepinternal.engine.run import Run
from deepinternal.files import reason, show_path
from deepinternal.messages import tell
from deepinternal.report import report
from deepinternal.runs.claims import Claims
from deepinternal.runs.inputs import Job
from deepinternal.runs.opening import Opened, Opener
from deepinternal.runs.records import Made, Records
from deepinternal.runs.summary import write_summary


class Outcomes:
    """What became of the jobs of a command, as it is written to the work folder.

    Attributes:
        records: The writer of results.
        held_elsewhere: The stems of jobs that another process held when their turn came.
        finished: The stems of jobs that were already finished when their turn came.
    """

    def __init__(self, opener: Opener, claims: Claims):
        """Prepares the records.

        Args:
            opener: The opener of the jobs.
            claims: The claims of this process, which are released as soon as a job has ended.
        """
        self._workdir, self._settings, self._claims = opener.workdir, opener.settings, claims
        self.records = Records(opener)
        self.held_elsewhere: set[str] = set()
        self.finished: set[str] = set()
        self._failed: dict[str, dict[str, Any]] = {}
        self._lost: set[str] = set()  # taken over by another process
        self._before: dict[str, Any] = {}  # the metrics of all jobs at the start, by stem

    def begin(self, jobs: Sequence[Job]) -> None:
        """Notes the present state of the jobs, before any of them is trained on."""
        self._before = {job.stem: self._workdir.metrics(job.stem) for job in jobs}

    def write(self, opened: Opened, run: Run, made: Made | None, problem: Exception | None) -> None:
        """Writes the last checkpoint and the results of a run, or its error; releases the job.

        Args:
            opened: The job.
            run: Its run, which has ended.
            made: The results on the device; None if it has none.
            problem: Why it has failed; None if it has not.
        """
        try:
            if run.status == "done":
                run.complete()
            if problem:
                raise problem
            if made is None:
                self.records.stopped(opened, run)
                word = f"stopped at step {run.steps}; the same command continues it"
            else:
                metrics = self.records.finish(opened, run, made)
                remarks = metrics.get("remarks", ())
                run.progress.remark([r for r in remarks if r not in opened.remarks])
                word = f"done, {run.steps} steps, {metrics['seconds']:.0f} s"
                word += f", {metrics['psnr_y']:.2f} dB" if metrics.get("psnr_y") else ""
            run.progress.remark([word])
        except LostError as error:
            run.fail(error)
            stem = opened.job.stem
            if not self._workdir.path.is_dir():
                return  # reported in the end
            if stem not in self._lost:  # else it is not tried again
                self.held_elsewhere.add(stem)
            self._lost.add(stem)
            tell(f"{show_path(stem)}: {error}")
        except Exception as error:  # the failure of one job must not affect the others
            run.fail(error)
            self.fail(opened.job, error, opened, run)
            return
        finally:
            if run.log.telemetry:
                run.log.telemetry.close()
        self._claims.release(opened.job.stem)

    def fail(
        self, job: Job, error: Exception, opened: Opened | None = None, run: Run | None = None
    ) -> None:
        """Records the failure of a job and releases it; see `Records.fail`."""
        if self._workdir.path.is_dir():
            self._failed[job.stem] = self.records.fail(job, error, opened, run)
        self._claims.release(job.stem)

    def has_failed(self, stem: str) -> bool:
        """Whether a job has failed since the start, in any process; it is not tried again."""
        now = self._workdir.metrics(stem)
        failed = bool(now) and now["status"] == "failed" and now != self._before.get(stem)
        return failed or stem in self._failed

    def check_present(self) -> None:
        """Raises OSError if the work folder was removed, which must not be made again in part."""
        path = str(self._workdir.path)
        if not os.path.isdir(path):
            raise FileNotFoundError(errno.ENOENT, "the work folder was removed", path)

    def summarise(self, jobs: Sequence[Job]) -> bool:
        """Writes the summary and the index of all jobs with results.

        Another process may end at the same moment; the last one to read the results sees all.

        Returns:
            Whether all jobs are done, and the summary is written.
        """
        if self._workdir.discards:  # stopped before it began
            return False
        self.check_present()
        found, written = None, True
        try:
            while found != (found := self._results(jobs)):
                write_summary(self._workdir.path, found)
                report.write_index(self._workdir.path, found)
        except OSError as error:
            written = False
            tell(f"the summary cannot be written: {reason(error)}")
        if self.held_elsewhere or not written:
            return False
        return [metrics["status"] for metrics in found] == ["done"] * len(jobs)

    def say_if_finished(self, jobs: Sequence[Job]) -> None:
        """Prints a line if nothing was left to do."""
        if self._settings.progress and self.finished == {job.stem for job in jobs}:
            index = show_path(self._workdir.path / "index.html")
            what = "the image is" if len(jobs) == 1 else f"all {len(jobs)} images are"
            tell(f"{what} already done: {index}")

    def _results(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        found = (self._failed.get(j.stem) or self._workdir.metrics(j.stem) for j in jobs)
        return [metrics for metrics in found if metrics]
