"""Wall time to a given quality.

    python -m benchmarks.time_to_quality --config=configs/zssr.py:fast [--config=...] [--data=DIR]
        [--metric=psnr_y] [--target=VALUE] [--points=12] [--beside='NAME,SECONDS,VALUE[,IMAGE]' ...]
        [--out=DIR] [--json=FILE] [--config.FIELD=VALUE ...]

One run of each config on each image, from the first byte read, programs compiled anew. A learning rate
that decays does so over the run's own number of steps: a point within a run is what that run has
there, not what a shorter run would reach. What is counted: benchmarks/README.md.
"""

import csv
import dataclasses
import io
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
from absl import flags

from benchmarks import common, curve, measures, plot, quality
from deepinternal.files import atomic_write_text
from deepinternal.methods import registry
from deepinternal.runs import sources
from deepinternal.runs.cases import Case, Cases, to_plain
from deepinternal.runs.checks import check_fields
from deepinternal.runs.inputs import Job, list_jobs, tags_of
from deepinternal.runs.plan import Planner
from deepinternal.runs.workdir import Workdir
from deepinternal.types import InputError
from launch import cli

NAME = "time_to_quality"


@dataclasses.dataclass(frozen=True)
class Beside:
    """A point of another source; of all images where `image` is empty."""

    name: str
    seconds: float
    value: float
    image: str = ""


def parse_beside(text: str) -> Beside:
    """The point that 'NAME,SECONDS,VALUE[,IMAGE]' stands for.

    Raises:
        InputError: it has another form.
    """
    name, *rest = (part.strip() for part in text.split(","))
    try:
        seconds, value = map(float, rest[:2])
        if not name or len(rest) > 3 or not 0 < seconds < math.inf or not math.isfinite(value):
            raise ValueError
    except ValueError:
        raise InputError(
            f"--beside={text}: give NAME,SECONDS,VALUE or NAME,SECONDS,VALUE,IMAGE"
        ) from None
    return Beside(name, seconds, value, *rest[2:])


def list_images(config: ml_collections.ConfigDict) -> list[Job]:
    """The jobs of a config's input. Raises InputError where it cannot be used."""
    module = registry.get(config.method)
    check_fields(config)
    module.check(config)
    companions = [config.ground_truth, *(config[field] for field in module.SIDE_INPUTS)]
    grouping = sources.grouping_of(module, config)
    tags = tags_of(module.SIDE_INPUTS)
    return list_jobs(config.input, tags=tags, companions=companions, grouping=grouping)


def read(config: ml_collections.ConfigDict, job: Job, folder: str) -> tuple[Case, Planner]:
    """Reads a job as a run does, in a work folder of its own."""
    module = registry.get(config.method)
    planner = Planner(module, config)
    cases = Cases(module, config, Workdir(folder, to_plain(config), overwrite=True), planner)
    return cases.open(job), planner


def check(config: ml_collections.ConfigDict, jobs: Sequence[Job], metric: str) -> None:
    """Refuses images that cannot be read or measured."""
    for job in jobs:
        with tempfile.TemporaryDirectory() as folder:
            measures.find(metric, config, read(config, job, folder)[0])


def run(
    config: ml_collections.ConfigDict, job: Job, *, metric: str, points: int
) -> tuple[dict[str, Any], list[curve.Point]]:
    """One run on one image, programs compiled anew; returns its figures and its curve."""
    jax.clear_caches()
    with tempfile.TemporaryDirectory() as folder:
        clock = curve.Clock()
        case, planner = read(config, job, folder)
        with clock.paused():
            measure = measures.find(metric, config, case)
        programs = curve.Watched(
            planner.method(case.inputs),
            points,
            steps_per_dispatch=config.parallel.steps_per_dispatch,
        )
        found, _ = curve.follow(programs, case.inputs, measure, seed=config.seed, clock=clock)
    figures = {"image": job.stem, "compile_seconds": programs.seconds, "greater": measure.greater}
    return figures, found


def table(runs: Sequence[dict[str, Any]], metric: str, target: float | None) -> str:
    """What the runs came to, and when they reached the target."""
    form = _form(metric)
    head = ["image", "config", "steps", "seconds", "of them compiling", metric]
    if target is not None:
        head += [f"steps to {target:g}", "seconds"]
    rows = []
    for r in runs:
        end = r["points"][-1]
        row = [r["image"], r["config"], f"{end.steps}", f"{end.seconds:.1f}"]
        row += [f"{r['compile_seconds']:.1f}", format(end.value, form)]
        if target is not None:
            row += _reached(r, target)
        rows.append(row)
    return common.table(head, rows)


def _form(metric: str) -> str:
    return ".2f" if "psnr" in metric else ".4f"


def _reached(r: dict[str, Any], value: float) -> list[str]:
    point = curve.first_at(r["points"], value, greater=r["greater"])
    return [f"{point.steps}", f"{point.seconds:.1f}"] if point else ["-", "-"]


def beside_table(runs: Sequence[dict[str, Any]], beside: Sequence[Beside], metric: str) -> str:
    """When the runs reached the values of other sources; the ratio is their seconds by ours."""
    head = ["image", "beside", "seconds", metric, "config", "steps to it", "seconds", "ratio"]
    rows = []
    for r, b in ((r, b) for r in runs for b in beside if b.image in ("", r["image"])):
        point = curve.first_at(r["points"], b.value, greater=r["greater"])
        ratio = f"{b.seconds / point.seconds:.1f}" if point else "-"
        row = [r["image"], b.name, f"{b.seconds:g}", f"{b.value:g}", r["config"]]
        rows.append([*row, *_reached(r, b.value), ratio])
    return common.table(head, rows)


