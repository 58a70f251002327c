"""The contents of a work folder.

DIR/config.json holds the settings that determine the results in DIR; a run with different settings
is refused, so that a folder never mixes them. DIR/<stem>/ belongs to one image.
"""

import dataclasses
import errno
import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepinternal.config import MethodConfig
from deepinternal.files import (
    atomic_write_text,
    expanded,
    printable,
    sha256_files,
    show_path,
    stamp,
)
from deepinternal.recipe import Recipe
from deepinternal.runs import config_file, contents, stems
from deepinternal.runs.claims import CLAIMS
from deepinternal.runs.config_file import RefusedError
from deepinternal.runs.inputs import Job
from deepinternal.runs.noted import Noted, read_noted
from deepinternal.runs.provenance import provenance
from deepinternal.runs.settings import RunConfig
from deepinternal.runs.stems import NOTED, RUN_FILES
from deepinternal.types import InputError
from deepinternal.writers import read_object, to_json

_STEPS = ("steps", "train_steps")  # more of them continue a run that has ended
_WRITTEN = {"image", "status", "steps", "seconds"}  # fields of every metrics.json


class Workdir:
    """A work folder, checked against the config before any computation.

    Nothing is written before `begin`, so that a refused command leaves no trace.

    Attributes:
        path: The folder.
        fields: All fields of the config, resolved, as plain JSON types.
        made_with: The provenance in config.json and each metrics.json: `presets`, and the result of
            `provenance`.
        discards: Whether `begin` will discard the results of earlier runs in the folder.
    """

    def __init__(
        self,
        path: str,
        recipe: Recipe,
        config: MethodConfig,
        settings: RunConfig,
        *,
        overwrite: bool = False,
    ):
        """Checks the folder, which may not exist yet.

        Args:
            path: The folder.
            recipe: The recipe of the method.
            config: Its config.
            settings: How to run.
            overwrite: Whether `begin` discards results of earlier runs in the folder, instead of
                refusing.

        Raises:
            RefusedError: The folder cannot be written, or holds results of another config.
        """
        if not str(path).strip():
            raise RefusedError("--workdir: is empty; give a folder for the results")
        self.path = Path(expanded(path))
        self._begun = False
        self._seen: dict[str, Noted] = {}  # by stem: the last seen state of the files
        # Bytes of the command line that are not valid UTF-8 become question marks.
        text = to_json({**settings.plain(), **config.plain()}).encode("utf-8", "replace")
        self.fields: dict[str, Any] = json.loads(text)
        self.made_with = {"presets": self.fields["presets"], **provenance()}
        self.fields = {name: value for name, value in self.fields.items() if name != "presets"}
        self.discards = overwrite
        self._continued = recipe.continued
        self._check_writable()
        saved = config_file.read(self.path / config_file.NAME)
        own = [name for name in recipe.continued if name not in recipe.side_inputs]
        self._choices = {name: self.fields[name] for name in own}
        before = (saved or {}).get("config", {})
        self._earlier = {name: before.get(name, self.fields[name]) for name in own}
        if saved and not overwrite:
            self._compare(saved, recipe)
        elif not overwrite and any(self.path.glob(f"*/{NOTED}")):
            raise self._refusal("an unknown config, because config.json is missing")

    def _check_writable(self) -> None:
        """Refuses a folder that cannot be written or created."""
        place = self.path
        while not os.path.lexists(place) and place != place.parent:
            place = place.parent
        if not os.path.isdir(place):
            raise self._unwritable(os.strerror(errno.ENOTDIR))
        effective = os.access in os.supports_effective_ids
        if not os.access(place, os.W_OK | os.X_OK, effective_ids=effective):
            raise self._unwritable(os.strerror(errno.EACCES))

    def _unwritable(self, why: str) -> RefusedError:
        return RefusedError(
            f"--workdir={show_path(self.path)}: cannot be written: {why}; give a writable folder"
        )

    def begin(self) -> None:
        """Creates the folder, or discards its old results, before anything is written.

        Raises:
            RefusedError: The folder cannot be created.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error.strerror) from None
        place = self.path / CLAIMS
        if os.path.lexists(place) and (place.is_symlink() or not place.is_dir()):
            raise RefusedError(f"{show_path(place)}: is not a folder of this program; remove it")
        self._begun = True
        if self.discards:
            self.discards = False
            self._discard()

    def _compare(self, saved: Mapping[str, Any], recipe: Recipe) -> None:
        """Refuses results of another config."""
        try:
            differing = config_file.differences(saved, self.fields, recipe, asked=self.asked)
        except InputError as error:
            raise self._refusal(f"another version: {error}") from None
        if differing:
            fields = ", ".join(f"{n} ({a!r} there, {b!r} now)" for n, (a, b) in differing.items())
            raise self._refusal(f"another config: {fields}")

    def _refusal(self, what: str) -> RefusedError:
        return RefusedError(
            f"--workdir={self.path}: holds results of {what}; use another folder, or --overwrite"
        )

    def _discard(self) -> None:
        """Removes the results of earlier runs; the user's own files are kept, in all folders."""
        for stem in stems.owners(self.path):
            outputs = (self.metrics(stem) or {}).get("outputs")
            contents.discard(self.path, stem, outputs if isinstance(outputs, list) else [])
        for name in RUN_FILES:
            (self.path / name).unlink(missing_ok=True)

    def tied(self, jobs: Sequence[Job]) -> list[Job]:
        """Returns jobs with the stems of the folders that belong to their files; writes nothing."""
        return stems.assign(jobs, {} if self.discards else stems.owners(self.path))

    def tie(self, jobs: Sequence[Job]) -> list[Job]:
        """Returns the same as `tied`, and records the stems; only one process may do so at a time."""
        known = stems.owners(self.path)
        tied = stems.assign(jobs, known)
        stems.write(self.path, tied, known)
        return tied

    @property
    def asked(self) -> dict[str, Any]:
        """The fields that determine the number of steps."""
        return {name: self.fields[name] for name in _STEPS if name in self.fields}

    def noted(self, stem: str) -> Noted | None:
        """Returns the record of an image's earlier runs, or None."""
        if self.discards:
            return None
        return read_noted(self.path / stem / NOTED, choices=self._earlier)

    def begun(self, stem: str) -> int:
        """Returns the steps up to the newest checkpoint of an image; 0 without one."""
        folder = self.path / stem / "checkpoints"
        if self.discards or not folder.is_dir():
            return 0
        return max((int(p.name) for p in folder.iterdir() if p.name.isdecimal()), default=0)

    def folder(self, stem: str) -> Path:
        """Returns the folder of an image, created if missing. Raises InputError on failure."""
        folder = self.path / stem
        if not self._begun:
            self.begin()
        elif not self.path.is_dir():  # which must not be made again in part
            raise self._unmakable(folder, "the work folder was removed")
        self._check_links(stem)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unmakable(folder, error.strerror) from None
        return folder

    def _check_links(self, stem: str) -> None:
        """Raises InputError if results of an image would be written through a link."""
        if link := contents.link_in(self.path, stem):
            raise InputError(
                f"{show_path(link)}: is a link, through which nothing is written; remove it, or make "
                "the whole work folder a link"
            )

    def _unmakable(self, folder: Path, why: str) -> InputError:
        return InputError(f"{show_path(folder)}: cannot be created: {why}; use another --workdir")

    def look_at(self, stem: str, paths: Mapping[str, Sequence[Path]]) -> Noted:
        """Returns a record of an image's files; only files with a changed stamp are hashed.

        Args:
            stem: The name of the image's folder.
            paths: Its files by role: 'input', 'kernel', ...

        Raises:
            InputError: A file cannot be read.
            RefusedError: A file has changed since its results were made, with which a run cannot
                continue.
        """
        noted = self.noted(stem)
        old = self._seen.get(stem) or noted or Noted({})
        stamps = {role: stamp(files) for role, files in paths.items()}
        same = [r for r in old.files if stamps.get(r) and stamps[r] == old.stamps.get(r)]
        files = {r: old.files[r] if r in same else sha256_files(paths[r]) for r in paths}
        places = {role: [os.path.abspath(path) for path in paths[role]] for role in paths}
        self._seen[stem] = new = Noted(files, stamps, paths=places, choices=self._choices)
        roles = sorted({**noted.files, **files}) if noted else ()
        changed = [role for role in roles if noted.files.get(role) != files.get(role)]
        if not {*changed} <= {*self._continued}:
            named = ", ".join(show_path(path) for r in changed for path in paths.get(r, ())[:1])
            folder = show_path(self.path / stem)
            raise RefusedError(
                f"--workdir={show_path(self.path)}: {show_path(stem)} was made from different files "
                f"({', '.join(changed)}){named and f' than {named}'}; remove {folder} to make this "
                "result again, use another folder, or --overwrite to make all results again"
            )
        return new

    def check(self, stem: str, new: Noted) -> None:
        """Refuses a record that `note` could not write; writes nothing.

        Args:
            stem: The name of the image's folder.
            new: The record of what its result is made from.

        Raises:
            RefusedError: There are fewer steps than before, or checkpoints of unknown files.
            InputError: A file or a link is in the place of the image's folder.
        """
        folder, before = self.path / stem, self.noted(stem)
        self._check_links(stem)
        if os.path.lexists(folder) and not folder.is_dir():
            raise self._unmakable(folder, os.strerror(errno.EEXIST))
        if before is None and (folder / "checkpoints").is_dir() and not self.discards:
            raise self._refusal(f"unknown files: {stem}/{NOTED} is missing or damaged")
        if before and new.steps < before.steps:
            raise self._refusal(f"another config: steps ({before.steps} there, {new.steps} now)")

    def note(self, stem: str, new: Noted) -> None:
        """Records the config and what an image's result is made from, before work on it begins.

        Args:
            stem: The name of the image's folder.
            new: The record of what its result is made from.

        Raises:
            RefusedError: See `check`.
            InputError: The image's folder cannot be created.
        """
        self.check(stem, new)
        before = self.noted(stem)
        changes = before.changes + (not before.same_inputs(new)) if before else 0
        new = dataclasses.replace(new, changes=changes)
        folder = self.folder(stem)
        path = self.path / config_file.NAME
        if not path.exists() or path.read_text(encoding="utf-8") != self._config:
            atomic_write_text(path, self._config)
        # Escapes, because names may hold bytes that are not valid UTF-8.
        text = json.dumps(dataclasses.asdict(new), indent=2)
        atomic_write_text(folder / NOTED, text + "\n")

    @functools.cached_property
    def _config(self) -> str:
        """The contents of config.json."""
        content = {**self.made_with, "directory": printable(os.getcwd()), "config": self.fields}
        return to_json(content, indent=2) + "\n"

    def metrics(self, stem: str) -> dict[str, Any] | None:
        """Returns the metrics.json of an image; None if there is none, or another file is there."""
        found = {} if self.discards else read_object(self.path / stem / "metrics.json")
        return found if found.keys() >= _WRITTEN else None

    def write_metrics(self, stem: str, metrics: Mapping[str, Any]) -> None:
        """Writes the metrics.json of an image."""
        path = self.folder(stem) / "metrics.json"
        atomic_write_text(path, to_json(metrics, indent=2) + "\n")
