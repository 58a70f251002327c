"""The gallery of the README: a strip of pictures for each task, with its time and a figure.

    python -m benchmarks.gallery [--tasks=sr,denoise,...] [--out=benchmarks/pictures] [--json=FILE]
    python -m benchmarks.gallery --markdown [--tasks=sr,denoise,...] [--out=benchmarks/pictures]

The samples are photographs that scikit-image bundles, degraded in known ways. Each task makes one call
of the library, with the default preset unless the call names another one, and writes NAME.jpg and its
record in gallery.json into --out. Records of tasks that were not asked for are kept. The Markdown with
all pictures and captions is printed; --markdown prints it from gallery.json, and runs nothing. If a
task fails, the others are done, and the exit status is 1.
"""

import dataclasses
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from benchmarks import common
from benchmarks.gallery_tasks import TASKS, Figure, Task
from deepinternal.files import atomic_write_bytes, atomic_write_text
from deepinternal.messages import tell
from deepinternal.types import InputError
from deepinternal.writers import read_object, to_json

WIDTH, GAP = 900, 6  # of a strip, and between its panels, in pixels
QUALITY = 88  # of the JPEG files
COLUMNS = 2  # strips side by side in the Markdown
INDEX = "gallery.json"


def strip(panels: Sequence[np.ndarray]) -> np.ndarray:
    """Places pictures side by side, on white, at one height.

    Args:
        panels: uint8 (H, W) or (H, W, 3), of any sizes.

    Returns:
        uint8 (H', `WIDTH`, 3). Each picture keeps its aspect ratio, up to rounding.
    """
    from PIL import Image

    aspects = np.array([panel.shape[1] / panel.shape[0] for panel in panels])
    room = WIDTH - GAP * (len(panels) - 1)
    height = round(room / aspects.sum())
    ends = np.round(np.cumsum(aspects) / aspects.sum() * room).astype(int)
    made = np.full((height, WIDTH, 3), 255, np.uint8)
    for i, (panel, start, end) in enumerate(zip(panels, [0, *ends], ends)):
        picture = Image.fromarray(panel).convert("RGB")
        picture = picture.resize((int(end - start), height), Image.Resampling.BICUBIC)
        made[:, start + i * GAP : end + i * GAP] = np.asarray(picture)
    return made


def jpeg(picture: np.ndarray) -> bytes:
    """Encodes uint8 (H, W, 3) as JPEG with full colour resolution."""
    from PIL import Image

    file = io.BytesIO()
    options = {"quality": QUALITY, "subsampling": "4:4:4", "optimize": True}
    Image.fromarray(picture).save(file, "JPEG", **options)
    return file.getvalue()


def make(name: str, task: Task, folder: Path) -> dict[str, Any]:
    """Runs a task, writes its strip into a folder and returns its record.

    The seconds are those of the call, in which everything that the call needs is compiled.
    """
    sample = task.sample()
    wall, cpu = time.perf_counter(), time.process_time()
    outputs = task.run(sample)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    picture = f"{name}.jpg"
    atomic_write_bytes(folder / picture, jpeg(strip(task.show(sample, outputs))))
    return {
        "title": task.title,
        "panels": task.panels,
        "call": task.call(sample),
        "photograph": sample.photograph,
        "shape": list(np.shape(sample.image)),
        "seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
        "figures": [dataclasses.asdict(task.measure(sample, outputs))],
        "picture": picture,
        "machine": common.machine(),
    }


def run(names: Sequence[str], folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Runs tasks and keeps their records in the folder.

    Args:
        names: Names of `TASKS`.
        folder: Where the pictures and gallery.json are.

    Returns:
        The records of all tasks in the folder, in the order of `TASKS`, and the tasks that failed.
    """
    failed = []
    for name in names:
        try:
            record = make(name, TASKS[name], folder)
        except Exception as error:  # the other tasks are done
            tell(f"{name}: failed: {type(error).__name__}: {error}")
            failed.append(name)
            continue
        tell(f"{name}: {caption(record)}")
        atomic_write_text(folder / INDEX, to_json(read(folder) | {name: record}, indent=1) + "\n")
    return read(folder), failed


def read(folder: Path) -> dict[str, Any]:
    """Returns the records of gallery.json by task, in the order of `TASKS`; {} if there are none."""
    records = read_object(folder / INDEX)
    return {name: records[name] for name in TASKS if name in records}


def caption(record: Mapping[str, Any]) -> str:
    """Returns the title, the figures and the time of a record, such as 'IoU 0.900, 3.1 s'."""
    figures = [_figure(Figure(**figure)) for figure in record["figures"]]
    seconds = record["seconds"]
    shown = f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{record['title']}: {', '.join([*figures, shown])}"


def _figure(figure: Figure) -> str:
    change = [f"{x:#.3g}" for x in (figure.before, figure.after) if x is not None]
    return " ".join([figure.name, " → ".join(change), figure.unit]).strip()


def markdown(records: Mapping[str, Any], folder: str) -> str:
    """Formats records as a Markdown table with two strips in a row, and their captions below them.

    Args:
        records: The records by task, as in gallery.json.
        folder: The folder of the pictures, as links should name it.

    Returns:
        The table, whose first row of pictures is its header.
    """
    pictures = [f"![{r['panels']}]({folder}/{r['picture']})" for r in records.values()]
    captions = [caption(record) for record in records.values()]
    rows = []
    for start in range(0, len(pictures), COLUMNS):
        for cells in (pictures, captions):
            cells = [*cells[start : start + COLUMNS], *[""] * (start + COLUMNS - len(cells))]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([*rows[:1], "|" + " --- |" * COLUMNS, *rows[1:]])


def _define_flags() -> None:
    flags.DEFINE_list("tasks", list(TASKS), f"Tasks to run: {', '.join(TASKS)}.")
    flags.DEFINE_string("out", "benchmarks/pictures", "Folder of the pictures and gallery.json.")
    flags.DEFINE_boolean("markdown", False, "Print the Markdown from gallery.json; run nothing.")


def main() -> int:
    """Runs the tasks, unless only Markdown is wanted, and prints the Markdown."""
    args = flags.FLAGS
    names = common.choices("tasks", args.tasks or [""], [*TASKS])
    failed: list[str] = []
    if args.markdown:
        records = read(Path(args.out))
        if missing := [name for name in names if name not in records]:
            raise InputError(
                f"--out={args.out}: {INDEX} has no {', '.join(missing)}; run without --markdown first"
            )
    else:
        with common.folder(args.out) as folder:
            records, failed = run(names, folder)
    print(markdown({name: records[name] for name in names if name in records}, args.out))
    common.write_json(records)
    return 1 if failed else 0


if __name__ == "__main__":
    common.start(main, _define_flags, fields=False)
