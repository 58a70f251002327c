"""Decomposition with a known truth: our methods, and other packages on the same files.

    python -m benchmarks.decomposition --task=segmentation|video|dehazing|reflection|watermark
                                       --data=DIR [--peers]
                                       [--config=segmentation:fast ...] [--config.FIELD=VALUE ...]
                                       [--strokes=1,2,auto] [--seeds=3] [--limit=N]
                                       [--out=DIR] [--pictures] [--json=FILE]

The figures of each case are kept in DIR, with the masks or the images, and the same command goes on
where it stopped. The tables show all that DIR holds of the task, so that rows can be added
later. benchmarks/README.md explains the protocol and the columns.
"""

import dataclasses
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from benchmarks import common, decomposition_cases, decomposition_peers, decomposition_scores
from benchmarks import decomposition_images as images
from benchmarks import decomposition_pictures as pictures
from benchmarks import decomposition_tables as tables
from benchmarks.decomposition_cases import Case, Loaded
from benchmarks.kept import Records
from deepinternal import in_memory, task
from deepinternal.codecs.image_io import read_image, write_image
from deepinternal.config import did_you_mean
from deepinternal.engine.run import NonFiniteError
from deepinternal.types import InputError

CASES, MASKS = "cases.jsonl", "masks"
Row = Callable[[Loaded, int], tuple[np.ndarray, dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Task:
    """A task of the benchmark.

    Attributes:
        find: `(folder, strokes, limit=) -> cases`.
        peers: Other ways to do it, by the names of their rows.
        score: `(masks, truth, void) -> figures by name`.
        kind: The grouping of the inputs of our methods for it; see `recipe.Grouping`.
    """

    find: Callable[..., list[Case]]
    peers: Mapping[str, decomposition_peers.Peer]
    score: Callable[..., dict[str, Any]]
    kind: str


TASKS: Mapping[str, Task] = {
    "segmentation": Task(
        decomposition_cases.find_images,
        decomposition_peers.IMAGE_PEERS,
        decomposition_scores.of_image,
        "single",
    ),
    "video": Task(
        decomposition_cases.find_clips,
        decomposition_peers.VIDEO_PEERS,
        decomposition_scores.of_video,
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


def other(peer: decomposition_peers.Peer) -> Row:
    """Returns a function like `Ours.run` for another way."""
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


def _strokes(texts: list[str]) -> list[str]:
    """Checks the flag of the sets of strokes."""
    for text in texts:
        if not re.fullmatch(r"\w+", text):
            raise InputError(
                f"--strokes={','.join(texts)}: give the ends of the names of folders, such as 1,2, or "
                f"{decomposition_cases.AUTO}"
            )
    return texts


def _check_task(name: str) -> None:
    """Raises InputError for an unknown task."""
    if name not in (names := [*TASKS, *images.TASKS]):
        hint = did_you_mean(name, names)
        raise InputError(f"--task={name}: there is no such task{hint}; give {' or '.join(names)}")


def _define_flags() -> None:
    flags.DEFINE_string(
        "task", "segmentation", f"The task: {' or '.join([*TASKS, *images.TASKS])}."
    )
    flags.DEFINE_string("data", None, "Folder with photographs or clips, hints and truth.")
    flags.DEFINE_multi_string("config", [], "Config, as in launch.main; may be given repeatedly.")
    flags.DEFINE_bool("peers", False, "Whether to run other packages, and the trivial ways.")
    flags.DEFINE_list("strokes", ["1", "2"], "Sets of strokes of photographs; auto: none.")
    flags.DEFINE_integer("seeds", 1, "Number of seeds of our methods.", lower_bound=1)
    flags.DEFINE_integer("limit", 0, "Greatest number of photographs; 0: all.", lower_bound=0)
    flags.DEFINE_string("out", None, "Folder where figures and masks are kept, to go on.")
    flags.DEFINE_bool(
        "pictures", False, "Whether to write DIR/pictures with the masks of all rows."
    )
    flags.mark_flag_as_required("data")


def main() -> int:
    """Measures what is missing, and prints the tables."""
    args = flags.FLAGS
    _check_task(args.task)
    fields = common.given_fields(args.field)
    if args.pictures and not args.out:
        raise InputError("--pictures: give also --out=DIR, the folder for them")
    with common.folder(args.out) as folder:
        results = (_masks if args.task in TASKS else _images)(args, fields, folder)
    facts = common.machine()
    print(f"\n{common.describe(facts)}\n\n{results.report()}")
    common.write_json({"machine": facts, "cases": results.records})
    return 0


def _masks(args: flags.FlagValues, fields: Mapping[str, Any], folder: Path) -> Results:
    """Measures a task of `TASKS`."""
    chosen = TASKS[args.task]
    cases = chosen.find(Path(args.data), _strokes(args.strokes), limit=args.limit)
    ours = [Ours(text, fields, chosen.kind) for text in args.config]
    peers = decomposition_peers.installed(chosen.peers) if args.peers else {}
    results = Results(folder, args.task)
    for seed in range(args.seeds):
        for case in cases:
            auto = case.strokes == decomposition_cases.AUTO
            usable = {} if seed else decomposition_peers.usable(peers, auto=auto)
            rows = {name: other(peer) for name, peer in usable.items()}
            results.measure(case, rows | {row.name: row.run for row in ours}, seed)
    for case in cases if args.pictures else ():
        results.draw(case)
    return results


def _images(args: flags.FlagValues, fields: Mapping[str, Any], folder: Path) -> images.Results:
    """Measures a task of `decomposition_images.TASKS`."""
    rows, fixed = images.rows_of(args.task, args.config, fields, peers=args.peers)
    results = images.Results(folder, args.task)
    cases = results.cases(Path(args.data), limit=args.limit)
    for seed in range(args.seeds):
        for case in cases:
            results.measure(case, rows if seed else {**fixed, **rows}, seed)
    for case in cases if args.pictures else ():
        results.draw(case)
    return results


if __name__ == "__main__":
    common.start(main, _define_flags)
