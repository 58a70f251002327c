"""What lies in a work folder.

DIR/config.json says what decides the results in DIR; a run with anything else is refused, so that a
folder never mixes results of different settings. DIR/<stem>/ belongs to one image.
"""

import contextlib
import dataclasses
import errno
import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepinternal.config import MethodConfig
from deepinternal.files import atomic_write_text, sha256_files, show_path, stamp
from deepinternal.recipe import Recipe
from deepinternal.report.downloads import ARCHIVE
from deepinternal.report.report import PROGRESS
from deepinternal.runs.provenance import provenance
from deepinternal.runs.renamed import SHORTHANDS, renamed
from deepinternal.runs.settings import RunConfig
from deepinternal.types import InputError
from deepinternal.writers import flat, is_number, to_json

# Fields that may grow: a run with more steps goes on with one that has ended.
CONTINUED = ("steps", "train_steps")

# What a run writes besides the outputs that metrics.json names.
RUN_FILES = ("config.json", "summary.json", "summary.csv", "index.html")
RUN_FOLDERS = (CLAIMS := ".claims", PROFILE := "profile")
IMAGE_FILES = ("metrics.json", "train.jsonl", "report.html", "traceback.txt", "result.png")
IMAGE_FILES += ("baseline.png", "input.png", "input.mp4", ARCHIVE, NOTED := "input.json")
IMAGE_FOLDERS = ("checkpoints", "input", PROGRESS, TENSORBOARD := "tensorboard")


class RefusedError(InputError):
    """The work folder as a whole, not one image, does not go with the command."""


