"""Where the answer of a verb goes: to a file, or to a folder with a file for each image."""

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deepinternal import retargeter
from deepinternal.codecs import export
from deepinternal.files import atomic_write_bytes, show_path
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
    """Where the answers of all jobs go, checked before any of them is worked on.

    Attributes:
        out: what the user gave, a file or a folder.
        jobs: the jobs.
        kind: what the answer is: 'image', 'kernel' or 'video'.
        answers: the names of the outputs that are written, with what is added to the name of the
            file for each.
        is_folder: whether `out` is a folder.
    """

    out: str
    jobs: Sequence[Job]
    kind: str
    answers: Mapping[str, str]
    is_folder: bool

    def names(self, job: Job) -> Iterator[tuple[str, Path]]:
        """The outputs of a job that are written, each with the path that it is written to."""
        for output, ending in self.answers.items():
            if output == "clean":  # of several files with the same watermark
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
    """Decides whether `--out` is a file or a folder, and refuses what cannot be written.

    Args:
        out: what the user gave.
        jobs: the jobs.
        kind: as of `Plan`.
        answers: as of `Plan`.
        many: whether the inputs may be any number, as of a folder.

    Raises:
        InputError: no `--out`, a name that ends in something else, a file for several images, a
            file that is an input, or a folder that cannot be written.
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
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"--out={shown}: the folder {show_path(folder)} cannot be written")
    return made


def copy(asked: Plan, workdir: Path) -> list[Path]:
    """Copies the answers of all jobs that are done from the work folder; returns what was written.

    Raises:
        OSError: a file cannot be written.
    """
    written = []
    for job in _done(asked, workdir):
        for output, path in asked.names(job):
            path.parent.mkdir(parents=True, exist_ok=True)
            written.append(_copied(workdir / job.stem, output, path))
    return written


def _copied(folder: Path, output: str, path: Path) -> Path:
    """Writes one output to a path; a video without ffmpeg becomes a folder of frames."""
    suffix = path.suffix.lower()
    if suffix in export.SUFFIXES:
        export.export(folder / f"{output}.png", path)
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
    """Raises InputError where there is no size and no scale, or one that cannot be read."""
    if not sizes and not scales:
        raise InputError("nothing to make: give --size=HEIGHT,WIDTH or --scale=VERTICAL,HORIZONTAL")
    for text in sizes:
        retargeter.parse_size(text)
    for text in scales:
        try:
            parse_scale(text)
        except ValueError as error:
            raise InputError(f"--scale={text}: {error}") from None


def retargeted(
    asked: Plan, workdir: Path, sizes: Sequence[str], scales: Sequence[str]
) -> list[Path]:
    """Makes images of the sizes and scales with the nets of all jobs; returns what was written."""
    written = []
    for job in _done(asked, workdir):
        trained = retargeter.load(str(workdir), job.stem)
        wanted = [*map(retargeter.parse_size, sizes), *map(trained.size, scales)]
        path = next(path for _, path in asked.names(job))
        path.parent.mkdir(parents=True, exist_ok=True)
        written += trained.write(path, wanted)
    return written


def _done(asked: Plan, workdir: Path) -> list[Job]:
    """The jobs that have a result."""
    return [job for job in asked.jobs if _status(workdir / job.stem) == "done"]


def _status(folder: Path) -> str:
    try:
        return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["status"]
    except (OSError, ValueError, KeyError):
        return ""
