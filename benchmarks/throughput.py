"""The training speed of methods for one or many images, and the bounds of a step.

    python -m benchmarks.throughput [--method=NAME|all] [--preset=NAMES] [--images=1,4,16]
                                    [--lanes=1x1,1x8,4x1] [--steps=N] [--rounds=N]
                                    [--steps_per_dispatch=N] [--json=FILE] [--config.FIELD=VALUE ...]

NAME is a name for `deepinternal.methods.find`, such as 'zssr' or 'package.module:RECIPE'.
benchmarks/speed.md explains the columns.
"""

import dataclasses
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import flags

from benchmarks import common, roofline, timing
from deepinternal import methods
from deepinternal.config import MethodConfig
from deepinternal.engine.layout import force_cpu_devices, spread
from deepinternal.engine.parallel import Programs
from deepinternal.recipe import Recipe
from deepinternal.types import InputError, Inputs, Method, TrainState, input_spec

TURN = 2.0  # approximate seconds of a round if the number of steps is not given

Lanes = tuple[int, int]  # number of devices, and number of images side by side on each


def measure(
    recipe: Recipe,
    config: MethodConfig,
    *,
    images: Sequence[int] = (1,),
    lanes: Sequence[Lanes] = (),
    steps: int = 0,
    rounds: int = 7,
    steps_per_dispatch: int = 0,
    photo: np.ndarray | None = None,
    multiplied: int = roofline.MULTIPLIED,
    copied: int = roofline.COPIED,
) -> dict[str, Any]:
    """Measures one method on its example.

    Args:
        recipe: The recipe of the method.
        config: The config of the method.
        images: Numbers of images to train.
        lanes: Arrangements of the images; none: that of `launch.main` with one device.
        steps: Number of steps of each image in a round; 0: as many as take about `TURN` seconds in all.
        rounds: Number of rounds.
        steps_per_dispatch: Number of steps in a dispatch; 0: the backend's default.
        photo: As in `timing.sample`.
        multiplied: Side of the matrices whose product measures the peak of the arithmetic.
        copied: Bytes of the array whose copy measures the peak of the memory.

    Returns:
        Numbers: seconds, FLOPs, MB; spreads as {'median', 'min', 'max'}.
    """
    inputs = timing.sample(recipe, config, photo)
    method = recipe.method(config, input_spec(inputs))
    full = timing.FullStep(method, inputs, steps_per_dispatch=steps_per_dispatch)
    _, state = full.train()
    figures = {"method": recipe.name, "rounds": rounds, **_of_method(method, state, inputs)}
    cost = roofline.step_cost(full.programs.method, state, inputs)
    runs: dict[tuple[int, Lanes], timing.FullStep] = {}
    for n in images:
        for pair in lanes or [spread(n, devices=1, method=method, inputs=inputs)]:
            options = {"images": n, "lanes": pair, "steps_per_dispatch": steps_per_dispatch}
            run = full if (n, pair) == (1, (1, 1)) else timing.FullStep(method, inputs, **options)
            runs[n, pair] = _of_length(run, steps)
    turns = {key: run.run for key, run in runs.items()}
    turns["peak"] = roofline.MatmulPeak(getattr(config, "precision", "default"), multiplied).run
    turns["copy"] = roofline.CopyPeak(copied).run
    taken = timing.take_turns(turns, rounds)
    peak, copy = max(taken["peak"]), max(taken["copy"])
    figures |= {"peak_flops_per_second": peak, "copy_bytes_per_second": copy}
    figures["runs"] = [
        _of_run(key, run, taken[key], cost.contractions, figures) for key, run in runs.items()
    ]
    first = figures["runs"][0]["seconds_per_step"]["median"]
    figures["roofline"] = dataclasses.asdict(cost) | roofline.bounds(cost, first, peak, copy)
    return figures


def _of_length(run: timing.FullStep, steps: int) -> timing.FullStep:
    """Sets the steps of a run (0: as many as take about `TURN` seconds), and compiles them."""
    if steps:
        run.set_steps(steps)
    else:
        run.lengthen(TURN)
    run.run()
    return run


def _of_method(method: Method, state: TrainState, inputs: Inputs) -> dict[str, Any]:
    """Times an evaluation, the outputs and their compilation; adds what a run's time depends on."""
    programs = Programs(method)

    def timed(function, *args):
        start, compiled = time.perf_counter(), programs.seconds
        jax.block_until_ready(function(*args))
        return time.perf_counter() - start - (programs.seconds - compiled)

    first = method.stages[0]
    figures = {
        "evaluate_seconds": 0.0,
        "outputs_seconds": None,
        "image_shape": list(next(x.shape for x in inputs.values() if len(x.shape) > 2)),
        "steps_limit": sum(stage.steps for stage in method.stages),
        "evaluate_every": first.evaluate_every if first.evaluate else 0,
    }
    if len(method.stages) == 1:  # later stages have states of their own
        figures["outputs_seconds"] = timed(programs.outputs, state, inputs)
    if first.evaluate:
        figures["evaluate_seconds"] = timed(programs.evaluate, 0, state, inputs)
    memory = timing.peak_memory()
    return figures | {"rest_compile_seconds": programs.seconds, "peak_memory_mb": memory}