def panels(
    runs: Sequence[dict[str, Any]], beside: Sequence[Beside], metric: str, target: float | None
) -> list[plot.Panel]:
    """A panel for each image."""
    levels = {} if target is None else {f"{target:g}": target}
    images = list(dict.fromkeys(r["image"] for r in runs))
    label = quality.COLUMNS.get(metric, (metric,))[0]
    return [
        plot.Panel(
            "seconds" if len(images) == 1 else f"{image}: seconds",
            label,
            {
                r["config"]: [(p.seconds, p.value) for p in r["points"]]
                for r in runs
                if r["image"] == image
            },
            {b.name: (b.seconds, b.value) for b in beside if b.image in ("", image)},
            log_x=True,
            levels=levels,
        )
        for image in images
    ] or [plot.Panel("seconds", label, {})]


def write_csv(path: Path, points: Sequence[curve.Point]) -> None:
    """Writes a curve: steps, seconds, value."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(f.name for f in dataclasses.fields(curve.Point))
    rows.writerows(dataclasses.astuple(p) for p in points)
    atomic_write_text(path, text.getvalue())


def measure(
    configs: Sequence[tuple[str, ml_collections.ConfigDict]],
    *,
    metric: str,
    points: int,
    known: set[str],
):
    """Runs all configs on all of their images.

    Args:
        configs: names and configs.
        metric: as of `measures.find`.
        points: of each curve, about.
        known: images that are spoken of elsewhere.

    Yields:
        The figures of each run, `points` among them.

    Raises:
        InputError: before anything is run, where a config or an image cannot be used.
    """
    jobs = [list_images(config) for _, config in configs]
    if unknown := known - {job.stem for part in jobs for job in part}:
        raise InputError(f"--beside: no image {min(unknown)}")
    for (_, config), part in zip(configs, jobs, strict=True):
        check(config, part, metric)
    for (name, config), part in zip(configs, jobs, strict=True):
        for job in part:
            figures, found = run(config, job, metric=metric, points=points)
            yield {"config": name, **figures, "points": found}


def load(
    texts: Sequence[str], settings: Sequence[str], pairs: Path | None
) -> list[tuple[str, Any]]:
    """The configs by their short names, their input set where there are pairs."""
    loaded = []
    for text in dict.fromkeys(texts):
        config = common.load_config(text)
        common.override(config, settings)
        if pairs:
            config.input, config.ground_truth = str(pairs), ""
        loaded.append((quality.folder_name(text, ()), config))
    return loaded


def _define_flags() -> None:
    flags.DEFINE_multi_string("config", None, "FILE.py[:PRESET,...]; repeatable.", required=True)
    flags.DEFINE_string("data", None, "Folder of pairs; default: the methods' bundled example.")
    flags.DEFINE_string("metric", "psnr_y", "psnr_y, ssim_y, psnr_rgb, or what a run gives: loss.")
    flags.DEFINE_float("target", None, "Value whose time is asked for.")
    flags.DEFINE_integer("points", 12, "Of each curve, about.", lower_bound=1)
    flags.DEFINE_multi_string("beside", [], "NAME,SECONDS,VALUE[,IMAGE] of another source.")
    flags.DEFINE_string("out", None, "Folder for the plot and the curves.")
    flags.DEFINE_string("json", None, "File for the figures.")
    flags.DEFINE_multi_string("set", [], "FIELD=VALUE; also spelled --config.FIELD=VALUE.")


def main() -> int:
    """Runs everything, prints the tables, writes curves, plot and JSON file."""
    args = flags.FLAGS
    common.check_writable(args.json)
    beside = [parse_beside(text) for text in args.beside]
    out = args.out and Path(args.out)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        plot.draw(out / f"{NAME}.svg", panels([], beside, args.metric, args.target))
    facts, runs = common.machine(), []
    content = {"machine": facts, "settings": args.set, "metric": args.metric, "target": args.target}
    content |= {"beside": [dataclasses.asdict(b) for b in beside], "runs": []}
    with tempfile.TemporaryDirectory(prefix=NAME) as folder:
        pairs = Path(folder) / "pairs" if args.data else None
        if pairs:
            quality.link_pairs(quality.find_pairs(Path(args.data)), pairs)
        configs, known = load(args.config, args.set, pairs), {b.image for b in beside} - {""}
        for r in measure(configs, metric=args.metric, points=args.points, known=known):
            runs.append(r)
            content["runs"].append(r | {"points": [dataclasses.asdict(p) for p in r["points"]]})
            common.write_json(args.json, content)
            if out:
                write_csv(out / f"{r['config']}-{r['image']}.csv", r["points"])
                plot.draw(out / f"{NAME}.svg", panels(runs, beside, args.metric, args.target))
    print(f"{common.describe(facts)}\n\n{table(runs, args.metric, args.target)}")
    if beside:
        print(f"\n{beside_table(runs, beside, args.metric)}")
    return 0


if __name__ == "__main__":
    sys.argv = common.as_overrides(sys.argv)
    _define_flags()
    cli.run(main)
