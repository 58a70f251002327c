"""What training several images in one program costs per image, by the form of their convolutions.

    python -m benchmarks.batching [--images=1,4] [--forms=loop,grouped,patches,taps]
                                  [--presets=ideal,fast] [--steps=N] [--rounds=N] [--json=FILE]
                                  [--config.FIELD=VALUE ...]

What the columns mean: benchmarks/README.md.
"""

import functools
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import flags

from benchmarks import bare, common, throughput, timing
from deepinternal.engine.compiling import compiler_options
from deepinternal.engine.parallel import Programs
from deepinternal.methods import registry
from deepinternal.methods.sr import task
from deepinternal.methods.sr.presets import preset
from deepinternal.nets.zssr import ZSSRNet
from deepinternal.ops.conv import batching
from deepinternal.types import InputError, Inputs, Method, TrainState, input_spec
from launch import cli

ONE_BY_ONE = "one by one"


class Trainer:
    """Training steps of several images, compiled; keeps its states between calls.

    Attributes:
        compile_seconds: of tracing and compiling the steps of one dispatch.
    """

    def __init__(self, method: Method, inputs: Inputs, *, images: int, batched: bool):
        """Args: method; inputs: of one image; images; batched: all in one dispatch, or one each."""
        keys = jax.random.split(jax.random.key(0), images)
        step = lambda state, inputs: method.step(state, inputs)[0]
        self._chunk, self._images = Programs(method).chunk, images
        self._inputs = inputs
        init = jax.jit(method.init)
        self._states = [init(key, inputs) for key in keys]
        if batched:
            step = jax.vmap(step)
            stack = lambda *leaves: jnp.stack(leaves)
            self._inputs = jax.tree.map(stack, *[inputs] * images)
            self._states = [jax.tree.map(stack, *self._states)]

        def steps(state: TrainState, inputs: Inputs) -> TrainState:
            if self._chunk == 1:
                return step(state, inputs)
            body = lambda state, _: (step(state, inputs), None)
            return jax.lax.scan(body, state, length=self._chunk)[0]

        start = time.perf_counter()
        jitted = jax.jit(steps, donate_argnums=0)
        lowered = jitted.lower(self._states[0], self._inputs)
        self._program = lowered.compile(compiler_options("steps"))
        self.compile_seconds = time.perf_counter() - start

    def run(self, steps: int) -> float:
        """Takes `steps` steps, rounded up to whole dispatches; returns seconds per image and step."""
        dispatches = -(-steps // self._chunk)
        start = time.perf_counter()
        for _ in range(dispatches):
            self._states = [self._program(state, self._inputs) for state in self._states]
        jax.block_until_ready(self._states)
        return (time.perf_counter() - start) / (dispatches * self._chunk * self._images)


def measure(
    config: ml_collections.ConfigDict,
    *,
    images: Sequence[int] = (1, 4),
    forms: Sequence[str] = batching.FORMS,
    steps: int = 4,
    rounds: int = 5,
    photo: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Measures ZSSR's whole training step.

    Args:
        config: its config.
        images: numbers of images.
        forms: as in `ops.conv.convolution.conv2d`. A single image has one program in each form and
            is measured once.
        steps: steps in a row of each of the programs that take turns.
        rounds: turns.
        photo: as in `throughput.sample`.

    Returns:
        Plain numbers, for each number of images and each form: seconds, FLOP/s; spreads as
        {'median', 'min', 'max'}.
    """
    _, inputs = throughput.sample("zssr", config, photo)
    flops = bare.training_flops(bare.zssr(config, inputs).convs)
    trainers = {}
    for n in images:
        for form in (ONE_BY_ONE, *(forms if n > 1 else forms[:1])):
            method = _method(config, inputs, None if form == ONE_BY_ONE else form)
            trainer = Trainer(method, inputs, images=n, batched=form != ONE_BY_ONE)
            trainer.run(steps)
            trainers[n, form] = trainer
    turns: dict[Any, Callable[[], float]] = {
        key: functools.partial(trainer.run, steps) for key, trainer in trainers.items()
    }
    taken = timing.take_turns(turns, rounds)
    results = []
    for (n, form), seconds in taken.items():
        ratios = [s / one for s, one in zip(seconds, taken[n, ONE_BY_ONE], strict=True)]
        figures = timing.spread(seconds)
        results.append(
            {
                "images": n,
                "form": form,
                "compile_seconds": trainers[n, form].compile_seconds,
                "seconds_per_image": figures,
                "ratio_to_one_by_one": timing.spread(ratios),
                "flops_per_second": flops / figures["median"],
            }
        )
    return results


def _method(config: ml_collections.ConfigDict, inputs: Inputs, form: str | None) -> Method:
    """ZSSR whose net has its batched convolutions in this form."""
    net = functools.partial(ZSSRNet, batching=form)
    with mock.patch.object(task, "ZSSRNet", net):
        return registry.make("zssr", config, input_spec(inputs))


def report(results: dict[str, list[dict[str, Any]]]) -> str:
    """The table for people."""
    ms = lambda s: f"{1e3 * s['median']:.1f} ({1e3 * s['min']:.1f}-{1e3 * s['max']:.1f})"
    fold = lambda s: f"{s['median']:.2f} ({s['min']:.2f}-{s['max']:.2f})"
    head = ["preset", "images", "form", "compile s", "ms/image", "to one by one", "GFLOP/s"]
    rows = [
        [
            name,
            str(r["images"]),
            r["form"],
            f"{r['compile_seconds']:.1f}",
            ms(r["seconds_per_image"]),
            fold(r["ratio_to_one_by_one"]),
            f"{r['flops_per_second'] / 1e9:.1f}",
        ]
        for name, figures in results.items()
        for r in figures
    ]
    return common.table(head, rows)


def _define_flags() -> None:
    flags.DEFINE_list("images", ["1", "4"], "How many images to train, several with commas.")
    flags.DEFINE_list("forms", list(batching.FORMS), "Forms of batched convolutions.")
    flags.DEFINE_list("presets", ["ideal", "fast"], "Presets of ZSSR.")
    flags.DEFINE_string("json", None, "File for the figures.")
    flags.DEFINE_integer("steps", 4, "Steps in a row of each program.", lower_bound=1)
    flags.DEFINE_integer("rounds", 5, "Turns.", lower_bound=1)
    flags.DEFINE_multi_string("set", [], "FIELD=VALUE; also spelled --config.FIELD=VALUE.")


def main() -> int:
    """Measures, prints the table and writes the JSON file; returns the exit status."""
    args = flags.FLAGS
    images = [int(n) if n.strip().isdecimal() else 0 for n in args.images]
    if min(images, default=0) < 1:
        raise InputError(f"--images={','.join(args.images)}: give numbers, such as 1,4,16")
    if not args.forms or not set(args.forms) <= set(batching.FORMS):
        choices = ", ".join(batching.FORMS)
        raise InputError(f"--forms={','.join(args.forms)}: give some of {choices}")
    common.check_writable(args.json)
    results = {}
    for name in args.presets:
        config = registry.defaults("zssr")
        config.update(preset(name))
        common.override(config, args.set)
        results[name] = measure(
            config, images=images, forms=args.forms, steps=args.steps, rounds=args.rounds
        )
    facts = common.machine()
    print(f"{common.describe(facts)}\n\n{report(results)}")
    common.write_json(args.json, {"machine": facts, "settings": args.set, "presets": results})
    return 0


if __name__ == "__main__":
    sys.argv = common.as_overrides(sys.argv)
    _define_flags()
    cli.run(main)
