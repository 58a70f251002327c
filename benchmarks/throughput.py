"""How fast methods train, and how that compares with the bare net and with the device's peak.

    python -m benchmarks.throughput [--method=NAME|all] [--images=1,4,16] [--json=FILE]
                                    [--steps=N] [--rounds=N] [--config.FIELD=VALUE ...]

What the columns mean: benchmarks/README.md.
"""

import dataclasses
import functools
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import flags

from benchmarks import bare, common, roofline, timing
from deepinternal.engine.parallel import Programs, spread
from deepinternal.methods import registry
from deepinternal.types import Example, InputError, Inputs, Method, TrainState, input_spec
from launch import cli

PEAK_SIDE = 2048  # of the square matrices whose product is taken for the device's peak
TURN = 2.0  # seconds, about, of a turn whose steps are not given


def sample(
    name: str, config: ml_collections.ConfigDict, photo: np.ndarray | None = None
) -> tuple[Method, Inputs]:
    """A method and its inputs for a photograph degraded as the method supposes.

    Args:
        name: the method's name.
        config: its config.
        photo: (H, W, C) in [0, 1]; None for a 512x512 photograph that scikit-image bundles.
    """
    module = registry.get(name)
    if photo is None:
        import skimage.data

        photo = skimage.data.astronaut().astype(np.float32) / 255
    made = module.example(config, photo)
    made = made if isinstance(made, Example) else Example(np.asarray(made))
    inputs = module.prepare(config, made.image, **made.sides)
    return module.make(config, input_spec(inputs)), inputs


def chosen(method: str, settings: Sequence[str]) -> Iterator[tuple[str, ml_collections.ConfigDict]]:
    """Names and default configs, overridden, of a method or of 'all'. Raises InputError."""
    for name in registry.names() if method == "all" else (method,):
        config = registry.defaults(name)
        common.override(config, settings)
        yield name, config


def measure(
    name: str,
    config: ml_collections.ConfigDict,
    *,
    images: Sequence[int] = (1,),
    steps: int = 0,
    rounds: int = 7,
    photo: np.ndarray | None = None,
    peak_side: int = PEAK_SIDE,
    copied: int = roofline.COPIED,
) -> dict[str, Any]:
    """Measures one method.

    Args:
        name: the method's name.
        config: its config.
        images: how many images to train: as `launch.main` would, side by side on one device, or
            one after another where the backend's default is that.
        steps: steps in a row of each of the programs that take turns; 0 for as many as take about
            `TURN` seconds.
        rounds: turns.
        photo: as in `sample`.
        peak_side: side of the matrices of the peak.
        copied: bytes of the array that is copied for the memory's peak.

    Returns:
        Plain numbers: seconds, FLOPs, MB; spreads as {'median', 'min', 'max'}.
    """
    method, inputs = sample(name, config, photo)
    full = timing.FullStep(method, inputs, steps=steps or 1)
    _, state = full.run()
    if not steps:
        full.lengthen(TURN)
    cost, xla_flops = full.cost(state)
    rest = Programs(method)
    figures = {"compile_seconds": full.programs.seconds, **_once_in_a_while(rest, state, inputs)}
    figures["compile_seconds"] += rest.seconds
    figures["peak_memory_mb"] = common.peak_memory()
    net = bare.NETS[name](config, inputs) if name in bare.NETS else None
    turns = {"full": lambda: full.run()[0], **_bare_turns(net, full)}
    turns["peak"] = timing.MatmulPeak(config.get("precision", "default"), peak_side).run
    turns["copy"] = roofline.CopyPeak(copied).run
    taken = timing.take_turns(turns, rounds)
    flops = bare.training_flops(net.convs) if net else None
    figures |= {
        "method": name,
        "image_shape": list(next(x.shape for x in inputs.values() if len(x.shape) > 2)),
        "steps_limit": sum(stage.steps for stage in method.stages),
        "evaluate_every": method.stages[0].evaluate_every,
        "steps_per_turn": full.steps,
        "rounds": rounds,
        "seconds_per_step": {
            kind: timing.spread(taken[kind]) for kind in turns if kind not in ("peak", "copy")
        },
        "ratios": _ratios(taken),
        "flops_per_step": flops,
        "xla_flops_per_step": xla_flops,
        "peak_flops_per_second": max(taken["peak"]),
        "copy_bytes_per_second": max(taken["copy"]),
    }
    peaks = figures["peak_flops_per_second"], figures["copy_bytes_per_second"]
    seconds = figures["seconds_per_step"]["full"]["median"]
    figures["roofline"] = dataclasses.asdict(cost) | roofline.bounds(cost, seconds, *peaks)
    figures["runs"] = [_several(full, inputs, n, figures) for n in images]
    return figures


