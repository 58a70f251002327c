"""Writes a page for each image, on which hints, masks and boxes are painted in a browser.

    deepinternal scribble photo.jpg --out=hints/
    deepinternal scribble photos/ --out=hints/ --task=inpaint
    deepinternal scribble photo.jpg --out=hints/ --result=mask.png

The pages work offline. They save PNG files under the names that the methods look for in a folder,
such as photo_foreground.png, and show the commands that take them.
"""

import dataclasses
import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from deepinternal.cli import program, words
from deepinternal.cli.answers import check_writable
from deepinternal.codecs import image_io, masks
from deepinternal.codecs.video_io import VIDEO_SUFFIXES
from deepinternal.field_forms import did_you_mean
from deepinternal.files import expanded, file_name, show_path
from deepinternal.messages import tell
from deepinternal.report import scribble
from deepinternal.runs import stems
from deepinternal.runs.companions import companion
from deepinternal.runs.inputs import IMAGE_SUFFIXES, Job, list_jobs
from deepinternal.types import InputError

_FIELDS = tuple(dict.fromkeys(f for fields in scribble.TASKS.values() for f in fields))
_HEAD = 10_000  # characters of a page that contain its mark
_OWN = ("out", "workdir", "help")  # of the options that every verb has
_OPTIONS = {
    "task": f"the task that a page shows first: {', '.join(scribble.TASKS)}",
    "foreground": "file or folder of painted foregrounds to continue; default: those in --out",
    "background": "file or folder of painted backgrounds to continue; default: those in --out",
    "mask": "file or folder of masks of --task to continue; default: those in --out",
    "result": "file or folder of masks of a finished segmentation, to show over the image",
}


def main(line: Sequence[str]) -> int:
    """Writes the pages that the words of a command line ask for; returns the exit status."""
    command = words.parse(line)
    if command.options["help"]:
        print(_help())
        return 0
    asked = _checked(command)
    folder = _folder(command.options["out"])
    tags = ("gt", *_FIELDS)
    listed = list_jobs(",".join(command.inputs), tags=tags, companions=asked.files, quiet=False)
    jobs = stems.assign(listed, {})
    finished = _finished(asked.workdir, listed)
    for job in jobs:
        if job.path.suffix.lower() in set(VIDEO_SUFFIXES) - set(IMAGE_SUFFIXES):
            raise InputError(f"{show_path(job.path)}: is a video; give its frames as images")
        if asked.result:
            finished[job.place] = companion("result", asked.result, job, kind="mask", tag="mask")
    pages = [_write(folder, job, asked, finished.get(job.place)) for job in jobs]
    for page in pages:
        tell(show_path(page))
    return 0


@dataclasses.dataclass(frozen=True)
class _Asked:
    """The checked options of a command line.

    Attributes:
        task: The task that is shown first.
        painted: Files or folders of painted files, by field; '' if none is given.
        result: File or folder of masks of a finished segmentation; '' if none is given.
        workdir: The work folder of a finished segmentation; '' if none is given.
    """

    task: str
    painted: Mapping[str, str]
    result: str
    workdir: str

    @property
    def files(self) -> tuple[str, ...]:
        """The given files, which are not inputs."""
        return (*self.painted.values(), self.result)


def _checked(command: words.Command) -> _Asked:
    """Returns the options of a command line. Raises InputError if they cannot be used."""
    given = [name for name, value in command.options.items() if value and name not in _OWN]
    for name in (*given, *command.fields):
        if name not in _OPTIONS:
            hint = did_you_mean(name, [*_OWN, *_OPTIONS]) or "; see deepinternal scribble --help"
            raise InputError(f"--{name}: there is no such option{hint}")
    if not command.inputs or not all(map(str.strip, command.inputs)):
        raise InputError("no input: give an image, a folder or several images")
    if len(command.inputs) > 1 and (odd := [p for p in command.inputs if "," in p]):
        raise InputError(f"{odd[0]}: has a comma in its name; rename it, or give it alone")
    fields, workdir = command.fields, command.options["workdir"]
    task = fields.get("task", "segment")
    if task not in scribble.TASKS:
        hint = did_you_mean(task, scribble.TASKS) or f"; give {', '.join(scribble.TASKS)}"
        raise InputError(f"--task={task}: there is no such task{hint}")
    painted = {name: fields.get(name, "") for name in _FIELDS if name != "layout"}
    for name in [name for name, value in painted.items() if value]:
        if name not in scribble.TASKS[task]:
            tasks = [other for other, its in scribble.TASKS.items() if name in its]
            raise InputError(f"--{name}: belongs to --task={' or '.join(tasks)}, not to {task}")
    if (fields.get("result") or workdir) and task != "segment":
        name = "result" if fields.get("result") else "workdir"
        raise InputError(f"--{name}: belongs to --task=segment, not to {task}")
    if fields.get("result") and workdir:
        raise InputError("--result and --workdir both give a finished segmentation; give only one")
    return _Asked(task, painted, fields.get("result", ""), workdir)


