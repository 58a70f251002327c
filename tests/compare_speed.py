"""Times training steps of a base commit and of the working tree, in turns.

    python -m tests.compare_speed --base=COMMIT [--cases=NAME,...] [--rounds=N] [--seconds=S]
                                  [--keep=DIR]

Two child processes, one for each checkout, compile the same case and then take turns: base, working
tree, working tree, base, ... A turn is as many steps as the base takes about S seconds for, dispatched
as the library does. Prints for each case both medians, the median (least-greatest) of the ratios
working tree / base within a round, the ratio of the fastest turns, and the median of the ratios of
processor time, which other work disturbs least. The base may be older than the recipes. Run by hand on
a machine that does nothing else.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# Name -> method, presets, and the part of a photograph of 512x512 pixels: rows, columns, and whether it
# is the image itself or what the method makes its example from.
CASES = {
    "zssr fast": ("zssr", "fast", (256, 256), "example"),
    "dip smoke": ("dip", "smoke", (512, 512), "example"),
    "dip fast": ("dip", "fast", (128, 128), "image"),
    "segmentation fast": ("segmentation", "fast", (96, 96), "image"),
    "ingan lite": ("ingan", "lite", (112, 137), "image"),
    "patches": ("patches", "", (96, 96), "image"),
    "kernelgan fast": ("kernelgan", "fast", (256, 256), "example"),
}


# In a child process, whose `deepinternal` is that of a checkout.


def build(method: str, presets: str, size: tuple[int, int], kind: str) -> Callable:
    """Compiles a step of the method's first stage.

    Returns:
        What takes a number of steps and returns their wall time and processor time in seconds.
    """
    import jax
    import numpy as np
    import skimage.data

    from deepinternal.types import input_spec

    try:
        from deepinternal.engine.parallel import Programs
    except ImportError:
        from deepinternal.runtime.parallel import Programs

    recipe, config = _recipe(method, presets)
    y, x = ((512 - n) // 2 for n in size)
    photo = skimage.data.astronaut()[y : y + size[0], x : x + size[1]].astype(np.float32) / 255
    sides = {}
    if kind == "example":
        made = recipe.example(config, photo)
        photo, sides = getattr(made, "image", made), getattr(made, "sides", {})
    inputs = recipe.prepare(config, photo, **sides)
    programs = Programs(recipe.make(config, input_spec(inputs)))
    variant = programs.method.stages[0].variant(0, 0)
    state = programs.init(jax.random.key(0), inputs)

    def run(steps: int) -> tuple[float, float]:
        nonlocal state
        began, used = time.perf_counter(), time.process_time()
        for _ in range(steps):
            state, _ = programs.steps(0, variant, 1, state, inputs)
        jax.block_until_ready(state)
        return time.perf_counter() - began, time.process_time() - used

    run(2)
    return run


def _recipe(method: str, presets: str):
    """A recipe, or a module of the protocol before recipes; and a config."""
    try:
        from deepinternal.methods import find
    except ImportError:
        from deepinternal.methods import registry

        return registry.get(method), registry.configured(method, presets, {})
    return find(method), find(method).build(presets)


def serve() -> None:
    """Answers each line of stdin, a case to build or a number of steps, with seconds."""
    run = None
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, int):
            print(json.dumps(run(asked)), flush=True)
            continue
        began = time.perf_counter()
        run = build(*asked)
        print(json.dumps(time.perf_counter() - began), flush=True)


class Child:
    """A process that trains with the package of a checkout."""

    def __init__(self, checkout: Path):
        environment = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", **os.environ}
        environment["PYTHONPATH"] = str(checkout)
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, "--serve"],
            cwd=checkout,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: object) -> Any:
        """The answer to a line of `serve`."""
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"{what}: the process ended with status {self._process.wait()}")
        return json.loads(answer)

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


# In the parent.


def turns(case: tuple, checkouts: tuple[Path, Path], rounds: int, seconds: float) -> list[str]:
    """Cells of a case's row of the table."""
    children = [Child(checkout) for checkout in checkouts]
    try:
        compiled = [child.ask(case) for child in children]
        steps = max(1, round(3 * seconds / children[0].ask(3)[0]))
        taken: list[list[float]] = [[], []]
        used: list[list[float]] = [[], []]
        for i in range(rounds):
            for side in (0, 1) if i % 2 == 0 else (1, 0):
                wall, processor = children[side].ask(steps)
                taken[side].append(wall / steps)
                used[side].append(processor / steps)
    finally:
        for child in children:
            child.close()
    ratios, processor = (
        [new / old for old, new in zip(*values, strict=True)] for values in (taken, used)
    )
    return [
        *(f"{1e3 * statistics.median(times):.1f}" for times in taken),
        f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})",
        f"{min(taken[1]) / min(taken[0]):.3f}",
        f"{statistics.median(processor):.3f}",
        " / ".join(f"{s:.0f}" for s in compiled),
    ]


def main(argv: list[str]) -> None:
    """Compares all cases asked for."""
    del argv
    args = flags.FLAGS
    commit = subprocess.check_output(
        ["git", "rev-parse", "--short", args.base], cwd=ROOT, text=True
    ).strip()
    base = compare.checkout(commit, Path(args.keep) / commit)
    print("| case | base ms | now ms | now / base | least / least | processor | compile s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in args.cases or CASES:
        cells = turns(CASES[name], (base, ROOT), args.rounds, args.seconds)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve()
    else:
        from absl import app, flags

        from tests import compare  # which defines --base and --keep

        flags.DEFINE_list("cases", [], "Cases to compare; all by default.")
        flags.DEFINE_integer("rounds", 15, "Turns of each.", lower_bound=1)
        flags.DEFINE_float("seconds", 1.0, "Of a turn, about.", lower_bound=0.01)
        app.run(main)
