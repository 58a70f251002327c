"""Assigns the file of each job a folder in the work folder, once and for all.

DIR/stems.json names the file that each folder belongs to, and DIR/<stem>/input.json holds the hash of
its contents once something was made from it. A job gets the folder of its file: the one that
belongs to its path, or else one with its name and contents, because folders of photographs are
moved and copied. Any other job gets a new folder: its stem, followed by -2, -3, ... if that is used.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from deepinternal.files import atomic_write_bytes, file_name, sha256_files
from deepinternal.runs.claims import CLAIMS
from deepinternal.runs.inputs import Job
from deepinternal.types import InputError
from deepinternal.writers import read_object

# The files that a run writes besides those in the folders of images.
RUN_FILES = ("config.json", "summary.json", "summary.csv", "index.html", STEMS := "stems.json")
RUN_FOLDERS = (CLAIMS, PROFILE := "profile")
NOTED = "input.json"


@dataclasses.dataclass(frozen=True)
class Owner:
    """The file that the folder of an image belongs to.

    Attributes:
        place: See `Job.place`; None if it is not known, in work folders of earlier versions.
        sha256: The hash of the input, as `files.sha256_files` returns it; '' if nothing was made
            from it yet, or if there are no files.
    """

    place: str | None
    sha256: str = ""


def owners(folder: Path) -> dict[str, Owner]:
    """Returns the owners of all image folders in a work folder, by stem."""
    found = read_object(folder / STEMS)
    places = {s: p for s, p in found.items() if isinstance(p, str) and is_below(s)}
    deep = not places and (folder / "config.json").exists()
    stems = dict.fromkeys([*places, *_noted(folder, deep=deep)])
    files = {stem: read_object(folder / stem / NOTED).get("files") for stem in stems}
    sha256 = lambda files: str(files.get("input", "")) if isinstance(files, dict) else ""
    return {stem: Owner(places.get(stem), sha256(files[stem])) for stem in stems}


def is_below(stem: str) -> bool:
    """Whether a relative path, from a file that anyone may have written, stays inside."""
    return not {"", ".", ".."} & set(stem.split(os.sep))


def _noted(folder: Path, *, deep: bool, stem: str = "") -> Iterator[str]:
    """Yields the stems of folders with an input.json; `deep`: also those in subfolders."""
    if not (folder / stem).is_dir():
        return
    for path in sorted(p for p in (folder / stem).iterdir() if p.is_dir()):
        below = os.path.join(stem, path.name)
        if (path / NOTED).exists():
            yield below
        elif deep and not path.is_symlink() and not (path / "config.json").exists():  # another one
            yield from _noted(folder, deep=True, stem=below)


def write(folder: Path, jobs: Sequence[Job], known: Mapping[str, Owner]) -> None:
    """Records the owners of the jobs' folders, besides those already known."""
    places = {stem: owner.place for stem, owner in known.items() if owner.place is not None}
    found = places | {job.stem: job.place for job in jobs}
    if found != places:
        # Escapes, because names may hold bytes that are not valid UTF-8.
        atomic_write_bytes(folder / STEMS, (json.dumps(found, indent=2) + "\n").encode())


def assign(jobs: Sequence[Job], known: Mapping[str, Owner]) -> list[Job]:
    """Returns the jobs with the stems of their folders, which differ.

    Args:
        jobs: The jobs, with the wanted stems.
        known: The owners of existing folders.
    """
    free, found = dict(known), dict[Job, str]()
    places: dict[str | None, list[str]] = {}
    names: dict[str, list[str]] = {}
    for stem, owner in known.items():
        places.setdefault(owner.place, []).append(stem)
        name = _folded(os.path.basename(stem))
        for key in {name, re.sub(r"-\d+$", "", name)}:
            names.setdefault(key, []).append(stem)
    sha256 = functools.cache(sha256_files)
    named = lambda job: names.get(_folded(os.path.basename(job.stem)), ())
    with_contents = lambda job, stems: (s for s in stems if _has_contents(job, free[s], sha256))
    place = {job: job.place for job in jobs}
    at_place = lambda job: [s for s in places.get(place[job], ()) if s in free]

    def several_at_place(job: Job) -> Iterable[str]:  # such as two globs of frames in one folder
        return with_contents(job, at_place(job)) if len(at_place(job)) > 1 else ()

    for candidates in (
        several_at_place,
        at_place,
        lambda job: with_contents(job, [s for s in named(job) if s in free]),
        # The file of an earlier version, with other bytes, which is refused later.
        lambda job: (s for s in named(job) if s in free and free[s].place is None),
    ):
        for job in (job for job in jobs if job not in found):
            if (stem := next(iter(candidates(job)), None)) is not None:
                found[job] = stem
                del free[stem]
    used = _Used([*found.values(), *(s for s, owner in free.items() if not _is_gone(owner))])
    for job in jobs:
        if job not in found:
            found[job] = used.add(job.stem)
    return [dataclasses.replace(job, stem=found[job]) for job in jobs]


def _folded(name: str) -> str:
    """Returns a name in the form in which file systems compare names, if they ignore case."""
    return unicodedata.normalize("NFC", name).casefold()


def _has_contents(job: Job, owner: Owner, sha256: Callable[[tuple[Path, ...]], str]) -> bool:
    """Whether a folder was made from a file with the same bytes, or is kept for one."""
    with contextlib.suppress(InputError, OSError):
        if owner.sha256 and job.files:
            return owner.sha256 == sha256(job.files)
        if owner.place and job.files == (job.path,) and os.path.isfile(owner.place):
            same_size = os.path.getsize(owner.place) == os.path.getsize(job.path)
            return same_size and sha256((Path(owner.place),)) == sha256(job.files)
    return False


_OWN = {_folded(name) for name in (*RUN_FILES, *RUN_FOLDERS)}


def _is_gone(owner: Owner) -> bool:
    """Whether a folder was kept for a file that does not exist any more."""
    return bool(owner.place) and not owner.sha256 and not os.path.lexists(owner.place)


class _Used:
    """The used stems. No folder of an image lies in that of another image."""

    def __init__(self, stems: Collection[str]):
        self._images: set[str] = set()
        self._above = set(_OWN)
        self._numbers: dict[str, int] = {}  # the last one of each name
        for stem in stems:
            self._use(stem)

    def _use(self, stem: str) -> None:
        self._images.add(_folded(stem))
        self._above |= {_folded(str(path)) for path in Path(stem).parents}

    def add(self, wanted: str) -> str:
        """Returns an unused stem: the wanted one, or one with -2, -3, ... after a part of it."""
        *folders, name = wanted.split(os.sep)
        stem = ""
        for folder in folders:
            stem, _ = self._numbered(stem, folder, lambda s: s in self._images or s in _OWN)
        least, is_used = (
            self._numbers.get(wanted, 1),
            lambda s: s in self._images or s in self._above,
        )
        stem, self._numbers[wanted] = self._numbered(stem, name, is_used, least)
        self._use(stem)
        return stem

    def _numbered(
        self, above: str, name: str, is_used: Callable[[str], bool], least: int = 1
    ) -> tuple[str, int]:
        for number in itertools.count(least):
            own = file_name(name, f"-{number}" if number > 1 else "")
            stem = os.path.join(above, own)
            if own not in ("", ".", "..") and not is_used(_folded(stem)):
                return stem, number
