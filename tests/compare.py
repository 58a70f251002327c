"""Runs a base commit and the working tree side by side and compares what they make, bit by bit.

    python -m tests.compare --base=COMMIT [--runs=NAME,...] [--keep=DIR] [--skip_resume]

Each run is a `launch.main` command on fixed inputs. Compared are the result files and the last
checkpoint of every image: of an uninterrupted run; of one that the working tree is stopped in and
goes on with; and of one that the base is stopped in and the working tree goes on with. The base is
checked out into DIR, where its results are kept, so that it runs once. Prints a table; the exit status
is 1 where anything differs. Takes about half an hour on two cores; run by hand, see --help.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from absl import app, flags

ROOT = Path(__file__).parent.parent
_BASE = flags.DEFINE_string("base", None, "Commit to compare with.", required=True)
_RUNS = flags.DEFINE_list("runs", [], "Runs to compare; all by default.")
_KEEP = flags.DEFINE_string(
    "keep", "/tmp/deepinternal-compare", "Folder for checkouts and results."
)
_BASE_ONLY = flags.DEFINE_bool("base_only", False, "Make the base's results and end.")
_RESUME = flags.DEFINE_bool("resume", True, "Also stop and resume each run.")

# Name -> config and fields, and the log line after which an interrupted run is stopped.
RUNS = {
    "zssr": ("zssr.py:fast", {"steps": 60, "input": "INPUTS", "parallel.images_per_device": 1}),
    "gradual": ("zssr.py:gradual,smoke", {"input": "ONE"}),
    "blind": ("zssr.py:blind,smoke", {"input": "ONE"}),
    "kernelgan": ("kernelgan.py:smoke", {"input": "ONE"}),
    "denoise": ("dip.py:smoke", {"input": "ONE"}),
    "inpaint": ("dip.py:inpaint,smoke", {}),
    "sr": ("dip.py:sr,smoke", {"input": "ONE", "scale": 2}),
    "segmentation": ("segmentation.py:smoke", {}),
    "video": ("video_segmentation.py:smoke", {}),
    "dehazing": ("dehazing.py:smoke", {}),
    "transparency": ("transparency.py:pair,smoke", {}),
    "watermark": ("watermark.py:smoke", {}),
    "ingan": ("ingan.py:smoke", {}),
    "patches": ("patches.py:smoke", {"input": "ONE"}),
    "generate": ("patches.py:generate,smoke", {"input": "ONE", "samples": 2}),
}
_LOGS = ("train.jsonl", "metrics.json", "report.html", "input.json", "resumed.json")


def command(name: str, workdir: Path, inputs: Path) -> list[str]:
    """The command line of a run."""
    config, fields = RUNS[name]
    places = {"INPUTS": str(inputs), "ONE": str(inputs / "a.png")}
    fields = {k: places.get(v, v) for k, v in fields.items()}
    given = [f"--config.{k}={v}" for k, v in fields.items()]
    return [
        *(sys.executable, "-m", "launch.main", f"--config=configs/{config}"),
        *(f"--workdir={workdir}", "--config.progress=False", "--config.log_every=1", *given),
    ]


def run(checkout: Path, name: str, workdir: Path, inputs: Path, stop: bool = False) -> int:
    """Runs a command in a checkout, stopped by SIGTERM early on if `stop`; returns its status."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    process = subprocess.Popen(
        command(name, workdir, inputs),
        cwd=checkout,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if stop:
        while process.poll() is None and not any(
            p.stat().st_size for p in workdir.glob("*/train.jsonl")
        ):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
    _, printed = process.communicate()
    if process.returncode not in (0, 143):
        print(f"{name} in {checkout}: status {process.returncode}\n{printed}", file=sys.stderr)
    return process.returncode


