"""A small run of every method, and programs that start from one import."""

import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from tests.launch.conftest import Launcher

_QUICK = {"progress": False, "log_every": 1}
_NET = {"features": 8, "layers": 3, "ensemble": "off"}
# By method and preset: fields of a run of seconds, and its inputs by name.
RUNS = {
    "zssr:fast": {"steps": 30, "input": "two", **_NET},
    "zssr:gradual,smoke": {"input": "a"},
    "zssr:blind,smoke": {"input": "a"},
    "kernelgan:smoke": {"input": "a", "steps": 40},
    "dip:smoke": {"input": "a", "steps": 30},
    "dip:inpaint,smoke": {"input": "a", "mask": "mask", "steps": 30},
    "dip:sr,smoke": {"input": "a", "scale": 2, "steps": 30},
    "segmentation:smoke": {"input": "a", "steps": 40},
    "video_segmentation:smoke": {"input": "frames", "steps": 40},
    "dehazing:smoke": {"input": "a", "steps": 40},
    "transparency:pair,smoke": {"input": "pair", "steps": 40},
    "watermark:smoke": {"input": "a", "box": "20,20,50,60", "steps": 40},
    "ingan:smoke": {"input": "a", "steps": 12},
    "patches:smoke": {"input": "a", "iterations": 10},
    "patches:inpaint,smoke": {"input": "a", "mask": "mask", "iterations": 10},
}


def make_inputs(folder: Path) -> dict[str, str]:
    """Writes small photographs; returns the inputs by name, as `config.input` takes them."""
    photo = skimage.data.astronaut()
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"a": photo[100:196, 200:280], "b": photo[30:110, 180:276], "c": photo[:96, :80]}
    for name, samples in parts.items():
        Image.fromarray(samples).save(folder / f"{name}.png")
    mask = np.full((96, 80), 255, np.uint8)
    mask[40:50, 20:60] = 0
    Image.fromarray(mask).save(folder / "known.png")
    (folder / "frames").mkdir(exist_ok=True)
    for i in range(3):
        Image.fromarray(photo[100:164, 200 + 2 * i : 264 + 2 * i]).save(folder / f"frames/{i}.png")
    files = {"a": "a.png", "mask": "known.png", "frames": "frames"}
    inputs = {name: str(folder / file) for name, file in files.items()}
    inputs["two"] = f"{folder}/a.png,{folder}/b.png"
    inputs["pair"] = f"{folder}/a.png,{folder}/c.png"
    return inputs


def flags(name: str, inputs: dict[str, str], workdir: Path, **fields) -> list[str]:
    """Returns the flags of `launch.main` for a run of `RUNS`."""
    given = {**_QUICK, **RUNS[name], **fields}
    given = {field: inputs.get(value, value) for field, value in given.items()}
    return [
        f"--config={name}",
        f"--workdir={workdir}",
        *(f"--config.{field}={value}" for field, value in given.items()),
    ]


def launcher(folder: Path) -> Launcher:
    """Returns a launcher whose programs share a cache of compiled programs."""
    for name in ("printed", "cache"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"  # so that programs do not restart
    os.environ["QUICK_PROGRAMS"] = (
        "false"  # without optimisation, the gradients of InGAN become NaN
    )
    return Launcher(folder / "printed", folder / "cache")


def kill(launched: Launcher, process: int, seconds: float) -> int:
    """Kills a program after a time, unless it ends before; returns its exit status."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        status = launched.wait_briefly(process)
        if status is not None:
            return status
    os.kill(process, signal.SIGKILL)
    return launched.wait(process)


def results(workdir: Path) -> dict[str, bytes]:
    """Returns the pixels of all result files by name."""
    found = {}
    for path in sorted(workdir.rglob("*.png")):
        name = str(path.relative_to(workdir))
        if "/checkpoints/" not in name and "/progress/" not in name:
            found[name] = np.asarray(Image.open(path)).tobytes()
    return found


def statuses(workdir: Path) -> dict[str, str]:
    """Returns the status of every image in summary.json."""
    images = json.loads((workdir / "summary.json").read_text(encoding="utf-8"))["images"]
    return {image["image"]: image["status"] for image in images}


def leftovers(workdir: Path) -> list[str]:
    """Returns the names of temporary files, which a finished run must not leave.

    Those at the top, where other processes may be writing, are only removed after an hour.
    """
    kinds = re.compile(r"\.tmp|tmp-|\.partial")
    return [str(p) for p in workdir.glob("*/**/*") if kinds.search(p.name)]
