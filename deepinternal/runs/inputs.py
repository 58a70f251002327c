"""Finds the files that form jobs, and the files that belong to them."""

import dataclasses
import glob
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deepinternal.codecs.video_io import VIDEO_SUFFIXES, natural
from deepinternal.config import MethodConfig
from deepinternal.files import printable, show_path
from deepinternal.recipe import Recipe
from deepinternal.runs.settings import RunConfig
from deepinternal.runs.workdir import RUN_FILES, RUN_FOLDERS
from deepinternal.types import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif")
FRAME_SUFFIXES = tuple(s for s in IMAGE_SUFFIXES if s not in VIDEO_SUFFIXES)
SUFFIXES = {
    "image": IMAGE_SUFFIXES,
    "mask": IMAGE_SUFFIXES,
    "masks": tuple(dict.fromkeys((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))),
    "kernel": (".mat", ".npy", ".png", ".tif", ".tiff"),
}


@dataclasses.dataclass(frozen=True)
class Job:
    """One image, several images together, or a video.

    Attributes:
        stem: The name of its folder in the work folder.
        path: Its file, the first of its files, or the folder of its frames; None for the bundled
            sample photograph.
        several: The files of a job with several files, in order; empty if `path` is the only file.
    """

    stem: str
    path: Path | None
    several: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All its files; empty for the sample photograph."""
        return self.several or ((self.path,) if self.path else ())

    @property
    def name(self) -> str:
        """Its files joined by commas, or the folder of its frames, for messages."""
        listed = self.several and self.path == self.several[0]
        names = self.several if listed else (self.path or "the sample photograph",)
        return printable(",".join(map(str, names)))

    @property
    def own(self) -> str:
        """The name that other files belonging to it start with."""
        return _base(self.path, self.several) if self.path else self.stem


def _base(path: Path, several: tuple[Path, ...]) -> str:
    """Returns the stem of a file, or the whole name of a folder of frames."""
    folder = several and os.path.isdir(path)
    return path.absolute().name if folder else path.stem


def tags_of(kinds: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the tags that end the names of files that belong to images.

    Args:
        kinds: The kinds of a method's side inputs, by field.
    """
    return ("gt", *kinds, *({"kernel"} & set(kinds.values()) - set(kinds)))


def jobs_of(recipe: Recipe, config: MethodConfig, settings: RunConfig) -> list[Job]:
    """Returns the jobs of a command. Raises InputError if a part of `config.input` has no match."""
    return list_jobs(
        settings.input,
        tags=tags_of(recipe.side_inputs),
        companions=[settings.ground_truth, *(getattr(config, f) for f in recipe.side_inputs)],
        grouping=recipe.grouping(config).kind,
    )


def list_jobs(
    text: str,
    *,
    tags: Sequence[str] = ("gt",),
    companions: Sequence[str] = (),
    grouping: str = "single",
) -> list[Job]:
    """Returns the jobs of `config.input`.

    Args:
        text: A file, a folder, a glob, or several of them joined by commas; empty for the sample.
        tags: In folders and globs, files named `*_<tag>.*` are not inputs.
        companions: Files that belong to the images; in folders and globs they are not inputs
            either.
        grouping: 'single', one job per file; 'together', one job of all files; 'video', one job per
            video file, per folder of frames, and per glob of frames.

    Returns:
        The jobs, sorted within each part. A stem that is already used, or that is a file name in a
        work folder, gets -2, -3, ...

    Raises:
        InputError: A part matches nothing.
    """
    if not text.strip():
        return [Job("sample", None)]
    whole = os.path.lexists(text)
    parts = [text] if whole else [p.strip() for p in text.split(",") if p.strip()]
    if not parts:
        raise InputError(f"config.input={text!r}: names no file; give a file, folder or glob")
    others = {Path(c).absolute() for c in companions if c}
    endings = tuple(f"_{tag}" for tag in tags)

    def kept(paths: Sequence[Path]) -> list[Path]:
        paths = [p for p in paths if not p.stem.endswith(endings) and not p.name.startswith(".")]
        return [p for p in paths if p.absolute() not in others]

    videos = grouping == "video"
    found: dict[tuple, tuple[Path, tuple[Path, ...]]] = {}
    for path, several in (pair for part in parts for pair in _find(part, kept, videos=videos)):
        found.setdefault((path.absolute(), several), (path, several))
    if grouping == "together":
        paths = tuple(path for path, _ in found.values())
        found = {(): (paths[0], paths)}
    jobs: dict[str, Job] = {}
    for path, several in found.values():
        stem = base = printable(_base(path, several))
        n = 1
        while stem in jobs or stem in (".", "..", *RUN_FILES, *RUN_FOLDERS):
            n += 1
            stem = f"{base}-{n}"
        jobs[stem] = Job(stem, path, several)
    return list(jobs.values())