def arrays(workdir: Path) -> dict[str, np.ndarray]:
    """All result files, and all leaves of the last checkpoint of every image, by name."""
    import orbax.checkpoint as ocp
    from PIL import Image

    found = {}
    for path in sorted(p for p in workdir.glob("*/**/*") if p.is_file()):
        name = str(path.relative_to(workdir))
        if "/checkpoints/" in name or name.startswith(".") or path.name in _LOGS:
            continue
        image = path.suffix == ".png"
        found[name] = (
            np.asarray(Image.open(path)) if image else np.frombuffer(path.read_bytes(), "u1")
        )
    for folder in sorted(workdir.glob("*/checkpoints")):
        last = max((p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
        with ocp.PyTreeCheckpointer() as checkpointer:
            for item in ("state", "inputs"):
                if (last / item).exists():
                    _flatten(
                        f"{folder.parent.name}:{item}", checkpointer.restore(last / item), found
                    )
    for path in sorted(workdir.glob("*/train.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found[f"{path.parent.name}:loss"] = np.array([line.get("loss", 0.0) for line in lines])
    return found


def _flatten(name, tree, found):
    if isinstance(tree, dict | list | tuple):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in items:
            _flatten(f"{name}/{key}", value, found)
    elif tree is not None:
        try:
            found[name] = np.asarray(tree)
        except TypeError:  # a typed key
            import jax

            found[name] = np.asarray(jax.random.key_data(tree))


def differences(old: dict, new: dict) -> list[str]:
    """What differs, a line each."""
    lines = [f"only in the base: {n}" for n in old.keys() - new.keys()]
    lines += [f"only in the working tree: {n}" for n in new.keys() - old.keys()]
    for name in sorted(old.keys() & new.keys()):
        a, b = old[name], new[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            lines.append(f"{name}: {a.dtype}{a.shape} became {b.dtype}{b.shape}")
        elif a.dtype.kind in "biufc" and not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            lines.append(
                f"{name}: differs by up to {np.abs(a.astype(float) - b.astype(float)).max():.3g}"
            )
    return lines


def checkout(commit: str, folder: Path) -> Path:
    """A checkout of the base, made once."""
    if not folder.exists():
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        subprocess.run(["git", "checkout", "-q", commit], cwd=folder, check=True)
    return folder


def make_inputs(folder: Path) -> Path:
    """Two small photographs."""
    import skimage.data
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    photo = skimage.data.astronaut()
    for name, part in {"a": photo[100:196, 200:280], "b": photo[30:110, 180:276]}.items():
        if not (folder / f"{name}.png").exists():
            Image.fromarray(part).save(folder / f"{name}.png")
    return folder


def main(argv) -> None:
    """Compares all runs asked for."""
    del argv
    logging.getLogger("absl").setLevel(logging.ERROR)  # orbax tells every read
    warnings.simplefilter("ignore")
    keep = Path(_KEEP.value)
    commit = subprocess.check_output(
        ["git", "rev-parse", "--short", _BASE.value], cwd=ROOT, text=True
    ).strip()
    inputs = make_inputs(keep / "inputs")
    base = checkout(commit, keep / commit)
    worst = 0
    for name in _RUNS.value or RUNS:
        kept, stopped = keep / f"{commit}-{name}", keep / f"{commit}-{name}-stopped"
        if not (kept / "summary.json").exists():
            run(base, name, kept, inputs)
        if not stopped.exists() and _RESUME.value:
            run(base, name, stopped, inputs, stop=True)
        if _BASE_ONLY.value:
            continue
        old, rows = arrays(kept), {}
        for how in ("whole", "resumed", "taken over")[: 3 if _RESUME.value else 1]:
            workdir = keep / f"new-{name}-{how.replace(' ', '_')}"
            shutil.rmtree(workdir, ignore_errors=True)
            if how == "taken over":
                shutil.copytree(stopped, workdir)
            if how == "resumed":
                run(ROOT, name, workdir, inputs, stop=True)
            status = run(ROOT, name, workdir, inputs)
            rows[how] = differences(old, arrays(workdir)) if status == 0 else [f"status {status}"]
        for how, lines in rows.items():
            print(
                f"{name:14} {how:11} {'equal' if not lines else f'{len(lines)} differences'}",
                flush=True,
            )
            for line in lines[:12]:
                print(f"    {line}", flush=True)
            worst |= bool(lines)
    sys.exit(worst)


if __name__ == "__main__":
    app.run(main)