def _folder(out: str) -> Path:
    """Returns the folder of the pages. Raises InputError if it cannot be written."""
    if not out.strip():
        raise InputError("--out: is missing; give the folder for the pages and the painted files")
    folder, shown = Path(expanded(out)), show_path(out)
    is_file = os.path.lexists(folder) and not os.path.isdir(folder)
    suffixes = (*IMAGE_SUFFIXES, ".html", ".htm")
    if is_file or (folder.suffix.lower() in suffixes and not os.path.isdir(folder)):
        raise InputError(f"--out={shown}: give a folder, which gets a page for each image")
    check_writable(folder, shown)
    return folder


def _finished(workdir: str, jobs: Sequence[Job]) -> dict[str, Path]:
    """Returns the masks in a work folder by the places of the images that they belong to."""
    if not workdir:
        return {}
    folder = Path(expanded(workdir))
    found = {
        job.place: folder / job.stem / "mask.png"
        for job in stems.assign(jobs, stems.owners(folder))
    }
    for job in jobs:
        if not found[job.place].is_file():
            raise InputError(
                f"--workdir={show_path(workdir)}: has no mask of {show_path(job.path)}; give the work "
                "folder of a finished segmentation of this image"
            )
    return found


def _write(folder: Path, job: Job, asked: _Asked, finished: Path | None) -> Path:
    """Writes the page of one image and returns its path."""
    below, stem = os.path.split(job.stem)
    page = folder / below / file_name(stem, ".html")
    if page.exists() and scribble.MARK not in page.read_text("utf-8", "replace")[:_HEAD]:
        name = show_path(page)
        raise InputError(f"{name}: is not a page of this program; give another folder as --out")
    image = image_io.read_image(job.path)
    read = lambda path: _read(path, job, image.pixels.shape[:2])
    painted = {name: read(path) > 0.5 for name, path in _files(page, job, asked).items()}
    if "mask" in painted:
        mask = painted.pop("mask")
        painted[asked.task] = ~mask if asked.task == "inpaint" else mask  # white where it is known
    if {"foreground", "background"} <= painted.keys():
        if both := np.count_nonzero(painted["foreground"] & painted["background"]):
            tell(f"{show_path(job.path)}: the hints overlap in {both} pixels, now foreground")
        painted["background"] &= ~painted["foreground"]
    result = None if finished is None else read(finished)
    page.parent.mkdir(parents=True, exist_ok=True)
    scribble.write_page(
        page,
        image,
        source=str(job.path),
        folder=str(page.parent),
        task=asked.task,
        painted=painted,
        result=result,
        workdir=asked.workdir,
    )
    return page


def _files(page: Path, job: Job, asked: _Asked) -> dict[str, Path]:
    """Returns the painted files to continue, by field: those given, else those beside the page."""
    found = {}
    for name in set(scribble.TASKS[asked.task]) & set(asked.painted):
        beside = page.with_name(scribble.painted_name(page.stem, name))
        given = companion(name, asked.painted[name], job, kind="mask", tag=name)
        if path := given or (beside if beside.is_file() else None):
            found[name] = path
    return found


def _read(path: Path, job: Job, size: tuple[int, int]) -> np.ndarray:
    """Reads a mask (H, W). Raises InputError if it does not have the size of the image."""
    values, _ = masks.read_masks([path])
    if values[0].shape != size:
        (h, w), (y, x) = values[0].shape, size
        name = show_path(job.path)
        raise InputError(
            f"{show_path(path)}: is {h}x{w} but {name} is {y}x{x}; give one of the same size"
        )
    return values[0]


def _help() -> str:
    """Returns the help of the program."""
    rows = [
        ("INPUT", "an image, a folder, a glob, or several of these"),
        ("--out=DIR", "the folder for the pages and the painted files"),
        *((f"--{name}=", text) for name, text in _OPTIONS.items()),
        ("--workdir=DIR", "work folder of a finished segmentation, whose masks are shown"),
    ]
    lines = [(__doc__ or "").strip(), ""]  # python -OO drops it
    for option, text in rows:
        lines += textwrap.wrap(f"{option:20} {text}", 96, subsequent_indent=" " * 21)
    return "\n".join(lines)


def run_program() -> None:
    """Parses the command line and runs the program."""
    program.run_without_flags(lambda: _named_as_options(main, sys.argv[1:]))


def _named_as_options(run: Callable[[Sequence[str]], int], line: Sequence[str]) -> int:
    """Runs a program, whose errors name its options instead of the fields of a config."""
    try:
        return run(line)
    except InputError as error:
        text = str(error).replace("config.input: ", "").replace("config.", "--")
        raise InputError(text) from None