def _find(part: str, kept: Callable, *, videos: bool) -> list[tuple[Path, tuple[Path, ...]]]:
    """Returns the inputs matched by one part of `config.input`; frames with all their files."""
    # os.path returns False where Path raises, such as for a name that is too long.
    is_folder = os.path.isdir(part)
    if os.path.lexists(part) and not is_folder:
        return [(Path(part), ())]
    listed = kept(_listed(part) if is_folder else _matches(part))
    frames = _frames(listed) if videos else ()
    if frames and (is_folder or len(frames) == len(listed)):
        return [(Path(part) if is_folder else frames[0].parent, frames)]
    suffixes, what = IMAGE_SUFFIXES, "images"
    if videos:
        suffixes, what = VIDEO_SUFFIXES, f"frames ({_endings(FRAME_SUFFIXES)}) and no videos"
    if is_folder:
        found = [p for p in listed if p.suffix.lower() in suffixes]
    elif videos:
        found = [p for p in listed if os.path.isdir(p) or p.suffix.lower() in suffixes]
    else:
        found = [p for p in listed if os.path.isfile(p)]
    if not found:
        none = f"no {what} ({_endings(suffixes)}) in the folder" if is_folder else "nothing matches"
        raise InputError(f"config.input: {none} {show_path(part)}")
    inside = [path for path in found if os.path.isdir(path)] if videos else []
    folders = {path: _frames(kept(_listed(path))) for path in inside}
    if empty := [path for path, frames in folders.items() if not frames]:
        raise InputError(
            f"config.input: no frames ({_endings(FRAME_SUFFIXES)}) in the folder "
            f"{show_path(empty[0])}"
        )
    return [(path, folders.get(path, ())) for path in sorted(found)]


def _frames(paths: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(sorted((p for p in paths if p.suffix.lower() in FRAME_SUFFIXES), key=natural))


def _endings(suffixes: Sequence[str]) -> str:
    return ", ".join(s[1:] for s in suffixes)


def _listed(folder: str | Path) -> list[Path]:
    try:
        return list(Path(folder).iterdir())
    except OSError as error:
        raise InputError(f"config.input: {show_path(folder)}: {error.strerror}") from None


def _matches(part: str) -> list[Path]:
    if not glob.has_magic(part):
        raise InputError(f"config.input: no such file or folder: {show_path(part)}")
    return [Path(p) for p in glob.glob(part, recursive=True)]


def companion(
    field: str, value: str, job: Job, *, kind: str = "image", tag: str, beside: bool = False
) -> Path | None:
    """Finds the file that belongs to an image: its ground truth, kernel, mask, ...

    Args:
        field: The config field, for messages.
        value: The value of the field: a file, or a folder in which the file has the image's name,
            or its stem followed by `_<tag>`, nothing or `_0`; a kernel may also be
            `<stem>_kernel.*`.
        job: The image.
        kind: The kind of file, which determines its suffixes. 'masks' of a video may also be a
            folder in such a folder, or the folder itself.
        tag: 'gt', 'kernel', ...
        beside: Whether to look for `<stem>_<tag>.*` beside the image if `value` is empty.

    Returns:
        The path; None if there is none and none was given.

    Raises:
        InputError: The file or folder does not exist, or nothing in the folder matches.
    """
    stem = job.own
    if not value:
        if not beside or job.path is None:
            return None
        near = [job.path.with_name(f"{stem}_{tag}{s}") for s in SUFFIXES[kind]]
        return next((p for p in near if p.is_file()), None)
    path = Path(value)
    if not os.path.isdir(value):
        if not os.path.lexists(value):
            raise InputError(f"config.{field}: no such file or folder: {show_path(value)}")
        return path
    names = [f"{stem}{end}{s}" for end in (f"_{tag}", "", "_0") for s in SUFFIXES[kind]]
    if job.path and job.path.suffix.lower() in SUFFIXES[kind]:
        names.insert(0, job.path.name)
    if kind == "kernel":  # before the image's name, which may be another version of the image
        ends = dict.fromkeys((f"_{tag}", "_kernel"))
        names = [f"{stem}{end}{s}" for end in ends for s in SUFFIXES[kind]] + names
    known = {p.absolute() for p in (job.path, *job.files) if p}
    for name in names:
        candidate = path / name
        if os.path.isfile(candidate) and candidate.absolute() not in known:
            return candidate
    if kind == "masks":
        folders = [path / f"{stem}_{tag}", path / stem, path]
        for folder in folders:
            if folder.absolute() not in known and os.path.isdir(folder) and mask_files(folder, tag):
                return folder
    raise InputError(
        f"config.{field}: nothing for {show_path(stem)} in the folder {show_path(value)}, "
        f"such as {show_path(names[0])}"
    )


def mask_files(folder: Path, tag: str) -> dict[str, Path]:
    """Returns the still images of a folder, in order, by the names of the frames they belong to."""
    return {p.stem.removesuffix(f"_{tag}"): p for p in _frames(_listed(folder))}
