"""What is timed: the full step as the runtime takes it, the matmul peak, and taking turns."""

import dataclasses
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.roofline import Cost, contraction_flops, cost
from deepinternal.engine.compiling import compiler_options
from deepinternal.engine.loop import Loop
from deepinternal.engine.parallel import Programs
from deepinternal.engine.progress import Progress
from deepinternal.engine.track import Track
from deepinternal.types import Inputs, Method, TrainState


class _TimedPrograms(Programs):
    """Programs that note when the first step of a run was dispatched."""

    first: float | None = None

    def steps(self, *args):
        """As in `Programs`."""
        if self.first is None:
            self.first = time.perf_counter()
        return super().steps(*args)

    @property
    def single_step(self) -> jax.stages.Compiled | None:
        """The program of one step of one image, where the runs have it."""
        if self.chunk > 1 or self.lanes > 1:
            return None
        return self.program("steps")


class FullStep:
    """Training as the runtime does it, log included, without evaluations and checkpoints."""

    def __init__(self, method: Method, inputs: Inputs, *, steps: int, lanes: int = 1):
        """Sets it up.

        Args:
            method: the method.
            inputs: of an image.
            steps: length of a run, rounded up to whole dispatches.
            lanes: how many train side by side, each on this image.
        """
        chunk = Programs(method).chunk
        self.steps, self.chunk = -(-steps // chunk) * chunk, chunk
        first = dataclasses.replace(
            method.stages[0], steps=self.steps, evaluate=None, evaluate_every=0, advance=None
        )
        shortened = dataclasses.replace(method, stages=(first,))
        self.programs = _TimedPrograms(shortened, images_per_device=lanes)
        self._inputs = inputs

    def run(self, *, seed: int = 0) -> tuple[float, TrainState]:
        """Trains from the beginning; returns seconds per step of all lanes, and the last state."""
        self.programs.first = None
        with tempfile.TemporaryDirectory() as folder:
            state = None
            for track in Loop(self.programs).train(self._tracks(Path(folder), seed)):
                if track.error:
                    raise track.error
                state = track.run.state
            return (time.perf_counter() - self.programs.first) / self.steps, state

    def lengthen(self, seconds: float) -> None:
        """Makes a run as many steps long as take about so many seconds, in whole dispatches."""
        dispatch = self.run()[0] * self.chunk
        steps = self.chunk * max(1, round(seconds / dispatch))
        if steps == self.steps:
            return
        self.steps, method = steps, self.programs.method
        stage = dataclasses.replace(method.stages[0], steps=steps)
        self.programs.method = dataclasses.replace(method, stages=(stage,))
        self.run()  # for other variants are compiled

    def _tracks(self, folder: Path, seed: int) -> Iterator[Track]:
        for lane in range(self.programs.lanes):
            yield Track(
                self._inputs,
                seed=seed,
                name=str(lane),
                log_path=str(folder / f"{lane}.jsonl"),
                progress=Progress("benchmark", self.steps, stream=io.StringIO()),
            )

    def cost(self, state: TrainState) -> tuple[Cost, float | None]:
        """What a whole step of an image costs; and XLA's count of its operations before optimising."""
        method = self.programs.method
        variant = method.variant(0, 0)
        step = lambda state, inputs: method.step(state, inputs, variant)
        traced = jax.jit(step).trace(state, self._inputs)
        lowered = traced.lower()
        compiled = self.programs.single_step or lowered.compile(compiler_options("steps"))
        before = (lowered.cost_analysis() or {}).get("flops")
        return cost(compiled, contraction_flops(traced.jaxpr.jaxpr)), before


class MethodStep:
    """The jitted step of a method's first stage, alone."""

    def __init__(self, method: Method, inputs: Inputs, variant: Hashable = None):
        """Compiles it and makes the first state.

        Args:
            method: the method.
            inputs: of an image.
            variant: static variant of the step.
        """
        self._inputs = jax.tree.map(jnp.asarray, inputs)
        self._state = jax.jit(method.init)(jax.random.key(0), self._inputs)
        start = time.perf_counter()
        step = jax.jit(method.step, static_argnums=2, donate_argnums=0)
        lowered = step.lower(self._state, self._inputs, variant)
        self._step = lowered.compile(compiler_options("steps"))
        self.compile_seconds = time.perf_counter() - start

    def run(self, steps: int) -> float:
        """Seconds per step."""
        start = time.perf_counter()
        for _ in range(steps):
            self._state, metrics = self._step(self._state, self._inputs)
        jax.block_until_ready((self._state, metrics))
        return (time.perf_counter() - start) / steps


class MatmulPeak:
    """Rate of a large float32 matrix product, at the precision the net has."""

    def __init__(self, precision: str, side: int):
        precision = None if precision == "default" else precision
        self._flops = 2 * side**3
        rng = np.random.default_rng(0)
        self._matrix = jnp.asarray(rng.standard_normal((side, side), np.float32))
        product = jax.jit(lambda a: jnp.matmul(a, a, precision=precision))
        self._program = product.lower(self._matrix).compile()
        self._repeats = max(1, round(0.1 / self._seconds(1)))

    def _seconds(self, repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            result = self._program(self._matrix)
        jax.block_until_ready(result)
        return (time.perf_counter() - start) / repeats

    def run(self) -> float:
        """FLOP/s, averaged over about a tenth of a second."""
        return self._flops / self._seconds(self._repeats)


def take_turns(turns: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Calls all functions once a round, each round beginning with another one."""
    taken: dict[str, list[float]] = {name: [] for name in turns}
    names = list(turns)
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            taken[name].append(turns[name]())
    return taken


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
