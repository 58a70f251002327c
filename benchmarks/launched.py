"""Runs of `launch.main` on made-up images, each in a process of its own, and what they took."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deepinternal.types import InputError
from deepinternal.writers import read_jsonl

# What the kernel notes as a process's peak includes that of the process it was forked from, so that a
# small one stands between.
_WATCH = """
import json, os, subprocess, sys
child = subprocess.Popen(sys.argv[2:])
_, status, used = os.wait4(child.pid, 0)
status = os.waitstatus_to_exitcode(status)
unit = 1 if sys.platform == "darwin" else 1024
figures = {"cpu_seconds": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss * unit / 1e6}
with open(sys.argv[1], "w") as file:
    json.dump({**figures, "status": status}, file)
"""
_PHOTOS = ("astronaut", "coffee", "chelsea", "rocket")


@dataclasses.dataclass(frozen=True)
class Launch:
    """What a run of the command took.

    Attributes:
        seconds: from the process's start to its end.
        start_seconds: from its start to the first byte read of the first image.
        cpu_seconds: of all its threads.
        peak_mb: greatest resident memory, in 1e6 bytes.
        images: metrics.json of each image, in their order.
        logs: train.jsonl of each image.
        compilations: programs that XLA had compiled or loaded in the whole process when an image was
            done, for each image; those that the library does not count are among them.
    """

    seconds: float
    start_seconds: float
    cpu_seconds: float
    peak_mb: float
    images: list[dict[str, Any]]
    logs: list[list[dict[str, Any]]]
    compilations: list[int]


def picture(side: int, number: int = 0) -> np.ndarray:
    """A photograph-like image (side, side, 3) uint8.

    Args:
        side: in pixels; where the photograph ends, it goes on mirrored.
        number: images of different numbers have different contents.
    """
    import skimage.data

    photo = getattr(skimage.data, _PHOTOS[number % len(_PHOTOS)])()[..., :3]
    rng = np.random.default_rng(number)
    y, x = (_mirrored(n, side, int(rng.integers(2 * n))) for n in photo.shape[:2])
    return photo[y[:, None], x]


def _mirrored(size: int, count: int, first: int) -> np.ndarray:
    """Indices (count,) from `first` on into `size` samples that go to and fro."""
    places = (first + np.arange(count)) % (2 * size)
    return np.where(places < size, places, 2 * size - 1 - places)


def watched(command: Sequence[str], figures: Path) -> subprocess.CompletedProcess:
    """Runs a command to its end; its resident memory is its own alone.

    Args:
        command: program and arguments.
        figures: JSON file that gets `cpu_seconds`, `peak_mb` and `status`.
    """
    env = {**os.environ, "JAX_LOG_COMPILES": "1"}
    if not env.get("JAX_COMPILATION_CACHE_DIR"):
        env["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # compiling takes what it takes at first
    watch = [sys.executable, "-S", "-c", _WATCH, str(figures)]
    return subprocess.run(
        [*watch, *command], env=env, capture_output=True, text=True, errors="replace", check=False
    )


def launch(config: str, settings: Iterable[str], pictures: Iterable[np.ndarray]) -> Launch:
    """Runs `launch.main` on images of equal size.

    Args:
        config: 'FILE.py:PRESETS'.
        settings: 'field=value' overrides, the later one deciding.
        pictures: (H, W, 3) uint8.

    Raises:
        InputError: it did not end with all images done; says what it said.
    """
    with tempfile.TemporaryDirectory(prefix="growth-") as name:
        folder = Path(name)
        (folder / "input").mkdir()
        for i, pixels in enumerate(pictures):
            Image.fromarray(pixels).save(folder / "input" / f"{i:05d}.png")
        command = [sys.executable, "-m", "launch.main", f"--config={config}"]
        command += [f"--config.{setting}" for setting in settings]
        command += [f"--config.input={folder / 'input'}", f"--workdir={folder / 'work'}"]
        began, clock = time.time(), time.perf_counter()
        done = watched(command, folder / "figures.json")
        seconds = time.perf_counter() - clock
        figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
        if status := figures.pop("status"):
            raise InputError(f"launch.main ended with status {status}: {_last_word(done.stderr)}")
        stems = sorted(path.stem for path in (folder / "input").iterdir())
        results = [folder / "work" / stem for stem in stems]
        images = [json.loads((r / "metrics.json").read_text(encoding="utf-8")) for r in results]
        return Launch(
            seconds=seconds,
            start_seconds=images[0]["spans"][0][0] - began,
            **figures,
            images=images,
            logs=[read_jsonl(r / "train.jsonl") for r in results],
            compilations=_compilations(done.stderr, stems),
        )


def _last_word(stderr: str) -> str:
    """The last line that is not of JAX's log."""
    lines = [x for x in stderr.splitlines() if x.strip() and not re.match(r"[IWE]\d{4} ", x)]
    return lines[-1] if lines else "it said nothing"


def _compilations(stderr: str, stems: Sequence[str]) -> list[int]:
    """How many compilations the log tells of before each line that says an image is done."""
    counts, count = dict.fromkeys(stems, 0), 0
    for line in stderr.splitlines():
        count += "Finished XLA compilation of" in line
        if (ended := re.match(r"(\d+): done,", line)) and ended[1] in counts:
            counts[ended[1]] = count
    return [counts[stem] for stem in stems]
