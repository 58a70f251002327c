"""What lies in a work folder.

DIR/config.json says what decides the results in DIR; a run with anything else is refused, so that a
folder never mixes results of different settings. DIR/<stem>/ belongs to one image.
"""

import contextlib
import csv
import io
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepinternal.files import atomic_write_text, show_path
from deepinternal.writers import to_json
from deepinternal.report.report import PROGRESS
from deepinternal.types import InputError

# Fields that say how to run, and change no result.
RUN_FIELDS = ("steps", "log_every", "checkpoint_every", "progress", "parallel", "ground_truth")
RUN_FIELDS += ("tensorboard", "profile", "debug_nans", "snapshot_every")

# What a run writes besides the outputs that metrics.json names.
RUN_FILES = ("config.json", "summary.json", "summary.csv", "index.html")
RUN_FOLDERS = (CLAIMS := ".claims", PROFILE := "profile")
IMAGE_FILES = ("metrics.json", "train.jsonl", "report.html", "traceback.txt", "result.png")
IMAGE_FILES += ("baseline.png", "input.png", "input.mp4", NOTED := "input.json")
IMAGE_FOLDERS = (
    "checkpoints",
    "input",
    "samples",
    PROGRESS,
    TENSORBOARD := "tensorboard",
)

_UNCOUNTED = ("seed", "device_count", "steps_limit")  # numbers whose mean says nothing


class RefusedError(InputError):
    """The work folder as a whole, not one image, does not go with the command."""


class Workdir:
    """A work folder, checked against the config before anything is computed."""

    def __init__(self, path: str, config: Mapping[str, Any], *, overwrite: bool = False):
        """Opens or makes the folder.

        Args:
            path: the folder.
            config: the whole config as plain JSON types.
            overwrite: discard what earlier runs made in the folder, instead of refusing.

        Raises:
            RefusedError: it cannot be written, or holds results of another config.
        """
        if not str(path).strip():
            raise RefusedError("--workdir: is empty; give a folder for the results")
        self.path = Path(path)
        self.config = dict(config)
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
        if overwrite and saved:
            self._discard()
        elif saved:
            self._compare(saved)

    def _saved(self) -> dict[str, Any] | None:
        """The config that the folder's results were made with."""
        path = self.path / "config.json"
        if not path.exists():
            return None
        try:
            return dict(json.loads(path.read_text(encoding="utf-8"))["config"])
        except (ValueError, KeyError, TypeError, OSError):
            raise RefusedError(
                f"{path}: is not a config this program wrote; use another --workdir"
            ) from None

    def _compare(self, old: Mapping[str, Any]) -> None:
        new = self.config
        fields = [f for f in {**old, **new} if f not in RUN_FIELDS and old.get(f) != new.get(f)]
        if 0 < new["steps"] < old.get("steps", 0):
            fields.append("steps")  # more steps go on, fewer cannot be taken back
        if fields:
            differing = ", ".join(f"{f} ({old.get(f)!r} there, {new.get(f)!r} now)" for f in fields)
            raise RefusedError(
                f"--workdir={self.path}: holds results of another config: {differing}; "
                "use another folder, or --overwrite"
            )

    def _discard(self) -> None:
        """Removes what earlier runs made; a user's own files stay, also in the images' folders."""
        for folder in [path.parent for path in self.path.glob(f"*/{NOTED}")]:
            made = (self.metrics(folder.name) or {}).get("outputs") or ()
            inputs = [p.name for p in folder.glob("input-[0-9]*.png")]
            for name in (*IMAGE_FILES, *inputs, *made):
                with contextlib.suppress(OSError):
                    (folder / name).unlink()
            folders = [Path(name).name for name in made if name.endswith("/")]
            for name in (*IMAGE_FOLDERS, *filter(None, folders)):
                shutil.rmtree(folder / name, ignore_errors=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
        for name in RUN_FILES:
            (self.path / name).unlink(missing_ok=True)

    def _noted(self, stem: str) -> dict[str, Any]:
        """What is known of an image's earlier runs: hashes of its files, and most steps."""
        try:
            noted = json.loads((self.path / stem / NOTED).read_text(encoding="utf-8"))
            return {"files": dict(noted["files"]), "steps": int(noted["steps"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

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

    def check(self, stem: str, hashes: Mapping[str, str]) -> None:
        """Refuses an image whose files changed since its results were made.

        Args:
            stem: name of the image's folder.
            hashes: SHA-256 of its files by role: 'input', 'kernel', ...

        Raises:
            RefusedError: some hash differs from the one noted.
        """
        old = self._noted(stem).get("files")
        if old is not None and old != hashes:
            changed = [k for k in {**old, **hashes} if old.get(k) != hashes.get(k)]
            raise RefusedError(
                f"--workdir={self.path}: {stem} was made from other bytes "
                f"({', '.join(sorted(changed))}); use another folder, or --overwrite"
            )

    def note(self, stem: str, hashes: Mapping[str, str], *, steps: int) -> None:
        """Notes the config and what goes into an image's result before work on it begins.

        Args:
            stem: name of the image's folder.
            hashes: as for `check`.
            steps: the most steps that training may take.

        Raises:
            RefusedError: other hashes than before, or fewer steps.
            InputError: the image's folder cannot be made.
        """
        self.check(stem, hashes)
        before = self._noted(stem).get("steps", 0)
        if steps < before:
            raise RefusedError(
                f"--workdir={self.path}: holds results of another config: steps ({before} there, "
                f"{steps} now); use another folder, or --overwrite"
            )
        text = to_json({"files": hashes, "steps": steps}, indent=2) + "\n"
        atomic_write_text(self.folder(stem) / NOTED, text)
        config = to_json({"config": self.config}, indent=2) + "\n"
        if self._text("config.json") != config:
            atomic_write_text(self.path / "config.json", config)

    def _text(self, name: str) -> str | None:
        """A file's text, None where there is no such file."""
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except OSError:
            return None

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
        names = [k for m in done for k, v in m.items() if _is_figure(v) and k not in _UNCOUNTED]
        mean = {}
        for name in dict.fromkeys(names):
            values = [m[name] for m in done if _is_figure(m.get(name))]
            mean[name] = sum(values) / len(values)
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


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _covered(spans: Sequence[Sequence[float]]) -> float:
    """Seconds that lie in at least one of the spans: images may train side by side."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