@dataclasses.dataclass(frozen=True)
class Noted:
    """What input.json says of an image: what its results are made from.

    Attributes:
        files: SHA-256 of its files by role: 'input', 'kernel', ...
        stamps: sizes and times of these files, as `files.stamp` gives them, by role.
        steps: the most steps that training was to take.
        asked: the values of `CONTINUED` that this followed from.
    """

    files: Mapping[str, str]
    stamps: Mapping[str, list[list[int]]] = dataclasses.field(default_factory=dict)
    steps: int = 0
    asked: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Workdir:
    """A work folder, checked against the config before anything is computed.

    Nothing is written before `begin`, so that a command that is refused leaves no trace.

    Attributes:
        path: the folder.
        fields: all fields of the config, resolved, as plain JSON types.
        made_with: what config.json and each metrics.json say of the program: `presets`, and what
            `provenance` returns.
        discards: whether `begin` is still to discard what earlier runs have made in the folder.
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
            path: the folder.
            recipe: the method's.
            config: its config.
            settings: how to run.
            overwrite: discard what earlier runs made in the folder, instead of refusing; `begin`
                does it.

        Raises:
            RefusedError: it cannot be written, or holds results of another config.
        """
        if not str(path).strip():
            raise RefusedError("--workdir: is empty; give a folder for the results")
        self.path = Path(path)
        self._seen: dict[str, Noted] = {}  # by stem: files as they were looked at last
        # Command-line bytes that are no valid UTF-8 become question marks.
        text = to_json({**settings.plain(), **config.plain()}).encode("utf-8", "replace")
        self.fields: dict[str, Any] = json.loads(text)
        self.made_with = {"presets": self.fields["presets"], **provenance()}
        self.fields = {name: value for name, value in self.fields.items() if name != "presets"}
        self.discards = overwrite
        self._check_writable()
        saved = self._saved()
        if saved and not overwrite:
            self._compare(saved, recipe)
        elif not overwrite and any(self.path.glob(f"*/{NOTED}")):
            raise self._refusal("a config that is not known, for config.json is missing")

    def _check_writable(self) -> None:
        """Refuses a folder that cannot be written, or cannot be made where it is to be."""
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
            f"--workdir={show_path(self.path)}: cannot be written: {why}; give a folder that can"
        )

    def begin(self) -> None:
        """Makes the folder, or discards what it is to be cleared of; before anything is written.

        Raises:
            RefusedError: it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error.strerror) from None
        if self.discards:
            self.discards = False
            self._discard()

    def _saved(self) -> dict[str, Any] | None:
        """What config.json says of how the folder's results were made; None where there is none."""
        path = self.path / "config.json"
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {**found, "config": dict(found["config"])}
        except (ValueError, KeyError, TypeError, OSError):
            raise RefusedError(
                f"{path}: is not a config this program wrote; use another --workdir"
            ) from None

    def _compare(self, found: Mapping[str, Any], recipe: Recipe) -> None:
        """Refuses results of another config; both are compared as the method reads them."""
        saved = found["config"]
        now, old = self.fields, {"input": "", **saved}
        differing = {n: (old.get(n), now[n]) for n in ("method", "input") if old.get(n) != now[n]}
        if "method" not in differing:
            fields = flat(saved) if "version" in found else renamed(recipe.name, flat(saved))
            own = {n: v for n, v in fields.items() if n.split(".")[0] not in RunConfig.model_fields}
            try:  # with today's numbers of steps: of what follows from them nothing is compared
                old = flat(recipe.build("", **own | self.asked).plain())
            except InputError as error:
                raise self._refusal(f"another version: {error}") from None
            new = flat({n: now[n] for n in recipe.config.model_fields})
            names = [n for n in new if n not in SHORTHANDS.get(recipe.name, ())]
            differing |= {n: (old[n], new[n]) for n in names if not _same(old[n], new[n])}
        if 0 < now["steps"] < saved.get("steps", 0):  # more steps go on, fewer cannot be taken back
            differing["steps"] = (saved["steps"], now["steps"])
        if differing:
            fields = ", ".join(f"{n} ({a!r} there, {b!r} now)" for n, (a, b) in differing.items())
            raise self._refusal(f"another config: {fields}")

    def _refusal(self, what: str) -> RefusedError:
        return RefusedError(
            f"--workdir={self.path}: holds results of {what}; use another folder, or --overwrite"
        )

    def _discard(self) -> None:
        """Removes what earlier runs made; a user's own files stay, also in the images' folders."""
        for folder in [path.parent for path in self.path.glob(f"*/{NOTED}")]:
            made = (self.metrics(folder.name) or {}).get("outputs") or ()
            inputs = [p.name for p in folder.glob("input-[0-9]*.png")]
            for name in (*IMAGE_FILES, *inputs, *made):
                with contextlib.suppress(OSError):
                    (folder / name).unlink()
            for name in (*IMAGE_FOLDERS, *(n for n in made if n.endswith("/"))):
                shutil.rmtree(folder / Path(name).name, ignore_errors=True)
            for name in [*{(folder / name).parent for name in made}, folder]:
                with contextlib.suppress(OSError):
                    name.rmdir()
        for name in RUN_FILES:
            (self.path / name).unlink(missing_ok=True)

    @property
    def asked(self) -> dict[str, Any]:
        """The fields that say how many steps to take."""
        return {name: self.fields[name] for name in CONTINUED if name in self.fields}

    def noted(self, stem: str) -> Noted | None:
        """What is known of an image's earlier runs."""
        if self.discards:
            return None
        try:
            noted = json.loads((self.path / stem / NOTED).read_text(encoding="utf-8"))
            return Noted(**{**noted, "files": dict(noted["files"]), "steps": int(noted["steps"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begun(self, stem: str) -> int:
        """Steps up to the newest checkpoint of an image; 0 where there is none."""
        folder = self.path / stem / "checkpoints"
        if self.discards or not folder.is_dir():
            return 0
        return max((int(p.name) for p in folder.iterdir() if p.name.isdecimal()), default=0)

    def folder(self, stem: str) -> Path:
        """The folder of one image, made if missing. Raises InputError where it cannot be."""
        folder = self.path / stem
        self.begin()
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise self._unmakable(folder, error.strerror) from None
        return folder

    def _unmakable(self, folder: Path, why: str) -> InputError:
        return InputError(f"{show_path(folder)}: cannot be made: {why}; use another --workdir")

    def look_at(self, stem: str, paths: Mapping[str, Sequence[Path]]) -> Noted:
        """What an image's files are; only those are read that have changed since they were noted.

        Args:
            stem: name of the image's folder.
            paths: its files by role: 'input', 'kernel', ...

        Raises:
            InputError: a file cannot be read.
            RefusedError: some file has other bytes than when its results were made.
        """
        noted = self.noted(stem)
        old = self._seen.get(stem) or noted or Noted({})
        stamps = {role: stamp(files) for role, files in paths.items()}
        same = [r for r in old.files if stamps.get(r) and stamps[r] == old.stamps.get(r)]
        files = {r: old.files[r] if r in same else sha256_files(paths[r]) for r in paths}
        self._seen[stem] = new = Noted(files, stamps)
        if noted and noted.files != files:
            changed = [k for k in {**noted.files, **files} if noted.files.get(k) != files.get(k)]
            raise RefusedError(
                f"--workdir={self.path}: {stem} was made from other bytes "
                f"({', '.join(sorted(changed))}); use another folder, or --overwrite"
            )
        return new

    def check(self, stem: str, new: Noted) -> None:
        """Refuses what `note` cannot note; writes nothing.

        Args:
            stem: name of the image's folder.
            new: what goes into its result.

        Raises:
            RefusedError: fewer steps than before; checkpoints of files that are not known.
            InputError: a file is where the image's folder should be.
        """
        folder, before = self.path / stem, self.noted(stem)
        if os.path.lexists(folder) and not folder.is_dir():
            raise self._unmakable(folder, os.strerror(errno.EEXIST))
        if before is None and (folder / "checkpoints").is_dir() and not self.discards:
            raise self._refusal(f"unknown files: {stem}/{NOTED} is missing or damaged")
        if before and new.steps < before.steps:
            raise self._refusal(f"another config: steps ({before.steps} there, {new.steps} now)")

    def note(self, stem: str, new: Noted) -> None:
        """Notes the config and what goes into an image's result before work on it begins.

        Args:
            stem: name of the image's folder.
            new: what goes into it.

        Raises:
            RefusedError: as of `check`.
            InputError: the image's folder cannot be made.
        """
        self.check(stem, new)
        folder = self.folder(stem)
        content = {**self.made_with, "config": self.fields}
        config, path = to_json(content, indent=2) + "\n", self.path / "config.json"
        if not path.exists() or path.read_text(encoding="utf-8") != config:
            atomic_write_text(path, config)
        text = to_json(dataclasses.asdict(new), indent=2) + "\n"
        atomic_write_text(folder / NOTED, text)

    def metrics(self, stem: str) -> dict[str, Any] | None:
        """The metrics.json of an image, None where there is none."""
        if self.discards:
            return None
        try:
            return json.loads((self.path / stem / "metrics.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def write_metrics(self, stem: str, metrics: Mapping[str, Any]) -> None:
        """Writes the metrics.json of an image."""
        path = self.folder(stem) / "metrics.json"
        atomic_write_text(path, to_json(metrics, indent=2) + "\n")


def _same(a: Any, b: Any) -> bool:
    """Whether two values are equal, numbers up to the rounding of a change of unit."""
    return a == b or (is_number(a) and is_number(b) and math.isclose(a, b, rel_tol=1e-9))