def _bare_turns(net: bare.BareNet | None, full: timing.FullStep) -> dict[str, Callable[[], float]]:
    """Functions that return seconds per step of the net alone, already compiled and run once."""
    if net is None:
        return {}
    turns = {}
    for kind, apply in (("bare", net.apply), ("plain", net.plain)):
        trainer = bare.BareTrainer(net, apply, chunk=full.chunk)
        trainer.run(full.chunk)
        turns[kind] = functools.partial(trainer.seconds_per_step, full.steps)
    return turns


def _once_in_a_while(programs: Programs, state: TrainState, inputs: Inputs) -> dict[str, Any]:
    """Seconds of an evaluation and of the outputs, without compiling them."""

    def timed(function, *args):
        start, compiled = time.perf_counter(), programs.seconds
        result = jax.block_until_ready(function(*args))
        return result, time.perf_counter() - start - (programs.seconds - compiled)

    figures = {"evaluate_seconds": 0.0, "outputs_seconds": None}
    if len(programs.method.stages) == 1:  # later stages have states of their own
        _, figures["outputs_seconds"] = timed(programs.outputs, state, inputs)
    if programs.method.stages[0].evaluate:
        _, figures["evaluate_seconds"] = timed(programs.evaluate, 0, state, inputs)
    return figures


