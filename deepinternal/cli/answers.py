"""Writes the results of a verb to a file, or to a folder with a file for each image."""

import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deepinternal import retargeter
from deepinternal.codecs import export
from deepinternal.files import atomic_write_bytes, show_path
from deepinternal.messages import tell
from deepinternal.methods.ingan.config import parse_scale
from deepinternal.runs.inputs import Job
from deepinternal.types import InputError

SUFFIXES: Mapping[str, Sequence[str]] = {
    "image": export.SUFFIXES,
    "kernel": (".mat", ".npy", ".png", ".svg"),
    "video": (".mp4",),
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """The output paths of all jobs, checked before any work starts.

    Attributes:
        out: The file or folder that the user gave.
        jobs: The jobs.
        kind: The kind of the results: 'image', 'kernel' or 'video'.
        answers: The names of the outputs to write, each with the suffix that it adds to the file's
            stem.
        is_folder: Whether `out` is a folder.
    """

    out: str
    jobs: Sequence[Job]
    kind: str
    answers: Mapping[str, str]
    is_folder: bool

    def names(self, job: Job) -> Iterator[tuple[str, Path]]:
        """Yields the outputs of a job that are written, each with its path."""
        for output, ending in self.answers.items():
            if output == "clean":  # one for each of several files with the same watermark
                for number, file in enumerate(job.files, 1):
                    yield f"clean{number}", self._path(file.stem, "")
            else:
                yield output, self._path(job.stem, ending)

    def _path(self, stem: str, ending: str) -> Path:
        if not self.is_folder:
            path = Path(self.out)
            return path.with_name(f"{path.stem}{ending}{path.suffix}")
        suffix = {"image": ".png", "kernel": ".mat", "video": ".mp4"}[self.kind]
        tag = "_kernel" if self.kind == "kernel" else ""
        return Path(self.out) / f"{stem}{tag}{ending}{suffix}"


def plan(
    out: str, jobs: Sequence[Job], kind: str, answers: Mapping[str, str], *, many: bool
) -> Plan:
    """Decides whether `--out` is a file or a folder, and refuses paths that cannot be written.

    Args:
        out: The file or folder that the user gave.
        jobs: The jobs.
        kind: See `Plan`.
        answers: See `Plan`.
        many: Whether the number of inputs is open, as for a folder.

    Raises:
        InputError: `--out` is missing, has another suffix, is one file for several images, is an
            input, or lies in a folder that cannot be written.
    """
    suffixes, shown = SUFFIXES[kind], show_path(out)
    if not out.strip():
        raise InputError("--out: is missing; give the file, or the folder, to write")
    suffix = os.path.splitext(out)[1].lower()
    is_folder = os.path.isdir(out) or out.endswith(os.sep) or not suffix
    if not is_folder:
        if len(jobs) > 1 or many or "clean" in answers:
            raise InputError(f"--out={shown}: give a folder for the results of several images")
        if suffix not in suffixes:
            endings = ", ".join(suffixes)
            raise InputError(f"--out={shown}: give a folder, or a name that ends in {endings}")
    elif os.path.lexists(out) and not os.path.isdir(out):
        raise InputError(f"--out={shown}: is a file; give a folder")
    made = Plan(out, jobs, kind, answers, is_folder)
    inputs = {os.path.realpath(file): file for job in jobs for file in job.files}
    for job in jobs:
        for _, path in made.names(job):
            if os.path.realpath(path) in inputs:
                raise InputError(f"--out={shown}: would overwrite the input {show_path(path)}")
    folder = Path(out).absolute() if is_folder else Path(out).absolute().parent
    while not folder.exists():
        folder = folder.parent
    try:
        tempfile.TemporaryFile(dir=folder).close()  # permissions alone do not tell
    except OSError as error:
        where, why = show_path(folder), error.strerror
        raise InputError(f"--out={shown}: {where} cannot be written ({why})") from None
    return made


def settled(asked: Plan, workdir: Path, patience: float) -> bool:
    """Waits until every job has a result or an error, which another process may be about to write.

    Args:
        asked: The plan.
        workdir: The work folder.
        patience: How long to wait, in seconds.

    Returns:
        False if a job is still without a result, for example because the other process has died.
    """
    until = time.monotonic() + patience
    while any(_status(workdir / job.stem) not in ("done", "failed") for job in asked.jobs):
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def copy(asked: Plan, workdir: Path) -> list[Path]:
    """Copies the results of all finished jobs from the work folder; returns the written paths.

    Raises:
        OSError: A file cannot be written.
    """
    written = []
    for job in done(asked, workdir):
        for output, path in asked.names(job):
            path.parent.mkdir(parents=True, exist_ok=True)
            written.append(_copied(workdir / job.stem, output, path))
    return written


def _copied(folder: Path, output: str, path: Path) -> Path:
    """Writes one output to a path; without ffmpeg, a video becomes a folder of frames."""
    suffix = path.suffix.lower()
    if suffix in export.SUFFIXES:
        if lost := export.export(folder / f"{output}.png", path):
            tell(f"{show_path(path)}: without {lost}; .png and .tif keep it")
        return path
    source = folder / f"{output}{suffix}"
    if suffix == ".mp4" and not source.exists():
        path = path.with_suffix("")
        path.mkdir(exist_ok=True)
        for frame in sorted((folder / output).iterdir()):
            atomic_write_bytes(path / frame.name, frame.read_bytes())
        return path
    atomic_write_bytes(path, source.read_bytes())
    return path


def check_sizes(sizes: Sequence[str], scales: Sequence[str]) -> None:
    """Raises InputError if neither a size nor a scale is given, or if one cannot be parsed."""
    if not sizes and not scales:
        raise InputError("nothing to make: give --size=HEIGHT,WIDTH or --scale=VERTICAL,HORIZONTAL")
    for text in sizes:
        if min(retargeter.parse_size(text)) < retargeter.SMALLEST:
            least = retargeter.SMALLEST
            raise InputError(f"--size={text}: both sides must be at least {least} pixels")
    for text in scales:
        try:
            parse_scale(text)
        except ValueError as error:
            raise InputError(f"--scale={text}: {error}") from None


def retargeted(
    asked: Plan, workdir: Path, sizes: Sequence[str], scales: Sequence[str]
) -> list[Path]:
    """Makes images of the sizes and scales with the nets of all jobs; returns the written paths."""
    written = []
    for job in done(asked, workdir):
        trained = retargeter.load(str(workdir), job.stem)
        wanted = [*map(retargeter.parse_size, sizes), *map(trained.size, scales)]
        path = next(path for _, path in asked.names(job))
        path.parent.mkdir(parents=True, exist_ok=True)
        written += trained.write(path, wanted)
    return written


def done(asked: Plan, workdir: Path) -> list[Job]:
    """Returns the jobs that have a result."""
    return [job for job in asked.jobs if _status(workdir / job.stem) == "done"]


def _status(folder: Path) -> str:
    try:
        return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["status"]
    except (OSError, ValueError, KeyError):
        return ""
