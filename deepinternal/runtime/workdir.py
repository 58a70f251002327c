"""What lies in a work folder, and which inputs go with it.

DIR/config.json says what decides the results in DIR; a run with anything else is refused, so that a
folder never mixes results of different settings. DIR/<stem>/ belongs to one image.
"""

import csv
import dataclasses
import glob
import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepinternal.runtime.files import atomic_write_text
from deepinternal.runtime.writers import to_json
from deepinternal.types import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif")
SUFFIXES = {"image": IMAGE_SUFFIXES, "kernel": (".mat", ".npy", ".png", ".tif", ".tiff")}

# Fields that say how to run, and change no result.
RUN_FIELDS = ("steps", "log_every", "checkpoint_every", "progress", "parallel", "ground_truth")


@dataclasses.dataclass(frozen=True)
class Job:
    """One image to work on. `path` is None for the bundled sample photograph."""

    stem: str
    path: Path | None


def list_jobs(text: str) -> list[Job]:
    """The jobs of `config.input`.

    Args:
        text: a file, a folder, a glob, or several of them separated by commas; empty for the sample.

    Returns:
        One job per file, sorted within each part; files named `*_gt.*` in folders and globs are no
        inputs; a stem that is taken already gets -2, -3, ...

    Raises:
        InputError: a part that matches nothing.
    """
    if not text.strip():
        return [Job("sample", None)]
    parts = [text] if os.path.exists(text) else [p.strip() for p in text.split(",") if p.strip()]
    jobs: dict[str, Job] = {}
    seen: set[Path] = set()
    for path in (path for part in parts for path in _files(part)):
        if path.absolute() in seen:
            continue
        seen.add(path.absolute())
        stem, n = path.stem, 1
        while stem in jobs:
            n += 1
            stem = f"{path.stem}-{n}"
        jobs[stem] = Job(stem, path)
    return list(jobs.values())


def _files(part: str) -> list[Path]:
    path = Path(part)
    if path.is_dir():
        try:
            found = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
        except OSError as error:
            raise InputError(f"config.input: {part}: {error.strerror}") from None
        what = f"no images ({', '.join(s[1:] for s in IMAGE_SUFFIXES)}) in the folder {part}"
    elif path.exists() or os.path.islink(part):
        return [path]
    elif glob.has_magic(part):
        found = [Path(p) for p in glob.glob(part, recursive=True) if os.path.isfile(p)]
        what = f"nothing matches {part}"
    else:
        raise InputError(f"config.input: no such file or folder: {part}")
    found = [p for p in found if not p.stem.endswith("_gt") and not p.name.startswith(".")]
    if not found:
        raise InputError(f"config.input: {what}")
    return sorted(found)


def companion(
    field: str, value: str, job: Job, *, kind: str = "image", tag: str, beside: bool = False
) -> Path | None:
    """The file that goes with an image: its ground truth, kernel, mask, ...

    Args:
        field: the config field, for messages.
        value: its value: a file; or a folder, in which the file has the image's name, or its stem
            followed by nothing, `_<tag>` or `_0`.
        job: the image.
        kind: kind of file, which says what suffixes it may have.
        tag: 'gt', 'kernel', ...
        beside: whether `<stem>_<tag>.*` beside the image counts where `value` is empty.

    Returns:
        The path, or None where there is none and none was asked for.

    Raises:
        InputError: no such file or folder, or nothing in the folder matches.
    """
    if not value:
        if not beside or job.path is None:
            return None
        near = [job.path.with_name(f"{job.path.stem}_{tag}{s}") for s in SUFFIXES[kind]]
        return next((p for p in near if p.is_file()), None)
    path = Path(value)
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"config.{field}: no such file or folder: {value}")
        return path
    stem = job.path.stem if job.path else job.stem
    names = [job.path.name] if job.path and job.path.suffix.lower() in SUFFIXES[kind] else []
    names += [f"{stem}{end}{s}" for end in (f"_{tag}", "", "_0") for s in SUFFIXES[kind]]
    for name in names:
        candidate = path / name
        if candidate.is_file() and (
            job.path is None or candidate.absolute() != job.path.absolute()
        ):
            return candidate
    raise InputError(
        f"config.{field}: nothing for {stem} in the folder {value}, such as {names[0]}"
    )