def _ratios(taken: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Spread of the ratios within each round."""
    pairs = [("full", "bare"), ("full", "plain"), ("bare", "plain")]
    return {
        f"{a}/{b}": timing.spread([x / y for x, y in zip(taken[a], taken[b], strict=True)])
        for a, b in pairs
        if a in taken and b in taken
    }


def _several(
    full: timing.FullStep, inputs: Inputs, count: int, figures: dict[str, Any]
) -> dict[str, Any]:
    """Rates for `count` images; a single one has been timed in the turns already."""
    seconds = figures["seconds_per_step"]["full"]["median"]
    lanes = spread(count, devices=1)[1]
    if lanes > 1:
        batch = timing.FullStep(full.programs.method, inputs, steps=full.steps, lanes=lanes)
        batch.run()
        runs = math.ceil(count / lanes)
        seconds = sum(batch.run(seed=i)[0] for i in range(runs)) / (runs * lanes)
    elif count > 1:
        seconds = statistics.mean(full.run(seed=i)[0] for i in range(count))
    flops, limit, every = (figures[k] for k in ("flops_per_step", "steps_limit", "evaluate_every"))
    tests = limit // every if every else 0
    image = limit * seconds + tests * figures["evaluate_seconds"]
    image += figures["outputs_seconds"] or 0.0
    rate = flops / seconds if flops else None
    return {
        "images": count,
        "lanes": lanes,
        "steps_per_second": 1 / seconds,
        "images_per_hour": 3600 / image,
        "flops_per_second": rate,
        "share_of_peak": rate / figures["peak_flops_per_second"] if rate else None,
    }


def report(results: Sequence[dict[str, Any]]) -> str:
    """The tables for people."""
    number = lambda value, form: "-" if value is None else format(value, form)
    head = "method images lanes steps/s images/h compile_s GFLOP/step XLA_GFLOP/step GFLOP/s peak share"
    head = [*(h.replace("_", " ") for h in head.split()), "memory MB"]
    giga = lambda value: None if value is None else value / 1e9
    rows = [
        [
            r["method"],
            str(run["images"]),
            str(run["lanes"]),
            number(run["steps_per_second"], ".3f"),
            number(run["images_per_hour"], ".2f"),
            number(r["compile_seconds"], ".1f"),
            number(giga(r["flops_per_step"]), ".2f"),
            number(giga(r["xla_flops_per_step"]), ".2f"),
            number(giga(run["flops_per_second"]), ".1f"),
            number(giga(r["peak_flops_per_second"]), ".1f"),
            number(run["share_of_peak"], ".0%"),
            " + ".join(f"{mb:.0f}" for mb in r["peak_memory_mb"].values()),
        ]
        for r in results
        for run in r["runs"]
    ]
    lines = [common.table(head, rows), ""]
    for r in results:
        lines.append(_explain(r))
    ms = lambda s: f"{1e3 * s['median']:.1f} ({1e3 * s['min']:.1f}-{1e3 * s['max']:.1f})"
    fold = lambda s: f"{s['median']:.3f} ({s['min']:.3f}-{s['max']:.3f})"
    kinds, pairs = ("full", "bare", "plain"), ("full/bare", "full/plain", "bare/plain")
    rows = [
        [r["method"]]
        + [ms(r["seconds_per_step"][k]) if k in r["seconds_per_step"] else "-" for k in kinds]
        + [fold(r["ratios"][p]) if p in r["ratios"] else "-" for p in pairs]
        for r in results
    ]
    head = ["median (min-max)", *(f"{k} ms" for k in kinds), *pairs]
    return "\n".join([*lines, "", common.table(head, rows), "", _roofline(results)])


def _roofline(results: Sequence[dict[str, Any]]) -> str:
    """The table of what bounds the steps."""
    rows = []
    for r in results:
        line, step = r["roofline"], r["seconds_per_step"]["full"]["median"]
        rows.append(
            [
                r["method"],
                f"{line['flops'] / 1e9:.2f}",
                f"{line['contractions'] / 1e9:.2f}",
                f"{line['bytes'] / 1e9:.3f}",
                f"{line['intensity']:.1f}",
                f"{r['peak_flops_per_second'] / 1e9:.0f}",
                f"{r['copy_bytes_per_second'] / 1e9:.1f}",
                f"{1e3 * line['compute_seconds']:.1f}",
                f"{1e3 * line['memory_seconds']:.1f}",
                f"{1e3 * step:.1f}",
                f"{line['share']:.0%}",
                line["limit"],
                str(line["operations"]),
            ]
        )
    head = "roofline,GFLOP,contractions,GB,FLOP/byte,peak GFLOP/s,copy GB/s,compute ms,memory ms"
    return common.table([*head.split(","), "step ms", "share", "limit", "operations"], rows)


def _explain(figures: dict[str, Any]) -> str:
    """What the images per hour of one method are made of."""
    outputs = figures["outputs_seconds"]
    outputs = "without the outputs" if outputs is None else f"outputs {outputs:.2f} s"
    shape = "x".join(map(str, figures["image_shape"]))
    return (
        f"{figures['method']}: {shape} image; images/h computed from steps/s for the limit of "
        f"{figures['steps_limit']} steps, an evaluation of {figures['evaluate_seconds']:.2f} s every "
        f"{figures['evaluate_every']} steps, {outputs}, no compiling."
    )


def _define_flags() -> None:
    flags.DEFINE_string("method", "all", "Name of a method, or 'all'.")
    flags.DEFINE_list("images", ["1"], "How many images to train, several with commas.")
    flags.DEFINE_string("json", None, "File for the figures.")
    flags.DEFINE_integer(
        "steps", 0, "Steps in a row of each program; 0: about two seconds of them.", lower_bound=0
    )
    flags.DEFINE_integer("rounds", 7, "Turns.", lower_bound=1)
    flags.DEFINE_multi_string("set", [], "FIELD=VALUE; also spelled --config.FIELD=VALUE.")


def main() -> int:
    """Measures, prints the tables and writes the JSON file; returns the exit status."""
    args = flags.FLAGS
    images = [int(n) if n.strip().isdecimal() else 0 for n in args.images]
    if min(images, default=0) < 1:
        raise InputError(f"--images={','.join(args.images)}: give numbers, such as 1,4,16")
    common.check_writable(args.json)
    results = []
    for name, config in chosen(args.method, args.set):
        results.append(measure(name, config, images=images, steps=args.steps, rounds=args.rounds))
    facts = common.machine()
    print(f"{common.describe(facts)}\n\n{report(results)}")
    common.write_json(args.json, {"machine": facts, "settings": args.set, "methods": results})
    return 0


if __name__ == "__main__":
    sys.argv = common.as_overrides(sys.argv)
    _define_flags()
    cli.run(main)
