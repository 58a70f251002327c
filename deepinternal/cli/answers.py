"""Writes the results of a verb to a file, or to a folder with a file for each image."""

import dataclasses
import functools
import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepinternal import net_retargeter, resizer, retargeter
from deepinternal.codecs import export
from deepinternal.files import atomic_write_bytes, file_name, printable, reason, show_path
from deepinternal.messages import tell
from deepinternal.methods.factors import parse_scale
from deepinternal.runs.inputs import Job
from deepinternal.types import InputError
from deepinternal.writers import read_object

NO_SIZE = "nothing to make: give --size=HEIGHT,WIDTH or --scale=VERTICAL,HORIZONTAL"
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
        sized: Whether the names of the files end in the size of the result, -HxW.
    """

    out: str
    jobs: Sequence[Job]
    kind: str
    answers: Mapping[str, str]
    is_folder: bool
    sized: bool = False

    def names(self, job: Job) -> Sequence[tuple[str, Path]]:
        """Returns the outputs of a job that are written, each with its path."""
        return self._names[job]

    @functools.cached_property
    def _names(self) -> Mapping[Job, Sequence[tuple[str, Path]]]:
        """The outputs of all jobs and their paths, which differ."""
        found, used = {}, set()
        for job in self.jobs:
            found[job] = [(name, self._path(*parts, used)) for name, *parts in self._outputs(job)]
        return found

    def _outputs(self, job: Job) -> Iterator[tuple[str, str, str]]:
        """Yields the outputs of a job that are written, each with its stem and suffix."""
        for output, ending in self.answers.items():
            if output == "clean":  # one for each of several files with the same watermark
                for number, file in enumerate(job.files, 1):
                    yield f"clean{number}", printable(file.stem), ""
            else:
                yield output, job.stem, ending

    def _path(self, stem: str, ending: str, used: set[str]) -> Path:
        """Returns a path that is not used; otherwise it gets -2, -3, ..."""
        if self.is_folder:
            whole = Path(self.out) / stem
            suffix = {"image": ".png", "kernel": "_kernel.mat", "video": ".mp4"}[self.kind]
        else:
            whole, suffix = Path(self.out).with_suffix(""), Path(self.out).suffix
        for number in itertools.count(1):
            end = f"{ending}-{number}{suffix}" if number > 1 else f"{ending}{suffix}"
            path = whole.with_name(file_name(whole.name, end))
            if (key := str(path).casefold()) not in used:
                used.add(key)
                return path


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
    check_writable(Path(out) if is_folder else Path(out).parent, shown)
    return made


def check_writable(folder: Path, shown: str) -> None:
    """Raises InputError if files cannot be written to a folder, which may not exist yet.

    Args:
        folder: The folder.
        shown: The value of `--out`, for the message.
    """
    above = folder.absolute()
    while not above.exists():
        above = above.parent
    try:
        tempfile.TemporaryFile(dir=above).close()  # permissions alone do not tell
    except OSError as error:
        where, why = show_path(above), error.strerror
        raise InputError(f"--out={shown}: {where} cannot be written ({why})") from None


def copy(asked: Plan, workdir: Path) -> tuple[list[Path], list[str]]:
    """Copies the results of all finished jobs from the work folder.

    Returns:
        The written paths, and the reasons why others could not be written.
    """
    written, failed = [], []
    for job in done(asked, workdir):
        for output, path in asked.names(job):
            if asked.sized:
                height, width, *_ = _metrics(workdir / job.stem)["output_shape"]
                path = path.with_name(file_name(path.stem, f"-{height}x{width}{path.suffix}"))
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                written.append(_copied(workdir / job.stem, output, path))
            except OSError as error:
                failed.append(reason(error))
    return written, failed


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
        raise InputError(NO_SIZE)
    for text in sizes:
        if min(resizer.parse_size(text)) < net_retargeter.SMALLEST:
            least = net_retargeter.SMALLEST
            raise InputError(f"--size={text}: both sides must be at least {least} pixels")
    for text in scales:
        try:
            parse_scale(text)
        except ValueError as error:
            raise InputError(f"--scale={text}: {error}") from None


def retargeted(
    asked: Plan, workdir: Path, sizes: Sequence[str], scales: Sequence[str]
) -> tuple[list[Path], list[str]]:
    """Makes images of the sizes and scales with the nets of all jobs; returns the written paths."""
    written = []
    for job in done(asked, workdir):
        trained = retargeter.load(str(workdir), job.stem)
        wanted = [*map(resizer.parse_size, sizes), *map(trained.size, scales)]
        ((_, path),) = asked.names(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        written += trained.write(path, wanted)
    return written, []


def done(asked: Plan, workdir: Path) -> list[Job]:
    """Returns the jobs that have a result."""
    return [job for job in asked.jobs if _metrics(workdir / job.stem).get("status") == "done"]


def _metrics(folder: Path) -> Mapping[str, Any]:
    return read_object(folder / "metrics.json")
