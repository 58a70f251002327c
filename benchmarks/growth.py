"""How time and memory grow with an image's size, the number of images and the number of steps.

    python -m benchmarks.growth [--what=size,images,steps] [--config=configs/zssr.py:fast]
                                [--sizes=64,128,...] [--steps=20] [--images=200] [--long=2000]
                                [--out=DIR] [--json=FILE] [--config.FIELD=VALUE ...]

All of it by the command `launch.main`. What the columns mean: benchmarks/README.md.
"""

import dataclasses
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import common, plot
from benchmarks.growth_tables import TABLES, Row, slope, write
from benchmarks.launched import Launch, launch, picture
from deepinternal.types import InputError
from launch import cli

SIDE = 64  # of the images of 'images' and 'steps', in pixels
FEW = 2  # steps of each of the many images
WITHOUT_ENSEMBLE = 512  # largest side with the self-ensemble where a method has one
OWN = ("input", "steps", "log_every", "progress")  # fields that are set here


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        config: 'FILE.py:PRESETS'.
        settings: 'field=value' overrides.
        sizes: sides in pixels.
        steps: of each size.
        images: how many.
        long: steps of the long run.
    """

    config: str
    settings: tuple[str, ...] = ()
    sizes: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    steps: int = 20
    images: int = 200
    long: int = 2000

    def run(self, steps: int, pictures, settings: Sequence[str] = ()) -> Launch:
        """One run of the command; `settings` go before those of the plan, which decide."""
        return launch(self.config, [*settings, *self.settings, f"steps={steps}"], pictures)


def by_size(plan: Plan) -> Iterator[list[Row]]:
    """A row for each side; yields all so far after each, the smallest first."""
    rows: list[Row] = []
    for side in plan.sizes:
        large = side > WITHOUT_ENSEMBLE and "ensemble" in common.load_config(plan.config)
        settings = ["log_every=1", *["ensemble=off"] * large]
        try:
            run = plan.run(plan.steps, [picture(side)], settings)
        except InputError as error:
            raise InputError(f"{side}x{side}: {error}") from None
        rows.append({"side": side, **size_row(run)})
        yield rows


def size_row(run: Launch) -> Row:
    """Where the time of a run on one image went, in seconds; memory in MB."""
    (metrics,), (log,) = run.images, run.logs
    training = [line["seconds"] - line["compile_seconds"] for line in log]
    step = slope([line["step"] for line in log], training)
    compiling = metrics["compile_seconds"]
    return {
        "seconds": run.seconds,
        "cpu_seconds": run.cpu_seconds,
        "start_seconds": run.start_seconds,
        "compile_seconds": compiling,
        "step_seconds": step,
        "rest_seconds": run.seconds - run.start_seconds - compiling - metrics["steps"] * step,
        "peak_mb": run.peak_mb,
        "programs": metrics["programs"],
        "compilations": run.compilations[-1],
    }


def by_images(plan: Plan) -> Iterator[list[Row]]:
    """A row for each of many small images of one process; yields them once."""
    yield image_rows(plan.run(FEW, (picture(SIDE, i) for i in range(plan.images))))


def image_rows(run: Launch) -> list[Row]:
    """For each image its seconds up to the next one's begin, memory in MB, programs so far."""
    begins = [metrics["spans"][0][0] for metrics in run.images]
    seconds = [after - begin for begin, after in itertools.pairwise(begins)]
    rows, programs = [], 0
    for i, (metrics, log) in enumerate(zip(run.images, run.logs, strict=True)):
        programs += metrics["programs"]
        rows.append(
            {
                "image": i + 1,
                "seconds": seconds[i] if i < len(seconds) else None,
                "memory_mb": log[-1]["memory_mb"],
                "programs": programs,
                "compilations": run.compilations[i],
            }
        )
    return rows


def by_steps(plan: Plan) -> Iterator[list[Row]]:
    """A row for each line of the log of one long run; yields them once."""
    yield step_rows(plan.run(plan.long, [picture(SIDE)]).logs[0])


def step_rows(log: Sequence[Mapping[str, Any]]) -> list[Row]:
    """For each line but the first the seconds of a step since the line before, and memory in MB."""
    rows = []
    for old, new in itertools.pairwise(log):
        gone = {k: new[k] - old[k] for k in ("step", "seconds", "compile_seconds")}
        rows.append(
            {
                "step": new["step"],
                "step_seconds": (gone["seconds"] - gone["compile_seconds"]) / gone["step"],
                "memory_mb": new["memory_mb"],
                "programs": new["programs"],
            }
        )
    return rows


KINDS = {"size": by_size, "images": by_images, "steps": by_steps}


def _define_flags() -> None:
    flags.DEFINE_list("what", list(KINDS), "Some of size, images, steps.")
    flags.DEFINE_string("config", "configs/zssr.py:fast", "FILE.py[:PRESET,...]")
    flags.DEFINE_list("sizes", [str(n) for n in Plan.sizes], "Sides in pixels.")
    flags.DEFINE_integer("steps", Plan.steps, "Steps of each size.", lower_bound=4)
    flags.DEFINE_integer("images", Plan.images, "Number of small images.", lower_bound=3)
    flags.DEFINE_integer("long", Plan.long, "Steps of the long run.", lower_bound=40)
    flags.DEFINE_string("out", None, "Folder for CSV files and plots.")
    flags.DEFINE_string("json", None, "File for the figures.")
    flags.DEFINE_multi_string("set", [], "FIELD=VALUE; also spelled --config.FIELD=VALUE.")


def plan_of(args) -> Plan:
    """The flags as a plan. Raises InputError where one is wrong."""
    if not args.what or not set(args.what) <= set(KINDS):
        raise InputError(f"--what={','.join(args.what)}: give some of {', '.join(KINDS)}")
    sizes = [int(n) if n.strip().isdecimal() else 0 for n in args.sizes]
    if min(sizes, default=0) < 1:
        raise InputError(f"--sizes={','.join(args.sizes)}: give sides in pixels, such as 64,128")
    common.override(common.load_config(args.config), args.set)
    for setting in args.set:
        if setting.partition("=")[0] in OWN:
            raise InputError(f"--config.{setting}: set by this program; see --steps and --long")
    common.check_writable(args.json)
    numbers = {"steps": args.steps, "images": args.images, "long": args.long}
    return Plan(args.config, tuple(args.set), tuple(sorted(set(sizes))), **numbers)


def main() -> int:
    """Measures, prints the tables and writes the files; returns the exit status."""
    args = flags.FLAGS
    plan = plan_of(args)
    if args.out:
        plot.check()
        Path(args.out).mkdir(parents=True, exist_ok=True)
    facts = common.machine()
    content = {"machine": facts, "plan": dataclasses.asdict(plan)}
    print(f"{common.describe(facts)}\n{' '.join([plan.config, *plan.settings])}")
    for kind in dict.fromkeys(args.what):
        for rows in KINDS[kind](plan):
            content[kind] = rows
            common.write_json(args.json, content)
            if args.out:
                write(Path(args.out), kind, rows)
        print(f"\n{kind}\n\n{TABLES[kind](rows)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.argv = common.as_overrides(sys.argv)
    _define_flags()
    cli.run(main)
