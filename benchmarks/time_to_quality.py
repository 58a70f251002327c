"""The wall time that runs need to reach a given quality.

    python -m benchmarks.time_to_quality --config=configs/zssr.py:fast [--config=...] [--data=DIR]
        [--metric=psnr_y] [--target=VALUE] [--points=12] [--beside='NAME,SECONDS,VALUE[,IMAGE]' ...]
        [--out=DIR] [--json=FILE] [--config.FIELD=VALUE ...]

Each config runs once on each image, timed from the first byte read, with newly compiled programs. A
decaying learning rate decays over the run's own number of steps: a point within a run shows the quality
of that run, not the one that a shorter run would reach. The seconds include reading, compiling, the
training up to a point and making the result there once; scores, the results of other points, and
starting Python do not count.
"""

import csv
import dataclasses
import importlib.util
import io
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import flags

from benchmarks import common, curve, quality
from deepinternal.files import atomic_write_text
from deepinternal.types import InputError, input_spec

NAME = "time_to_quality"


@dataclasses.dataclass(frozen=True)
class Beside:
    """A point of another source, for all images if `image` is empty."""

    name: str
    seconds: float
    value: float
    image: str = ""


def parse_beside(text: str) -> Beside:
    """Parses a point 'NAME,SECONDS,VALUE[,IMAGE]'.

    Raises:
        InputError: The text has another form.
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


def run(
    text: str, fields: Mapping[str, str], pair: curve.Pair | None, *, metric: str, points: int
) -> dict[str, Any]:
    """Runs one config on one image, with newly compiled programs.

    Args:
        text: The config, as in `common.load`.
        fields: Fields that override it.
        pair: The files of the image and its ground truth; None: the method's example.
        metric: The metric, as in `curve.figure`.
        points: Approximate number of points of the curve.

    Returns:
        compile_seconds, greater (whether greater values are better), points.
    """
    jax.clear_caches()
    recipe, config, settings = common.load(text, fields)
    clock = curve.Clock()
    given = curve.read(recipe, config, pair)
    method = recipe.method(config, input_spec(given.inputs))
    with clock.paused():
        measure = curve.figure(metric, method, given)
    chunk = settings.parallel.steps_per_dispatch
    programs = curve.Watched(method, points, steps_per_dispatch=chunk)
    found, _ = curve.follow(programs, given.inputs, measure, seed=config.seed, clock=clock)
    return {"compile_seconds": programs.seconds, "greater": measure.greater, "points": found}


def check(
    text: str, fields: Mapping[str, str], pairs: Iterable[curve.Pair | None], metric: str
) -> None:
    """Raises InputError if a config or an image cannot be used; the arguments are those of `run`."""
    recipe, config, _ = common.load(text, fields)
    for pair in pairs:
        given = curve.read(recipe, config, pair)
        curve.figure(metric, recipe.method(config, input_spec(given.inputs)), given)


# Output


def table(runs: Sequence[dict[str, Any]], metric: str, target: float | None) -> str:
    """Formats the final results of the runs, and the times at which they reached the target."""
    form = ".2f" if "psnr" in metric else ".4f"
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


def _reached(r: dict[str, Any], value: float) -> list[str]:
    point = curve.first_at(r["points"], value, greater=r["greater"])
    return [f"{point.steps}", f"{point.seconds:.1f}"] if point else ["-", "-"]


def beside_table(runs: Sequence[dict[str, Any]], beside: Sequence[Beside], metric: str) -> str:
    """Formats the times at which the runs reached the values of other sources, and the ratios."""
    head = ["image", "beside", "seconds", metric, "config", "steps to it", "seconds", "ratio"]
    rows = []
    for r, b in ((r, b) for r in runs for b in beside if b.image in ("", r["image"])):
        point = curve.first_at(r["points"], b.value, greater=r["greater"])
        ratio = f"{b.seconds / point.seconds:.1f}" if point else "-"
        row = [r["image"], b.name, f"{b.seconds:g}", f"{b.value:g}", r["config"]]
        rows.append([*row, *_reached(r, b.value), ratio])
    return common.table(head, rows)


def draw(
    path: Path,
    runs: Sequence[dict[str, Any]],
    beside: Sequence[Beside],
    metric: str,
    target: float | None,
) -> None:
    """Writes an SVG file with the curves of each image, crosses for other sources, a dashed target."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    images = list(dict.fromkeys(r["image"] for r in runs))
    # Text is stored as text, and nothing differs between two plots of the same values.
    style = {"svg.fonttype": "none", "svg.hashsalt": "deepinternal", "font.size": 9}
    with matplotlib.rc_context(style):
        drawing = Figure(figsize=(4.6 * len(images), 3.4), layout="constrained")
        for axis, image in zip(drawing.subplots(1, len(images), squeeze=False)[0], images):
            for r in (r for r in runs if r["image"] == image):
                line = [(p.seconds, p.value) for p in r["points"]]
                axis.plot(*zip(*line), marker=".", label=r["config"], linewidth=1.2)
            for b in (b for b in beside if b.image in ("", image)):
                axis.plot(b.seconds, b.value, "x", label=b.name, markersize=7, markeredgewidth=2)
            if target is not None:
                axis.axhline(
                    target, linestyle="--", linewidth=0.8, color="0.4", label=f"{target:g}"
                )
            axis.set_xscale("log")
            low, high = axis.get_xlim()
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set(xlabel=f"{image}: seconds", ylabel=quality.COLUMNS.get(metric, (metric,))[0])
            axis.grid(alpha=0.3)
            axis.legend(fontsize=7)
        drawing.savefig(path, metadata={"Date": None})