def _of_run(
    key: tuple[int, Lanes],
    run: timing.FullStep,
    seconds: Sequence[float],
    flops: int,
    figures: Mapping[str, Any],
) -> dict[str, Any]:
    """Computes the figures of a run from its seconds per step and image in each round."""
    step, limit, every = timing.spread(seconds), figures["steps_limit"], figures["evaluate_every"]
    image = limit * step["median"] + (figures["outputs_seconds"] or 0.0)
    image += (limit // every if every else 0) * figures["evaluate_seconds"]
    return {
        "images": key[0],
        "lanes": list(key[1]),
        "steps": run.steps,
        "compile_seconds": figures["rest_compile_seconds"] + run.programs.seconds,
        "seconds_per_step": step,
        "steps_per_second": 1 / step["median"],
        "images_per_hour": 3600 / image,
        "flops_per_second": flops / step["median"],
        "share_of_peak": flops / step["median"] / figures["peak_flops_per_second"],
    }


def report(results: Sequence[Mapping[str, Any]]) -> str:
    """Formats the tables."""
    rows = [
        [
            r["method"],
            str(run["images"]),
            "x".join(map(str, run["lanes"])),
            f"{run['steps_per_second']:.3f}",
            common.span(run["seconds_per_step"], ".1f", 1e3),
            f"{run['seconds_per_step']['median'] / r['runs'][0]['seconds_per_step']['median']:.2f}",
            f"{run['images_per_hour']:.2f}",
            f"{run['compile_seconds']:.1f}",
            f"{run['flops_per_second'] / 1e9:.1f}",
            f"{r['peak_flops_per_second'] / 1e9:.0f}",
            f"{run['share_of_peak']:.0%}",
            " + ".join(f"{mb:.0f}" for mb in r["peak_memory_mb"].values()),
        ]
        for r in results
        for run in r["runs"]
    ]
    head = "method,images,lanes,steps/s,ms per step,to the first,images/h,compile s,GFLOP/s,peak"
    head = [*head.split(","), "share", "memory MB"]
    notes = "\n".join(map(_explain, results))
    return "\n\n".join([common.table(head, rows), notes, _roofline(results)])


def _roofline(results: Sequence[Mapping[str, Any]]) -> str:
    """Formats the table of the bounds of the steps."""
    rows = []
    for r in results:
        line = r["roofline"]
        rows.append(
            [
                r["method"],
                f"{line['flops'] / 1e9:.2f}",
                f"{line['contractions'] / 1e9:.2f}",
                f"{line['bytes'] / 1e9:.3f}",
                f"{line['intensity']:.1f}",
                f"{r['copy_bytes_per_second'] / 1e9:.1f}",
                f"{1e3 * line['compute_seconds']:.1f}",
                f"{1e3 * line['memory_seconds']:.1f}",
                f"{line['share']:.0%}",
                line["limit"],
                str(line["operations"]),
            ]
        )
    head = "roofline,GFLOP,contractions,GB,FLOP/byte,copy GB/s,compute ms,memory ms,share,limit"
    return common.table([*head.split(","), "operations"], rows)


def _explain(figures: Mapping[str, Any]) -> str:
    """Explains how the images per hour of one method are computed."""
    outputs = figures["outputs_seconds"]
    outputs = "without the outputs" if outputs is None else f"outputs {outputs:.2f} s"
    every, tests = figures["evaluate_every"], "no evaluation"
    if every:
        tests = f"an evaluation of {figures['evaluate_seconds']:.2f} s every {every} steps"
    shape = "x".join(map(str, figures["image_shape"]))
    return (
        f"{figures['method']}: {shape} image; images/h computed from steps/s for the limit of "
        f"{figures['steps_limit']} steps, {tests}, {outputs}, no compiling."
    )


def parse_lanes(text: str) -> Lanes:
    """Parses '2x4' to (devices, images on each). Raises InputError for other forms."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text.strip())
    if not found:
        raise InputError(f"--lanes={text}: give DEVICESxIMAGES, such as 1x8 or 4x1")
    return int(found[1]), int(found[2])


def _define_flags() -> None:
    flags.DEFINE_string("method", "all", "Name of a method, package.module:RECIPE, or 'all'.")
    flags.DEFINE_string("preset", "", "Presets, joined by commas.")
    flags.DEFINE_list("images", ["1"], "Numbers of images to train, joined by commas.")
    flags.DEFINE_list("lanes", [], "DEVICESxIMAGES, joined by commas; default: as launch.main.")
    flags.DEFINE_integer("steps", 0, "Steps of a round; 0: about two seconds.", lower_bound=0)
    flags.DEFINE_integer("rounds", 7, "Rounds.", lower_bound=1)
    flags.DEFINE_integer(
        "steps_per_dispatch", 0, "Steps in a dispatch; 0: the default.", lower_bound=0
    )


def _chosen(method: str, preset: str, fields: Mapping[str, str]) -> Iterator[tuple[Recipe, Any]]:
    for name in methods.names() if method == "all" else (method,):
        recipe = methods.find(name)
        yield recipe, recipe.build(preset, **fields)


def main() -> int:
    """Measures, prints the tables and writes the JSON file; returns the exit status."""
    args = flags.FLAGS
    images, lanes = common.whole_numbers("images", args.images), [*map(parse_lanes, args.lanes)]
    most = max((devices for devices, _ in lanes), default=1)
    force_cpu_devices(most)
    if most > jax.local_device_count():
        raise InputError(f"--lanes: there are {jax.local_device_count()} devices, not {most}")
    fields = common.given_fields(args.field)
    options = {"steps": args.steps, "rounds": args.rounds}
    options |= {"steps_per_dispatch": args.steps_per_dispatch}
    results = []
    for recipe, config in [*_chosen(args.method, args.preset, fields)]:
        results.append(measure(recipe, config, images=images, lanes=lanes, **options))
    facts = common.machine()
    print(f"{common.describe(facts)}\n\n{report(results)}")
    chosen = {"method": args.method, "preset": args.preset, "fields": fields, **options}
    common.write_json({"machine": facts, "settings": chosen, "methods": results})
    return 0


if __name__ == "__main__":
    common.start(main, _define_flags)
