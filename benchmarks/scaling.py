"""Many images: one by one, side by side on a device (vmap), and over several devices (pmap).

    python -m benchmarks.scaling [--method=zssr] [--images=8] [--lanes=1x1,1x8,2x1,8x1]
                                 [--steps=20] [--rounds=3] [--steps_per_dispatch=N] [--json=FILE]
                                 [--config.FIELD=VALUE ...]

Lanes are DEVICESxIMAGES. On CPU as many devices are forced as the largest of them needs; they share the
cores. What the columns mean: benchmarks/README.md.
"""

import dataclasses
import functools
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
from absl import flags

from benchmarks import common, throughput, timing
from deepinternal.engine.loop import Loop
from deepinternal.engine.parallel import Programs, force_cpu_devices
from deepinternal.engine.track import Track
from deepinternal.methods import registry
from deepinternal.types import InputError, Inputs, Method
from launch import cli

Lanes = tuple[int, int]


def parse_lanes(text: str) -> Lanes:
    """(devices, images on each) from '2x4'. Raises InputError."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text.strip())
    if not found:
        raise InputError(f"--lanes: {text!r} is not DEVICESxIMAGES, such as 1x8 or 4x1")
    return int(found[1]), int(found[2])


def train(programs: Programs, inputs: Inputs, images: int) -> float:
    """Seconds that training on so many images takes; each has a seed of its own."""
    start = time.perf_counter()
    tracks = (Track(inputs, seed=0, name=str(i)) for i in range(images))
    for track in Loop(programs).train(tracks):
        if track.error:
            raise track.error
    return time.perf_counter() - start


def measure(
    name: str,
    config: ml_collections.ConfigDict,
    lanes: Sequence[Lanes],
    *,
    images: int,
    steps: int,
    rounds: int,
    steps_per_dispatch: int = 0,
) -> list[dict[str, Any]]:
    """Rates of all arrangements of lanes, which take turns.

    Args:
        name: the method's name.
        config: its config; the input is as in `throughput.sample`.
        lanes: the arrangements.
        images: how many train in each run.
        steps: steps of each image.
        rounds: runs of each arrangement, besides a first one that compiles.
        steps_per_dispatch: 0 for the backend's default.

    Returns:
        For each: devices, images_per_device, compile_seconds, steps_per_second (of all images
        together: median, least and greatest), images_per_hour for the method's own step count.
    """
    method, inputs = throughput.sample(name, config)
    limit = sum(stage.steps for stage in method.stages)
    short = _shortened(method, steps)
    options = {"steps_per_dispatch": steps_per_dispatch}
    programs = {
        pair: Programs(short, devices=pair[0], images_per_device=pair[1], **options)
        for pair in lanes
    }
    for each in programs.values():
        train(each, inputs, images)
    turns = {pair: functools.partial(train, programs[pair], inputs, images) for pair in lanes}
    taken = timing.take_turns(turns, rounds)
    results = []
    for devices, per_device in lanes:
        rates = [images * steps / seconds for seconds in taken[devices, per_device]]
        rate = timing.spread(rates)
        results.append(
            {
                "devices": devices,
                "images_per_device": per_device,
                "compile_seconds": programs[devices, per_device].seconds,
                "steps_per_second": rate,
                "images_per_hour": 3600 * rate["median"] / limit,
            }
        )
    return results


def _shortened(method: Method, steps: int) -> Method:
    """Only so many steps of the first stage, without evaluations."""
    first = dataclasses.replace(
        method.stages[0], steps=steps, evaluate=None, evaluate_every=0, advance=None
    )
    return dataclasses.replace(method, stages=(first,))


def report(results: Sequence[dict[str, Any]]) -> str:
    """The table for people."""
    base = results[0]["steps_per_second"]["median"]
    rows = []
    for r in results:
        rate = r["steps_per_second"]
        rows.append(
            [
                f"{r['devices']} x {r['images_per_device']}",
                f"{rate['median']:.2f} ({rate['min']:.2f}-{rate['max']:.2f})",
                f"{rate['median'] / base:.2f}",
                f"{r['images_per_hour']:.1f}",
                f"{r['compile_seconds']:.1f}",
            ]
        )
    head = ["devices x images", "steps/s", "to the first", "images/h", "compile s"]
    return common.table(head, rows)


def _define_flags() -> None:
    flags.DEFINE_string("method", "zssr", "Name of a method.")
    flags.DEFINE_integer("images", 8, "Images to train on.", lower_bound=1)
    flags.DEFINE_list("lanes", ["1x1", "1x8", "2x1", "4x1", "8x1"], "DEVICESxIMAGES, with commas.")
    flags.DEFINE_string("json", None, "File for the figures.")
    flags.DEFINE_integer("steps", 20, "Steps of each image.", lower_bound=1)
    flags.DEFINE_integer("rounds", 3, "Turns.", lower_bound=1)
    flags.DEFINE_integer(
        "steps_per_dispatch", 0, "Steps per dispatch; 0: the default.", lower_bound=0
    )
    flags.DEFINE_multi_string("set", [], "FIELD=VALUE; also spelled --config.FIELD=VALUE.")


def main() -> int:
    """Measures, prints the table and writes the JSON file; returns the exit status."""
    args = flags.FLAGS
    lanes = [parse_lanes(text) for text in args.lanes]
    most = max(devices for devices, _ in lanes)
    force_cpu_devices(most)
    if most > jax.local_device_count():
        raise InputError(f"--lanes: there are {jax.local_device_count()} devices, not {most}")
    common.check_writable(args.json)
    config = registry.defaults(args.method)
    common.override(config, args.set)
    sizes = {"images": args.images, "steps": args.steps, "rounds": args.rounds}
    sizes["steps_per_dispatch"] = args.steps_per_dispatch
    results = measure(args.method, config, lanes, **sizes)
    facts = common.machine()
    print(f"{common.describe(facts)}\n{args.images} images, {args.steps} steps each\n")
    print(report(results))
    settings = {"method": args.method, "set": args.set, **sizes}
    common.write_json(args.json, {"machine": facts, "settings": settings, "runs": results})
    return 0


if __name__ == "__main__":
    sys.argv = common.as_overrides(sys.argv)
    _define_flags()
    cli.run(main)
