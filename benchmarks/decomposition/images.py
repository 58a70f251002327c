"""The tasks of `benchmarks.decomposition` whose truth is an image: haze, reflections, watermarks."""

import importlib
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.decomposition.pictures import tiled, titled
from benchmarks.decomposition.restorations import Restoration
from benchmarks.kept import Records
from benchmarks.tables import Record, groups, mean, number, over_seeds, table
from deepinternal import in_memory, task
from deepinternal.codecs.image_io import read_image, write_image
from deepinternal.engine.errors import NonFiniteError

TASKS = {  # the module of the cases, and the default config
    "dehazing": ("benchmarks.decomposition.haze", "dehazing:fast"),
    "reflection": ("benchmarks.decomposition.reflection", "transparency:reflection"),
    "watermark": ("benchmarks.decomposition.watermark", "watermark:fast"),
}
KEY = ("task", "image", "seed", "row")
INPUT = "the input"  # the row of doing nothing
Row = Callable[[Restoration, int], Mapping[str, np.ndarray]]


def ours(text: str, fields: Mapping[str, Any]) -> tuple[str, Row]:
    """Returns the name of the row of one of our configs, and the function that runs it."""

    def run(case: Restoration, seed: int) -> Mapping[str, np.ndarray]:
        recipe, _, _ = common.load(text, fields)
        given = {**case.fields, **recipe.given(case.sides)}
        _, config, _ = common.load(text, {**given, **fields}, seed=seed)
        image = case.image if case.image.ndim < 4 else list(case.image)
        sides = {name: case.sides[name] for name in case.sides if name in recipe.side_inputs}
        result = in_memory.train_task(task.read(recipe, config, image, sides, {}))
        return {name: _array(x) for name, x in result.outputs.items()}

    name = re.sub(r"\.py(?=:|$)", "", Path(text).name)
    return " ".join([name, *(f"{n}={v}" for n, v in fields.items())]), run


def _array(output: Any) -> np.ndarray:
    """An output as an array; those of several images are stacked."""
    return np.stack([*output.values()]) if isinstance(output, Mapping) else np.asarray(output)


class Results:
    """The figures of cases in a folder, and their pictures."""

    def __init__(self, folder: Path, name: str):
        """Args: folder; name: the name of the task in `TASKS`."""
        self.kept = Records(folder / "restored.jsonl", KEY)
        self._folder, self._name = folder, name
        self._module = importlib.import_module(TASKS[name][0])

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of the task."""
        return [r for r in self.kept.all if r["task"] == self._name]

    def cases(self, folder: Path, *, limit: int = 0) -> list[Restoration]:
        """Returns the cases of a folder of data; `limit`: of at most so many photographs, 0: all."""
        return self._module.find(folder, limit=limit)

    def report(self) -> str:
        """Formats the tables of the task."""
        return report(self.records, self._module.FIGURE)

    def measure(self, case: Restoration, rows: Mapping[str, Row], seed: int) -> None:
        """Measures the rows of a case that are not known, unless the loss is not finite."""
        for row, run in rows.items():
            facts = {"task": self._name, "image": case.name, "seed": seed, "row": row}
            if facts in self.kept:
                continue
            shown, figure = f"{case.name} {seed} {row}", self._module.FIGURE
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                made = run(case, seed)
            except (NonFiniteError, ModuleNotFoundError) as error:  # is tried again the next time
                print(f"{shown}: failed: {error}", flush=True)
                continue
            facts |= {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            score = self._module.score(made, case)
            if not seed:
                self._write(case, row, made["result"])
            kind = str(case.facts.get("kind", "all"))
            self.kept.add({**facts, "kind": kind, "size": [*case.image.shape], **score})
            print(f"{shown}: {figure} {score[figure]:.3f}, {facts['cpu']:.1f} CPU s", flush=True)

    def draw(self, case: Restoration) -> None:
        """Writes the sheet of a case: the input, the truth and all rows, of the first seed."""
        rows = {r["row"]: r for r in self.records if r["image"] == case.name and not r["seed"]}
        shown = {"input": _first(case.image), "truth": _first(case.truth)}
        for row, record in rows.items():
            if row != INPUT and (path := self._path(case, row)).exists():
                title = f"{row}: {record[self._module.FIGURE]:.3f}"
                shown[title] = read_image(path).pixels
        colour = lambda x: np.broadcast_to(x, (*x.shape[:2], 3))
        sheet = tiled([titled(colour(x), title) for title, x in shown.items()])
        path = self._folder / "pictures" / f"{case.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, sheet)

    def _path(self, case: Restoration, row: str) -> Path:
        name = re.sub(r"[^\w=.-]+", "_", row)
        return self._folder / "results" / case.name / f"{name}.png"

    def _write(self, case: Restoration, row: str, made: np.ndarray) -> None:
        path = self._path(case, row)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, np.float32(_first(made)))


def _first(images: np.ndarray) -> np.ndarray:
    """The image, or the first of several."""
    return images if images.ndim < 4 else images[0]


def rows_of(name: str, configs: Sequence[str], fields: Mapping[str, Any], *, peers: bool):
    """Returns the rows of our configs, and those that do not depend on a seed."""
    module = importlib.import_module(TASKS[name][0])
    fixed: dict[str, Row] = {INPUT: lambda case, seed: {"result": case.image}}
    if peers:
        bind = lambda peer: lambda case, seed: {"result": peer(case)}
        fixed |= {row: bind(peer) for row, peer in module.PEERS.items()}
    return dict(ours(text, fields) for text in configs or [TASKS[name][1]]), fixed


def report(records: Sequence[Record], figure: str) -> str:
    """Formats the means of each row, for each kind of case, and the main figure of each case.

    Args:
        records: The records of a task.
        figure: The name of the main figure, of which more is better.
    """
    parts = []
    for kind, found in groups(records, lambda r: r["kind"]).items():
        parts.append(f"Cases: {kind}; means\n\n{_means(found, figure)}")
        rows = [*groups(found, lambda r: r["row"])]
        lines = []
        for image, of_image in groups(found, lambda r: r["image"]).items():
            by_row = groups(of_image, lambda r: r["row"])
            lines.append([image, *(number(mean(by_row.get(r, ()), figure), ".3f") for r in rows)])
        parts.append(f"Cases: {kind}; {figure}\n\n{table(['case', *rows], lines)}")
    return "\n\n".join(parts)


def _means(records: Sequence[Record], figure: str) -> str:
    """The means of all figures, and what the main one gains on the input in the worst case."""
    names = [*dict.fromkeys(n for r in records for n, x in r.items() if isinstance(x, float))]
    names = [n for n in names if n not in ("wall", "cpu")]
    inputs = {r["image"]: r[figure] for r in records if r["row"] == INPUT}
    lines = []
    for row, found in groups(records, lambda r: r["row"]).items():
        gains = [r[figure] - inputs[r["image"]] for r in found if r["image"] in inputs]
        cells = [str(len({r["image"] for r in found}))]
        cells += [number(mean(found, n), ".3f") for n in names]
        cells += [number(over_seeds(found, figure, lambda r: r["image"]), ".3f")]
        cells += [number(min(gains, default=None), "+.3f")]
        cells += [number(statistics.median(r[n] for r in found), ".1f") for n in ("cpu", "wall")]
        lines.append([row, *cells])
    return table(
        ["row", "cases", *names, f"{figure} over seeds", "least gain", "CPU s", "s"], lines
    )
