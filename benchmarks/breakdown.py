"""Where the time of a training step goes: contractions, arithmetic, moving data; by a trace.

    python -m benchmarks.breakdown [--method=NAME|all] [--side=512] [--steps=3] [--top=5]
                                   [--json=FILE] [--config.FIELD=VALUE ...]

What the columns mean: benchmarks/README.md.
"""

import collections
import gzip
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import flags

from benchmarks import common, roofline, throughput
from deepinternal.engine.parallel import Programs
from deepinternal.types import InputError
from launch import cli

KINDS = ("contractions", "arithmetic", "moving")
_CONTRACTIONS = ("ynn_fusion", "convolution", "dot", "conv")
_MOVING = frozenset(
    ("bitcast", "copy", "transpose", "concatenate", "slice", "pad", "reverse", "gather", "dynamic")
)
_NESTING = ("while", "call", "conditional")  # whose insides are in the trace themselves


def kind_of(name: str) -> str:
    """Of `KINDS`, what an operation of the compiled program does, by its name."""
    name = re.sub(r"[.\d]+$", "", name)
    if name.startswith(_CONTRACTIONS):
        return "contractions"
    words = set(re.split(r"[_-]", name)) - {"fusion", "update"}
    return "moving" if words <= _MOVING else "arithmetic"


def leaves(text: str) -> set[str]:
    """Names of all operations in a program in HLO's text form, but those that hold others."""
    return {name for name, kind in roofline.operations(text) if kind not in _NESTING}


def sums(events: Iterable[Mapping[str, Any]], names: set[str]) -> dict[str, float]:
    """Seconds by name, numbers at its end left out, of a trace's events that are operations.

    Args:
        events: of the trace, 'dur' in microseconds.
        names: of operations.
    """
    seconds: collections.Counter = collections.Counter()
    for event in events:
        if event.get("ph") == "X" and event["name"] in names:
            seconds[re.sub(r"[.\d]+$", "", event["name"])] += event["dur"] / 1e6
    return dict(seconds)


def measure(
    name: str, config: ml_collections.ConfigDict, *, photo: np.ndarray, steps: int
) -> dict[str, Any]:
    """Traces some steps of a method.

    Args:
        name: the method's name.
        config: its config.
        photo: (H, W, C) in [0, 1], degraded as the method supposes.
        steps: how many to trace, after three that are not.

    Returns:
        method, step_seconds (untraced, median), seconds per step by name, shares by kind.
    """
    method, inputs = throughput.sample(name, config, photo)
    programs, variant = Programs(method, steps_per_dispatch=1), method.variant(0, 0)
    state = programs.init(jax.random.key(0), inputs)
    taken = []
    for _ in range(3 + steps):
        start = time.perf_counter()
        state, _ = jax.block_until_ready(programs.steps(0, variant, 1, state, inputs))
        taken.append(time.perf_counter() - start)
    options = jax.profiler.ProfileOptions()
    options.host_tracer_level, options.python_tracer_level = 3, 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            for _ in range(steps):
                state, _ = programs.steps(0, variant, 1, state, inputs)
            jax.block_until_ready(state)
        trace = next(Path(folder).rglob("*.trace.json.gz")).read_bytes()
    events = json.loads(gzip.decompress(trace))["traceEvents"]
    found = sums(events, leaves(programs.program("steps").as_text()))
    total = sum(found.values())
    kinds = {k: sum(s for n, s in found.items() if kind_of(n) == k) / total for k in KINDS}
    return {
        "method": name,
        "step_seconds": statistics.median(taken[3:]),
        "seconds": {n: s / steps for n, s in sorted(found.items(), key=lambda item: -item[1])},
        "shares": kinds,
    }


def report(results: Sequence[dict[str, Any]], top: int) -> str:
    """The table for people."""
    rows = []
    for r in results:
        most = [f"{n} {1e3 * s:.1f}" for n, s in list(r["seconds"].items())[:top]]
        shares = [f"{r['shares'][kind]:.0%}" for kind in KINDS]
        rows.append(
            [
                r["method"],
                f"{1e3 * r['step_seconds']:.1f}",
                f"{1e3 * sum(r['seconds'].values()):.1f}",
                *shares,
                ", ".join(most),
            ]
        )
    return common.table(["method", "step ms", "traced ms", *KINDS, "most, ms"], rows)


def _define_flags() -> None:
    flags.DEFINE_string("method", "all", "Name of a method, or 'all'.")
    flags.DEFINE_integer("side", 512, "Of the photograph.", lower_bound=64, upper_bound=512)
    flags.DEFINE_integer("steps", 3, "Steps to trace.", lower_bound=1)
    flags.DEFINE_integer("top", 5, "Names to show of each method.", lower_bound=1)
    flags.DEFINE_string("json", None, "File for the figures.")
    flags.DEFINE_multi_string("set", [], "FIELD=VALUE; also spelled --config.FIELD=VALUE.")


def main() -> int:
    """Measures, prints the table and writes the JSON file; returns the exit status."""
    import skimage.data

    args = flags.FLAGS
    common.check_writable(args.json)
    photo = skimage.data.astronaut()[: args.side, : args.side].astype(np.float32) / 255
    results = []
    for name, config in throughput.chosen(args.method, args.set):
        try:
            results.append(measure(name, config, photo=photo, steps=args.steps))
        except ValueError as error:
            raise InputError(
                f"--side={args.side}: no example of {name} so small ({error}); try 512"
            ) from None
        jax.clear_caches()
    facts = common.machine()
    print(f"{common.describe(facts)}\n\n{report(results, args.top)}")
    common.write_json(args.json, {"machine": facts, "settings": args.set, "methods": results})
    return 0


if __name__ == "__main__":
    sys.argv = common.as_overrides(sys.argv)
    _define_flags()
    cli.run(main)
