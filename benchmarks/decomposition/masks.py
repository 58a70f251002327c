"""The tasks of `benchmarks.decomposition` whose truth is a mask: photographs and videos with hints."""

import dataclasses
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.decomposition import cases, peers, pictures, scores, tables
from benchmarks.decomposition.cases import Case, Loaded
from benchmarks.kept import Records
from deepinternal import in_memory, task
from deepinternal.codecs.image_io import read_image, write_image
from deepinternal.engine.errors import NonFiniteError
from deepinternal.types import InputError

CASES, MASKS = "cases.jsonl", "masks"
Row = Callable[[Loaded, int], tuple[np.ndarray, dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Task:
    """A task of the benchmark.

    Attributes:
        find: `(folder, strokes, limit=) -> cases`.
        peers: Other packages and trivial baselines, by the names of their rows.
        score: `(masks, truth, void) -> figures by name`.
        kind: The grouping of the inputs of our methods for it; see `recipe.Grouping`.
    """

    find: Callable[..., list[Case]]
    peers: Mapping[str, peers.Peer]
    score: Callable[..., dict[str, Any]]
    kind: str


TASKS: Mapping[str, Task] = {
    "segmentation": Task(
        cases.find_images,
        peers.IMAGE_PEERS,
        scores.of_image,
        "single",
    ),
    "video": Task(
        cases.find_clips,
        peers.VIDEO_PEERS,
        scores.of_video,
        "video",
    ),
}


class Ours:
    """One of our configs; programs are kept for further inputs of the same shape.

    Attributes:
        name: The name of its row: the config and the fields that override it.
    """

    def __init__(self, text: str, fields: Mapping[str, Any], kind: str):
        """Loads the config.

        Args:
            text: The config, as in `common.load`.
            fields: Fields that override it.
            kind: The grouping of the inputs that it must have.

        Raises:
            InputError: The config cannot be used, or is no segmentation of such inputs.
        """
        self._text, self._fields = text, dict(fields)
        self._shapes: set[tuple] = set()
        recipe, config, _ = common.load(text, fields)
        if not {"foreground", "background"} <= {*recipe.side_inputs}:
            raise InputError(f"--config={text}: takes no hints; give a method that segments")
        if (found := recipe.grouping(config).kind) != kind:
            raise InputError(
                f"--config={text}: the inputs of {recipe.name} are of the kind {found!r}, those of the "
                f"task {kind!r}; give segmentation for images and video_segmentation for videos"
            )
        name = re.sub(r"\.py(?=:|$)", "", Path(text).name)
        self.name = " ".join([name, *(f"{n}={v}" for n, v in fields.items())])

    def run(self, case: Loaded, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Segments a case.

        Args:
            case: The image or clip with its hints.
            seed: The seed of all random draws.

        Returns:
            Its masks, booleans; `new`, whether programs may have been compiled; and the method's
            scalar outputs.
        """
        names = ("foreground", "background")
        sides = dict(zip(names, case.hints)) if case.hints else {}
        sides = {name: np.float32(hint) for name, hint in sides.items()}
        recipe, _, _ = common.load(self._text, self._fields)
        given = recipe.given(sides) or {"hints": "auto"}
        _, config, _ = common.load(self._text, self._fields, seed=seed, **given)
        result = in_memory.train_task(task.read(recipe, config, case.image, sides, {}))
        shape = (*case.image.shape, bool(sides))
        new, outputs = shape not in self._shapes, result.outputs
        self._shapes.add(shape)
        scalars = {n: float(x) for n, x in outputs.items() if np.size(x) == 1}
        return np.asarray(outputs["mask"]) > 0.5, {**scalars, "new": new}


def other(peer: peers.Peer) -> Row:
    """Returns a function like `Ours.run` for a peer."""
    return lambda case, seed: (peer(case.image, case.hints), {})


class Results:
    """The figures of cases in a folder, and their masks.

    Attributes:
        kept: The records.
    """

    def __init__(self, folder: Path, name: str):
        """Reads what the folder holds.

        Args:
            folder: The folder.
            name: The name of the task in `TASKS`.
        """
        self.kept = Records(folder / CASES, tables.KEY)
        self._folder, self._name = folder, name

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of the task."""
        return [r for r in self.kept.all if r["task"] == self._name]

    def report(self) -> str:
        """Formats the tables of the task."""
        return tables.report(self.records)

    def measure(self, case: Case, rows: Mapping[str, Row], seed: int) -> None:
        """Measures the rows of a case that are not known, unless the loss is not finite."""
        wanted = [{**self._facts(case), "seed": seed, "row": row} for row in rows]
        wanted = [facts for facts in wanted if facts not in self.kept]
        loaded = case.load() if wanted else None
        for facts in wanted:
            shown = " ".join(str(facts[n]) for n in ("image", "strokes", "seed", "row"))
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                made, known = rows[facts["row"]](loaded, seed)
            except NonFiniteError as error:  # is tried again the next time
                print(f"{shown}: failed: {error}", flush=True)
                continue
            facts |= {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            score = TASKS[self._name].score(made, loaded.truth, loaded.void)
            if not seed:
                self._write(case, facts["row"], made)
            self.kept.add({**facts, "size": list(loaded.image.shape[:-1]), **known, **score})
            print(f"{shown}: IoU {score['iou']:.3f}, {facts['cpu']:.1f} CPU s", flush=True)

    def draw(self, case: Case) -> None:
        """Writes the sheet of a case: the masks of all rows in the folder, first seed."""
        facts, found = self._facts(case), {}
        of_case = lambda r: not r["seed"] and all(r[n] == value for n, value in facts.items())
        for record in filter(of_case, self.records):
            if (path := self._mask(case, record["row"])).exists():
                found[f"{record['row']}: {record['iou']:.3f}"] = read_image(path).pixels[..., 0]
        path = self._folder / "pictures" / f"{case.name}-{_file_name(case.strokes)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, pictures.sheet(case.load(), found))

    def _facts(self, case: Case) -> dict[str, Any]:
        return {"task": self._name, "image": case.name, "strokes": case.strokes}

    def _mask(self, case: Case, row: str) -> Path:
        return (
            self._folder
            / MASKS
            / f"{case.name}-{_file_name(case.strokes)}"
            / f"{_file_name(row)}.png"
        )

    def _write(self, case: Case, row: str, made: np.ndarray) -> None:
        path = self._mask(case, row)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, np.float32(made.reshape(-1, made.shape[-1])))  # frames below each other


def _file_name(text: str) -> str:
    return re.sub(r"[^\w=.-]+", "_", text)