def write_csv(path: Path, points: Sequence[curve.Point]) -> None:
    """Writes a curve as CSV: steps, seconds, value."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(f.name for f in dataclasses.fields(curve.Point))
    rows.writerows(dataclasses.astuple(p) for p in points)
    atomic_write_text(path, text.getvalue())


def _define_flags() -> None:
    flags.DEFINE_multi_string(
        "config", None, "Config, as in launch.main; may be given repeatedly.", required=True
    )
    flags.DEFINE_string("data", None, "Folder of pairs; default: the methods' bundled example.")
    flags.DEFINE_string(
        "metric", "psnr_y", "psnr_y, ssim_y, psnr_rgb, or a metric of a run, such as loss."
    )
    flags.DEFINE_float("target", None, "Value of the metric to reach.")
    flags.DEFINE_integer("points", 12, "Approximate number of points of each curve.", lower_bound=1)
    flags.DEFINE_multi_string("beside", [], "Point of another source: NAME,SECONDS,VALUE[,IMAGE].")
    flags.DEFINE_string("out", None, "Folder for the plot and the curves.")


def main() -> int:
    """Runs everything, prints the tables, writes curves, plot and JSON file."""
    args, fields = flags.FLAGS, common.given_fields(flags.FLAGS.field)
    beside = [parse_beside(text) for text in args.beside]
    pairs = quality.find_pairs(Path(args.data)) if args.data else {"sample": None}
    if unknown := {b.image for b in beside} - {"", *pairs}:
        raise InputError(f"--beside: no image {min(unknown)}; there are: {', '.join(pairs)}")
    out = args.out and Path(args.out)
    if out:
        if importlib.util.find_spec("matplotlib") is None:
            raise InputError("matplotlib is not installed: pip install .[bench]")
        out.mkdir(parents=True, exist_ok=True)
    for text in args.config:
        check(text, fields, pairs.values(), args.metric)
    facts, runs = common.machine(), []
    content = {"machine": facts, "fields": fields, "metric": args.metric, "target": args.target}
    content |= {"beside": [dataclasses.asdict(b) for b in beside], "runs": []}
    for text, (image, pair) in itertools.product(args.config, pairs.items()):
        found = run(text, fields, pair, metric=args.metric, points=args.points)
        r = {"config": quality.folder_name(text, {}), "image": image, **found}
        runs.append(r)
        content["runs"].append(r | {"points": [dataclasses.asdict(p) for p in r["points"]]})
        common.write_json(content)
        if out:
            write_csv(out / f"{r['config']}-{r['image']}.csv", r["points"])
            draw(out / f"{NAME}.svg", runs, beside, args.metric, args.target)
    print(f"{common.describe(facts)}\n\n{table(runs, args.metric, args.target)}")
    if beside:
        print(f"\n{beside_table(runs, beside, args.metric)}")
    return 0


if __name__ == "__main__":
    common.start(main, _define_flags)
