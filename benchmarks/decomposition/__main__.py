"""Decomposition with a known truth: our methods, and other packages on the same files.

    python -m benchmarks.decomposition --task=segmentation|video|dehazing|reflection|watermark
                                       --data=DIR [--peers]
                                       [--config=segmentation:fast ...] [--config.FIELD=VALUE ...]
                                       [--strokes=1,2,auto] [--seeds=3] [--limit=N]
                                       [--out=DIR] [--pictures] [--json=FILE]

The figures of each case are kept in DIR, with the masks or the images, and the same command continues
where it stopped. The tables show everything that DIR holds of the task, so rows can be added later.
benchmarks/decomposition.md explains the protocol.

Of masks, the tables have the mean IoU over the cases (of clips without the first frame; "all frames"
is with it), its standard deviation over the seeds, the IoU of the cases on which no setting was chosen,
the least IoU, and the figures of `scores`. "last - second" is the IoU of a clip's last frame less that
of its second. Seconds are medians of the calls that compile nothing; "first" are those that may
compile.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import common
from benchmarks.decomposition import cases, images, masks, peers
from deepinternal.field_forms import did_you_mean
from deepinternal.types import InputError


def _strokes(texts: list[str]) -> list[str]:
    """Checks the flag of the sets of strokes."""
    for text in texts:
        if not re.fullmatch(r"\w+", text):
            raise InputError(
                f"--strokes={','.join(texts)}: give the ends of the names of folders, such as 1,2, or "
                f"{cases.AUTO}"
            )
    return texts


def _check_task(name: str) -> None:
    """Raises InputError for an unknown task."""
    if name not in (names := [*masks.TASKS, *images.TASKS]):
        hint = did_you_mean(name, names)
        raise InputError(f"--task={name}: there is no such task{hint}; give {' or '.join(names)}")


def _define_flags() -> None:
    flags.DEFINE_string(
        "task", "segmentation", f"The task: {' or '.join([*masks.TASKS, *images.TASKS])}."
    )
    flags.DEFINE_string("data", None, "Folder with photographs or clips, hints and truth.")
    flags.DEFINE_multi_string("config", [], "Config, as in launch.main; may be given repeatedly.")
    flags.DEFINE_bool("peers", False, "Whether to run other packages and trivial baselines.")
    flags.DEFINE_list("strokes", ["1", "2"], "Sets of strokes of photographs; auto: none.")
    flags.DEFINE_integer("seeds", 1, "Number of seeds of our methods.", lower_bound=1)
    flags.DEFINE_integer("limit", 0, "Greatest number of photographs; 0: all.", lower_bound=0)
    flags.DEFINE_string("out", None, "Folder for the results; the same command continues there.")
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
        results = (_measure_masks if args.task in masks.TASKS else _measure_images)(
            args, fields, folder
        )
    facts = common.machine()
    print(f"\n{common.describe(facts)}\n\n{results.report()}")
    common.write_json({"machine": facts, "cases": results.records})
    return 0


def _measure_masks(
    args: flags.FlagValues, fields: Mapping[str, Any], folder: Path
) -> masks.Results:
    """Measures a task of `masks.TASKS`."""
    task = masks.TASKS[args.task]
    found = task.find(Path(args.data), _strokes(args.strokes), limit=args.limit)
    ours = {row.name: row.run for row in (masks.Ours(c, fields, task.kind) for c in args.config)}
    others = peers.installed(task.peers) if args.peers else {}
    results = masks.Results(folder, args.task)
    for seed in range(args.seeds):
        for case in found:
            auto = case.strokes == cases.AUTO
            usable = {} if seed else peers.usable(others, auto=auto)
            fixed = {name: masks.other(peer) for name, peer in usable.items()}
            results.measure(case, fixed | ours, seed)
    for case in found if args.pictures else ():
        results.draw(case)
    return results


def _measure_images(
    args: flags.FlagValues, fields: Mapping[str, Any], folder: Path
) -> images.Results:
    """Measures a task of `images.TASKS`."""
    ours, fixed = images.rows_of(args.task, args.config, fields, peers=args.peers)
    results = images.Results(folder, args.task)
    found = results.cases(Path(args.data), limit=args.limit)
    for seed in range(args.seeds):
        for case in found:
            results.measure(case, ours if seed else {**fixed, **ours}, seed)
    for case in found if args.pictures else ():
        results.draw(case)
    return results


if __name__ == "__main__":
    common.start(main, _define_flags)
