"""Steps and runs that the benchmarks time, in turns, and the memory that they need."""

import dataclasses
import io
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.config import MethodConfig
from deepinternal.engine.compiling import compiler_options
from deepinternal.engine.loop import Loop
from deepinternal.engine.parallel import Programs
from deepinternal.engine.progress import Progress
from deepinternal.engine.run import Run
from deepinternal.recipe import Recipe
from deepinternal.replicas import over_replicas
from deepinternal.types import Inputs, Method, TrainState


def bundled_photo() -> np.ndarray:
    """Returns the photograph from which examples are made, (512, 512, 3) in [0, 1]."""
    import skimage.data

    return skimage.data.astronaut().astype(np.float32) / 255


def sample(recipe: Recipe, config: MethodConfig, photo: np.ndarray | None = None) -> Inputs:
    """Returns the prepared inputs of a recipe's example.

    Args:
        recipe: The recipe of the method.
        config: The config of the method.
        photo: (H, W, C) in [0, 1], from which the example is made; None: `bundled_photo()`.
    """
    made = recipe.example(config, bundled_photo() if photo is None else photo)
    return recipe.prepare(config, made.image, **made.sides)


class FullStep:
    """Training of images as in a user's run with its log, but without evaluations and checkpoints.

    Attributes:
        programs: The compiled programs.
        steps: Number of steps of each image in a run.
    """

    def __init__(
        self,
        method: Method,
        inputs: Inputs,
        *,
        steps: int = 1,
        images: int = 1,
        lanes: tuple[int, int] = (1, 1),
        **options: Any,
    ):
        """Prepares the training; the first run compiles it.

        Args:
            method: The method, of which the first stage is trained.
            inputs: The inputs of an image.
            steps: Number of steps of each image, rounded up to whole dispatches.
            images: Number of copies of the image that are trained.
            lanes: Number of devices, and number of images side by side on each.
            **options: Further arguments of `Programs`, such as `steps_per_dispatch`.
        """
        self.programs = _TimedPrograms(
            method, devices=lanes[0], images_per_device=lanes[1], **options
        )
        self._inputs, self._images = inputs, images
        self.set_steps(steps)

    def set_steps(self, steps: int) -> None:
        """Sets the number of steps of a run, rounded up to whole dispatches."""
        chunk, method = self.programs.steps_per_dispatch, self.programs.method
        self.steps = -(-max(steps, 1) // chunk) * chunk
        stage = dataclasses.replace(
            method.stages[0], steps=self.steps, evaluate=None, evaluate_every=0, advance=None
        )
        self.programs.method = dataclasses.replace(method, stages=(stage,))

    def train(self) -> tuple[float, TrainState]:
        """Trains all images; returns the seconds per step and image, and the last image's state."""
        self.programs.first = None
        with tempfile.TemporaryDirectory() as folder:
            state = None
            for run in Loop(self.programs).train(self._runs(Path(folder))):
                if run.error:
                    raise run.error
                state = run.state
        seconds = time.perf_counter() - self.programs.first
        return seconds / (self.steps * self._images), state

    def run(self) -> float:
        """Trains all images; returns the seconds per step and image."""
        return self.train()[0]

    def lengthen(self, seconds: float) -> None:
        """Sets the length of a run to about the given number of seconds, in whole dispatches."""
        self.run()  # compiles the step
        self.set_steps(round(seconds / (self.run() * self._images)))

    @property
    def memory(self) -> int:
        """Bytes that the largest program compiled so far needs; 0 where that is not known."""
        return max(map(program_memory, self.programs.compiled), default=0)

    def _runs(self, folder: Path) -> Iterator[Run]:
        for i in range(self._images):
            yield Run(
                self._inputs,
                seed=0,
                name=str(i),
                log_path=str(folder / f"{i}.jsonl"),
                progress=Progress("benchmark", self.steps, stream=io.StringIO()),
            )


class _TimedPrograms(Programs):
    """Programs that record when the first step of a run was dispatched."""

    first: float | None = None

    @property
    def compiled(self) -> list[jax.stages.Compiled]:
        """All programs compiled so far."""
        return [*self._compiled.values()]

    def steps(self, *args):
        """As in `Programs`."""
        if self.first is None:
            self.first = time.perf_counter()
        return super().steps(*args)


def program_memory(program: jax.stages.Compiled) -> int:
    """Returns the bytes that a program needs while it runs; 0 where that is not known."""
    sizes = program.memory_analysis()
    if not sizes:
        return 0
    total = sizes.temp_size_in_bytes + sizes.argument_size_in_bytes + sizes.output_size_in_bytes
    return total - sizes.alias_size_in_bytes


class MethodStep:
    """The jitted step of a method's first stage.

    Attributes:
        compile_seconds: Seconds for tracing and compiling it.
        memory: Bytes that it needs; 0 where that is not known.
    """

    def __init__(self, method: Method, inputs: Inputs, variant: Hashable = None):
        """Compiles the step and makes the first state.

        Args:
            method: The method.
            inputs: The inputs of an image.
            variant: The static variant of the step.
        """
        method = over_replicas(method)
        self._inputs = jax.tree.map(jnp.asarray, inputs)
        self._state = jax.jit(method.init)(jax.random.key(0), self._inputs)
        began = time.perf_counter()
        step = jax.jit(method.stages[0].step, static_argnums=2, donate_argnums=0)
        lowered = step.lower(self._state, self._inputs, variant)
        self._step = lowered.compile(compiler_options("steps"))
        self.compile_seconds = time.perf_counter() - began
        self.memory = program_memory(self._step)

    def run(self, steps: int) -> float:
        """Seconds per step."""
        began = time.perf_counter()
        for _ in range(steps):
            self._state, metrics = self._step(self._state, self._inputs)
        jax.block_until_ready((self._state, metrics))
        return (time.perf_counter() - began) / steps


def take_turns(turns: Mapping[Hashable, Callable[[], float]], rounds: int) -> dict[Any, list]:
    """Calls all functions once in each round; each round begins with another function."""
    taken: dict[Hashable, list[float]] = {name: [] for name in turns}
    names = list(turns)
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            taken[name].append(turns[name]())
    return taken


def spread(values: Sequence[float]) -> dict[str, float]:
    """Returns the median, the minimum and the maximum of values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(a: Sequence[float], b: Sequence[float]) -> dict[str, float]:
    """Returns the spread of the ratios a / b within the rounds."""
    return spread([x / y for x, y in zip(a, b, strict=True)])


def peak_memory() -> dict[str, float]:
    """Returns the peak memory of this process in MB (1e6 bytes), on the host and on the device."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {"host": peak * (1 if sys.platform == "darwin" else 1024) / 1e6}
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        figures["device"] = stats["peak_bytes_in_use"] / 1e6
    return figures
