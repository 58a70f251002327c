"""What lies in a work folder.

DIR/config.json says what decides the results in DIR; a run with anything else is refused, so that a
folder never mixes results of different settings. DIR/<stem>/ belongs to one image.
"""

import contextlib
import csv
import dataclasses
import io
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import deepinternal
from deepinternal.config import MethodConfig
from deepinternal.files import atomic_write_text, sha256_files, show_path, stamp
from deepinternal.recipe import Recipe
from deepinternal.report.report import PROGRESS
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
IMAGE_FILES += ("baseline.png", "input.png", "input.mp4", NOTED := "input.json")
IMAGE_FOLDERS = ("checkpoints", "input", PROGRESS, TENSORBOARD := "tensorboard")

_UNCOUNTED = ("seed", "device_count", "steps_limit")  # numbers whose mean says nothing


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

    Attributes:
        path: the folder.
        fields: all fields of the config, resolved, as plain JSON types.
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
        """Opens or makes the folder.

        Args:
            path: the folder.
            recipe: the method's.
            config: its config.
            settings: how to run.
            overwrite: discard what earlier runs made in the folder, instead of refusing.

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
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.write_bytes(b"")
            probe.unlink(missing_ok=True)  # another process may have been as quick
        except OSError as error:
            raise RefusedError(
                f"--workdir={show_path(path)}: cannot be written: {error.strerror}; "
                "give a folder that can"
            ) from None
        saved = self._saved()
        if overwrite:
            self._discard()
        elif saved:
            self._compare(saved, recipe)
        elif any(self.path.glob(f"*/{NOTED}")):
            raise self._refusal("a config that is not known, for config.json is missing")

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
        try:
            noted = json.loads((self.path / stem / NOTED).read_text(encoding="utf-8"))
            return Noted(**{**noted, "files": dict(noted["files"]), "steps": int(noted["steps"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def folder(self, stem: str) -> Path:
        """The folder of one image, made if missing. Raises InputError where it cannot be."""
        folder = self.path / stem
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{show_path(folder)}: cannot be made: {error.strerror}; use another --workdir"
            ) from None
        return folder

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

    def note(self, stem: str, new: Noted) -> None:
        """Notes the config and what goes into an image's result before work on it begins.

        Args:
            stem: name of the image's folder.
            new: what goes into it.

        Raises:
            RefusedError: fewer steps than before; checkpoints of files that are not known.
            InputError: the image's folder cannot be made.
        """
        before = self.noted(stem)
        if before is None and (self.path / stem / "checkpoints").is_dir():
            raise self._refusal(f"unknown files: {stem}/{NOTED} is missing or damaged")
        if before and new.steps < before.steps:
            raise self._refusal(f"another config: steps ({before.steps} there, {new.steps} now)")
        folder = self.folder(stem)
        content = {"version": deepinternal.__version__, "config": self.fields}
        config, path = to_json(content, indent=2) + "\n", self.path / "config.json"
        if not path.exists() or path.read_text(encoding="utf-8") != config:
            atomic_write_text(path, config)
        text = to_json(dataclasses.asdict(new), indent=2) + "\n"
        atomic_write_text(folder / NOTED, text)

    def metrics(self, stem: str) -> dict[str, Any] | None:
        """The metrics.json of an image, None where there is none."""
        try:
            return json.loads((self.path / stem / "metrics.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def write_metrics(self, stem: str, metrics: Mapping[str, Any]) -> None:
        """Writes the metrics.json of an image."""
        path = self.folder(stem) / "metrics.json"
        atomic_write_text(path, to_json(metrics, indent=2) + "\n")

    def write_summary(self, images: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Writes summary.json and summary.csv of all images; returns the summary."""
        done = [m for m in images if m["status"] == "done"]
        names = [k for m in done for k, v in m.items() if is_number(v) and k not in _UNCOUNTED]
        values = {n: [m[n] for m in done if is_number(m.get(n))] for n in dict.fromkeys(names)}
        mean = {name: sum(figures) / len(figures) for name, figures in values.items()}
        total = _covered([span for m in done for span in m.get("spans", ())])
        per_hour = 3600 * len(done) / total if total else 0.0
        summary = {"images": list(images), "mean": mean, "images_per_hour": per_hour}
        atomic_write_text(self.path / "summary.json", to_json(summary, indent=2) + "\n")
        table = io.StringIO()
        columns = dict.fromkeys(k for m in images for k in m if k != "spans")
        writer = csv.DictWriter(table, columns, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(images)
        atomic_write_text(self.path / "summary.csv", table.getvalue())
        return summary


def _same(a: Any, b: Any) -> bool:
    """Whether two values are equal, numbers up to the rounding of a change of unit."""
    return a == b or (is_number(a) and is_number(b) and math.isclose(a, b, rel_tol=1e-9))


def _covered(spans: Sequence[Sequence[float]]) -> float:
    """Seconds that lie in at least one of the spans: images may train side by side."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