class Workdir:
    """A work folder, checked against the config before anything is computed."""

    def __init__(self, path: str, config: Mapping[str, Any], *, overwrite: bool = False):
        """Opens or makes the folder.

        Args:
            path: the folder.
            config: the whole config as plain JSON types.
            overwrite: discard what the folder holds of earlier runs, instead of refusing.

        Raises:
            InputError: it cannot be written, or holds results of another config.
        """
        self.path = Path(path)
        self.config = dict(config)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise InputError(f"--workdir={path}: cannot be written: {error.strerror}") from None
        saved = self._saved()
        if overwrite and saved:
            self._discard(saved)
            saved = None
        if saved:
            self._compare(saved["config"])
        self._inputs: dict[str, Any] = saved["inputs"] if saved else {}

    def _saved(self) -> dict[str, Any] | None:
        path = self.path / "config.json"
        if not path.exists():
            return None
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            return {"config": dict(saved["config"]), "inputs": dict(saved["inputs"])}
        except (ValueError, KeyError, TypeError, OSError):
            raise InputError(
                f"{path}: is not a config this program wrote; use another --workdir"
            ) from None

    def _compare(self, old: Mapping[str, Any]) -> None:
        new = self.config
        fields = [f for f in {**old, **new} if f not in RUN_FIELDS and old.get(f) != new.get(f)]
        if 0 < new["steps"] < old["steps"]:
            fields.append("steps")  # more steps go on, fewer cannot be taken back
        if fields:
            differing = ", ".join(f"{f} ({old.get(f)!r} there, {new.get(f)!r} now)" for f in fields)
            raise InputError(
                f"--workdir={self.path}: holds results of another config: {differing}; "
                "use another folder, or --overwrite"
            )

    def _discard(self, saved: Mapping[str, Any]) -> None:
        for stem in saved["inputs"]:
            shutil.rmtree(self.path / stem, ignore_errors=True)
        for name in ("summary.json", "summary.csv", "index.html", "config.json"):
            (self.path / name).unlink(missing_ok=True)

    def _write(self) -> None:
        text = to_json({"config": self.config, "inputs": self._inputs}, indent=2)
        atomic_write_text(self.path / "config.json", text + "\n")

    def folder(self, stem: str) -> Path:
        """The folder of one image, made if missing."""
        folder = self.path / stem
        folder.mkdir(exist_ok=True)
        return folder

    def check(self, stem: str, hashes: Mapping[str, str]) -> None:
        """Refuses an image whose files changed since its results were made.

        Args:
            stem: name of the image's folder.
            hashes: SHA-256 of its files by role: 'input', 'kernel', ...

        Raises:
            InputError: some hash differs from the one noted.
        """
        old = self._inputs.get(stem)
        if old is not None and old != hashes and (self.path / stem).exists():
            changed = [k for k in {**old, **hashes} if old.get(k) != hashes.get(k)]
            raise InputError(
                f"--workdir={self.path}: {stem} was made from other bytes "
                f"({', '.join(sorted(changed))}); use another folder, or --overwrite"
            )

    def claim(self, stem: str, hashes: Mapping[str, str]) -> None:
        """Notes the config and the hashes of an image's files before work on it begins."""
        self.check(stem, hashes)
        if self._inputs.get(stem) != hashes or not (self.path / "config.json").exists():
            self._inputs[stem] = dict(hashes)
        self._write()

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
        names = [k for m in done for k, v in m.items() if _is_figure(v)]
        mean = {}
        for name in dict.fromkeys(names):
            values = [m[name] for m in done if _is_figure(m.get(name))]
            mean[name] = sum(values) / len(values)
        total = sum(m.get("seconds") or 0.0 for m in done)
        per_hour = 3600 * len(done) / total if total else 0.0
        summary = {"images": list(images), "mean": mean, "images_per_hour": per_hour}
        atomic_write_text(self.path / "summary.json", to_json(summary, indent=2) + "\n")
        table = io.StringIO()
        columns = dict.fromkeys(k for m in images for k in m)
        writer = csv.DictWriter(table, columns, restval="")
        writer.writeheader()
        writer.writerows(images)
        atomic_write_text(self.path / "summary.csv", table.getvalue())
        return summary


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
