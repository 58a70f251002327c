"""Finds the files that form jobs."""

import dataclasses
import functools
import glob
import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from deepinternal.codecs.video_io import VIDEO_SUFFIXES, natural
from deepinternal.config import MethodConfig
from deepinternal.files import expanded, printable, show_path
from deepinternal.messages import tell
from deepinternal.recipe import Recipe
from deepinternal.runs.claims import CLAIMS
from deepinternal.runs.settings import RunConfig
from deepinternal.types import InputError

IMAGE_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jfif",
    ".jpe",
    ".tif",
    ".tiff",
    ".bmp",
    ".webp",
    ".avif",
    ".gif",
)
_HEIF_SUFFIXES = (".heic", ".heif", ".hif")  # with the extra `heif`
if importlib.util.find_spec("pillow_heif"):
    IMAGE_SUFFIXES += _HEIF_SUFFIXES
FRAME_SUFFIXES = tuple(s for s in IMAGE_SUFFIXES if s not in VIDEO_SUFFIXES)
# Suffixes of images that are not read.
_UNREAD = re.compile(
    r"\.(hei[cf]s?|hif|avifs|jxl|j[p2][2cfx]|j2k|jpm|jxr|wdp|exr|hdr|dpx|pfm|p[abgnp]m|tga|pcx|ico|icns|dds"
    r"|psd|psb|xcf|kra|svgz?|ai|eps|djvu?|apng|mpo|raw|dng|cr[23w]|nef|nrw|arw|srf|sr2|raf|orf|rw2|pef"
    r"|srw|x3f|3fr|fff|iiq|kdc|dcr|mrw|mos|erf|mef)",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Job:
    """One image, several images together, or a video.

    Attributes:
        stem: The path of its folder in the work folder; until `stems.assign`, the wanted one, which
            other jobs may want as well.
        path: Its file, the first of its files, or the folder of its frames; None for the bundled
            sample photograph.
        several: The files of a job with several files, in order; empty if `path` is the only file.
        below: The subfolder of a `**` input that it lies in; '' if there is none.
    """

    stem: str
    path: Path | None
    several: tuple[Path, ...] = ()
    below: str = ""

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

    @property
    def place(self) -> str:
        """The absolute path of its file or folder, without links above it; '' for the sample."""
        return _place(self.path) if self.path else ""


def _base(path: Path, several: tuple[Path, ...]) -> str:
    """Returns the stem of a file, or the whole name of a folder of frames."""
    folder = several and os.path.isdir(path)
    return path.absolute().name if folder else path.stem


def _place(path: Path) -> str:
    if path.name in ("", ".."):
        return os.path.realpath(path)
    return os.path.join(os.path.realpath(path.parent), path.name)


def tags_of(kinds: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the tags that end the names of files that belong to images.

    Args:
        kinds: The kinds of a method's side inputs, by field.
    """
    return ("gt", *kinds, *({"kernel"} & set(kinds.values()) - set(kinds)))


def jobs_of(
    recipe: Recipe, config: MethodConfig, settings: RunConfig, *, quiet: bool = True
) -> list[Job]:
    """Returns the jobs of a command; see `list_jobs`."""
    return list_jobs(
        settings.input,
        tags=tags_of(recipe.side_inputs),
        companions=[settings.ground_truth, *(getattr(config, f) for f in recipe.side_inputs)],
        grouping=recipe.grouping(config).kind,
        quiet=quiet,
    )


def list_jobs(
    text: str,
    *,
    tags: Sequence[str] = ("gt",),
    companions: Sequence[str] = (),
    grouping: str = "single",
    quiet: bool = True,
) -> list[Job]:
    """Returns the jobs of `config.input`.

    Args:
        text: A file, a folder, a glob, or several of them joined by commas; empty for the sample.
            `~` and environment variables are replaced.
        tags: In folders and globs, files named `*_<tag>.*` are not inputs.
        companions: Files that belong to the images; in folders and globs they are not inputs
            either.
        grouping: 'single', one job per file; 'together', one job of all files; 'video', one job per
            video file, per folder of frames, and per glob of frames.
        quiet: Whether to say nothing about images of formats that are not read, which are left out.

    Returns:
        The jobs, sorted within each part. Their stems are the wanted ones; see `stems.assign`.

    Raises:
        InputError: A part matches nothing.
    """
    if not text.strip():
        return [Job("sample", None)]
    parts = [text] if os.path.lexists(text) else [p for p in text.split(",") if p.strip()]
    if not parts:
        raise InputError(f"config.input={text!r}: names no file; give a file, folder or glob")
    others = {Path(expanded(c)).absolute() for c in companions if c}
    endings = tuple(f"_{tag}" for tag in tags)

    def kept(paths: Sequence[Path]) -> list[Path]:
        paths = [p for p in paths if not p.stem.endswith(endings) and not p.name.startswith(".")]
        return [p for p in paths if p.absolute() not in others]

    listing = _Listing(kept, videos=grouping == "video")
    found: dict[tuple, Job] = {}
    for job in (job for part in parts for job in listing.jobs(part)):
        found.setdefault((job.place, job.several), job)
    if listing.left_out and not quiet:
        tell(listing.said())
    if grouping == "together":
        first, *_ = paths = tuple(job.path for job in found.values())
        return [Job(_wanted(first, paths), first, paths)]
    return list(found.values())


def _wanted(path: Path, several: tuple[Path, ...], below: str = "") -> str:
    return printable(os.path.join(below, _base(path, several)))


class _Listing:
    """Finds the jobs of the parts of `config.input`, and the images that are not read.

    Attributes:
        left_out: Images in folders and globs that are not read.
    """

    def __init__(self, kept: Callable[[Sequence[Path]], list[Path]], *, videos: bool):
        """Prepares to list.

        Args:
            kept: Returns the inputs among paths.
            videos: Whether each job is a video.
        """
        self._kept, self._videos = kept, videos
        self.left_out: list[Path] = []

    def said(self) -> str:
        """Returns one line about the images that are not read."""
        names = ", ".join(show_path(path) for path in self.left_out[:3])
        more = f" and {len(self.left_out) - 3} more" if len(self.left_out) > 3 else ""
        suffixes = {path.suffix.lower() for path in self.left_out}
        hint = "their formats are not read; convert them to PNG or TIFF"
        if suffixes <= set(VIDEO_SUFFIXES):
            hint = "the frames beside them are the input; name a video to use it"
        elif suffixes & set(_HEIF_SUFFIXES):
            hint += ", or pip install 'pillow-heif>=1.1'"
        return f"left out: {names}{more}: {hint}"

    def jobs(self, part: str) -> Iterator[Job]:
        """Yields the jobs of one part; frames with all their files."""
        # os.path returns False where Path raises, such as for a name that is too long.
        part = part if os.path.lexists(part) else part.strip()
        whole = expanded(part)
        if os.path.isdir(whole):
            yield from self._found(whole, self._kept(listed_in(whole)), None, any_suffix=False)
        elif os.path.lexists(whole):
            yield self._job(Path(whole))
        elif glob.has_magic(part):
            found, root = _matches(part)
            suffix = os.path.splitext(part)[1]
            any_suffix = bool(suffix) and not glob.has_magic(suffix)
            yield from self._found(part, self._kept(found), root, any_suffix=any_suffix)
        else:
            raise InputError(f"config.input: no such file or folder: {show_path(whole)}")

    def _found(
        self, part: str, listed: list[Path], root: str | None, *, any_suffix: bool
    ) -> Iterator[Job]:
        """Yields the jobs among the contents of a folder, or among the matches of a glob.

        Args:
            part: The folder or glob.
            listed: Its contents or matches that may be inputs.
            root: The folder that a glob with `**` searches; None for another one, and for a folder.
            any_suffix: Whether files of any suffix are taken.
        """
        is_folder = os.path.isdir(part)
        files = [p for p in listed if not os.path.isdir(p)]
        frames = frames_in(files) if self._videos else ()
        if frames and (is_folder or len(frames) == len(listed)):
            self._leave_out(files, VIDEO_SUFFIXES)
            yield self._job(Path(part) if is_folder else frames[0].parent, frames)
            return
        suffixes, what = IMAGE_SUFFIXES, "images"
        if self._videos:
            suffixes, what = VIDEO_SUFFIXES, f"frames ({_endings(FRAME_SUFFIXES)}) and no videos"
        found = [p for p in files if p.suffix.lower() in suffixes]
        if not self._videos and not is_folder and (any_suffix or not found):
            found = [p for p in files if any_suffix or not _UNREAD.fullmatch(p.suffix)]
        self._leave_out([p for p in files if p not in set(found)], ())
        inside = [p for p in listed if os.path.isdir(p)] if self._videos and not is_folder else []
        if not found and not inside:
            none = f"no {what} ({_endings(suffixes)}) in the folder"
            none = none if is_folder else "nothing matches"
            said = f"; {self.said()}" if self.left_out else ""
            raise InputError(f"config.input: {none} {show_path(part)}{said}")
        folders = {path: frames_in(self._kept(listed_in(path))) for path in inside}
        if empty := [path for path, frames in folders.items() if not frames]:
            raise InputError(
                f"config.input: no frames ({_endings(FRAME_SUFFIXES)}) in the folder "
                f"{show_path(empty[0])}"
            )
        for path in sorted([*found, *inside]):
            yield self._job(path, folders.get(path, ()), root)

    def _leave_out(self, files: Sequence[Path], suffixes: Sequence[str]) -> None:
        is_image = lambda s: _UNREAD.fullmatch(s) or s.lower() in suffixes
        self.left_out += sorted(p for p in files if is_image(p.suffix))

    def _job(self, path: Path, several: tuple[Path, ...] = (), root: str | None = None) -> Job:
        below = "" if root is None else os.path.relpath(path.parent, root or ".")
        below = "" if below == "." else below
        return Job(_wanted(path, several, below), path, several, below)


def frames_in(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Returns the still images among paths, in the order of the numbers in their names."""
    frames = (p for p in paths if p.suffix.lower() in FRAME_SUFFIXES and not os.path.isdir(p))
    return tuple(sorted(frames, key=natural))


def _endings(suffixes: Sequence[str]) -> str:
    return ", ".join(s[1:] for s in suffixes)


def listed_in(folder: str | Path) -> list[Path]:
    """Returns the contents of a folder. Raises InputError if it cannot be read."""
    try:
        return list(Path(folder).iterdir())
    except OSError as error:
        raise InputError(f"config.input: {show_path(folder)}: {error.strerror}") from None


def _matches(part: str) -> tuple[list[Path], str | None]:
    """Returns the matches of a glob; and the folder that it searches, if it has `**`."""
    folders, pattern = [], part.split(os.sep)
    # Folders above the first pattern, which may have names that look like one.
    while len(pattern) > 1:
        above = expanded(os.sep.join([*folders, pattern[0]]) or os.sep)
        if glob.has_magic(pattern[0]) and not os.path.isdir(above):
            break
        folders.append(pattern.pop(0))
    root = expanded(os.sep.join(folders) or (os.sep if folders else ""))
    found = glob.glob(os.sep.join(pattern), root_dir=root or None, recursive=True)
    if "**" not in pattern:
        return [Path(root, p) for p in found], None
    # Without results, if a work folder lies in the folder that is searched.
    is_results = functools.cache(
        lambda path: os.path.isdir(path / CLAIMS) and os.path.isfile(path / "config.json")
    )
    inside = lambda path: any(is_results(Path(root, above)) for above in Path(path).parents[:-1])
    return [Path(root, p) for p in found if p and not inside(p)], root
