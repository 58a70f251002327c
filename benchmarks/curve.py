"""Curves of quality over wall time: a user's training run that is measured on the way."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import timing
from deepinternal.codecs.image_io import read_image
from deepinternal.config import MethodConfig
from deepinternal.engine.checkpoint import shapes_at
from deepinternal.engine.loop import train
from deepinternal.engine.parallel import Programs
from deepinternal.engine.run import Run
from deepinternal.recipe import Recipe
from deepinternal.replicas import over_replicas
from deepinternal.runs import results
from deepinternal.types import InputError, Inputs, Method, PyTree, TrainState

SCORES = ("psnr_y", "ssim_y", "psnr_rgb")  # metrics of the result against the ground truth
GREATER = (*SCORES, "kernel_correlation", "kernel_psnr", "kernel_agreement")  # greater is better
Pair = tuple[Path, Path]  # an image and its ground truth
FIRST_SHARE = 0.01  # fraction of the last stage's steps at which the first point lies


class Clock:
    """A clock that shows the seconds since its creation without those in which it was paused."""

    def __init__(self, now: Callable[[], float] = time.perf_counter):
        """Args: now, a function that returns the time in seconds since any moment."""
        self.now = now
        self._start = now()

    def seconds(self) -> float:
        """The seconds that the clock shows."""
        return self.now() - self._start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Pauses the clock within a `with` block."""
        began = self.now()
        try:
            yield
        finally:
            self._start += self.now() - began


@dataclasses.dataclass(frozen=True)
class Point:
    """A point of a curve: the quality of the result after a number of steps and seconds."""

    steps: int
    seconds: float
    value: float


@dataclasses.dataclass(frozen=True)
class Measure:
    """A metric of a run.

    Attributes:
        make: `(programs, state, inputs) -> Any`, on the host; makes the result, and its time counts.
        score: Computes the metric from the result of `make`; its time does not count.
        greater: Whether greater values are better.
    """

    make: Callable[["Watched", TrainState, Inputs], Any]
    score: Callable[[Any], float]
    greater: bool = True


@dataclasses.dataclass(frozen=True)
class Given:
    """The data of a run.

    Attributes:
        inputs: The prepared inputs of the method.
        size: (H, W) of the image.
        truth: (H, W, C) in [0, 1], or None.
    """

    inputs: Inputs
    size: tuple[int, int]
    truth: np.ndarray | None


def read(recipe: Recipe, config: MethodConfig, pair: Pair | None) -> Given:
    """Reads and prepares an image and its ground truth, or the method's example if `pair` is None.

    Raises:
        InputError: A file or the config cannot be used.
    """
    if pair is None:
        made = recipe.example(config, timing.bundled_photo())
        image, truth, sides = made.image, made.truth, made.sides
    else:
        if files := [f for f in recipe.side_inputs if getattr(config, f)]:
            raise InputError(f"config.{files[0]}: must be empty with --data")
        image, truth, sides = read_image(pair[0]).pixels, read_image(pair[1]).pixels, {}
    inputs = recipe.prepare(config, image, **sides)
    size = np.shape(image[0] if isinstance(image, list) else image)[-3:-1]
    return Given(inputs, size, truth if recipe.scored else None)


def figure(metric: str, method: Method, given: Given) -> Measure:
    """Returns the measure for a metric of a run.

    Args:
        metric: One of `SCORES`, or a number among the metrics of the method's steps or its outputs.
        method: The method, made for `given`.
        given: The data of the run.

    Raises:
        InputError: There is no ground truth or no such number.
    """
    method = over_replicas(method)
    state, inputs = shapes_at(method, given.inputs)
    outputs = jax.eval_shape(method.outputs, state, inputs)
    if metric in SCORES:
        _check_truth(metric, given.truth, outputs["result"].value.shape)
        make = lambda programs, *at: results.cut(programs.outputs(*at)["result"]).value
        return Measure(make, lambda made: score(made, given)[metric])
    stage = method.stages[-1]
    step = lambda s, i: stage.step(s, i, stage.variant(0, 0))
    numbers = jax.eval_shape(step, state, inputs)[1]
    scalars = [n for n, o in outputs.items() if o.kind == "scalar" and o.value.shape == ()]
    if metric in numbers:
        make = lambda programs, *_: jax.device_get(programs.numbers[metric])[-1]
    elif metric in scalars:
        make = lambda programs, *at: np.asarray(programs.outputs(*at)[metric].value)
    else:
        known = ", ".join(dict.fromkeys((*SCORES, *sorted(numbers), *scalars)))
        raise InputError(f"--metric={metric}: {method.name} has no such number; there are: {known}")
    return Measure(make, float, metric in GREATER)


def _check_truth(metric: str, truth: np.ndarray | None, shape: tuple[int, ...]) -> None:
    if truth is None:
        raise InputError(
            f"--metric={metric}: there is no ground truth; give pairs in --data, or another metric, "
            "such as loss"
        )
    if truth.shape[:2] != shape[:2]:
        (h, w), (y, x) = truth.shape[:2], shape[:2]
        raise InputError(f"--data: a ground truth is {h}x{w}, but its result will be {y}x{x}")


def score(result: np.ndarray, given: Given) -> dict[str, float]:
    """Scores a result (H, W[, C]) in [0, 1] after rounding to 8 bits, as in result files."""
    result = result.reshape(*result.shape[:2], -1)
    pixels = np.float32(np.round(255 * np.clip(result, 0, 1)) / 255)
    return results.score(pixels, given.truth, results.border_of(given.size, pixels.shape[:2]))


def spaced(steps: int, points: int) -> list[int]:
    """Returns at most `points` step numbers, spaced geometrically from 1 % of `steps` to `steps`."""
    return sorted({round(x) for x in np.geomspace(max(1, FIRST_SHARE * steps), steps, points)})


class Watched(Programs):
    """Programs of a single lane that pass states of the last stage to `look` after a dispatch.

    Attributes:
        look: Gets a state and its inputs, which it must not keep, since the next dispatch donates them.
        numbers: The metrics of the last dispatch, arrays (steps of the dispatch,).
    """

    def __init__(self, method: Method, points: int, **options):
        """Args: the method; the number of steps between states; options of `Programs`."""
        super().__init__(method, **options)
        self.look: Callable[[TrainState, Inputs], None] = lambda *_: None
        self.numbers: dict[str, jax.Array] = {}
        self._due = spaced(self.method.stages[-1].steps, points)
        self._stage = self._dispatched = self._offset = 0

    def taken(self, state: TrainState) -> int:
        """The number of steps taken in all stages; waits for them."""
        return self._offset + int(np.max(jax.device_get(state.step)))

    def advance(self, stage: int, state: TrainState, inputs: Inputs) -> tuple[TrainState, Inputs]:
        """As in `Programs`."""
        self._offset, self._stage, self._dispatched = self.taken(state), stage + 1, 0
        return super().advance(stage, state, inputs)

    def steps(self, stage: int, variant, count: int, states, inputs, budget=None):
        """As in `Programs`."""
        states, seen = super().steps(stage, variant, count, states, inputs, budget)
        self.numbers = seen[0]
        self._dispatched += count
        spec = self.method.stages[stage]
        every = spec.evaluate_every if spec.evaluate else 0
        if not every or self._dispatched % every:  # else after the evaluation
            self._show(states, inputs)
        return states, seen

    def evaluate(self, stage: int, states, inputs, chosen=None) -> tuple[TrainState, PyTree]:
        """As in `Programs`."""
        states, tests = super().evaluate(stage, states, inputs, chosen)
        self._show(states, inputs)
        return states, tests

    def _show(self, state: TrainState, inputs: Inputs) -> None:
        if self._stage + 1 < len(self.method.stages):
            return
        reached = sum(step <= self._dispatched for step in self._due)
        if reached:
            self._due = self._due[reached:]
            self.look(state, inputs)


def follow(
    programs: Watched, inputs: Inputs, measure: Measure, *, seed: int, clock: Clock
) -> tuple[list[Point], Run]:
    """Trains to the end and measures points on the way, during which the clock is paused.

    Args:
        programs: New programs.
        inputs: The method's inputs.
        measure: The measure.
        seed: Seed of the random key.
        clock: A clock that was started when the first byte was read.

    Returns:
        Points in the order of their steps, the last one at the end, and the state of the run. The
        seconds of a point include the time to make its result once and to compile that.
    """
    found: dict[int, Point] = {}
    compiling = 0.0  # seconds to compile the functions that make the result

    def look(state: TrainState, inputs: Inputs) -> None:
        nonlocal compiling
        steps = programs.taken(jax.block_until_ready(state))
        seconds = clock.seconds()
        with clock.paused():
            before, began = programs.seconds, clock.now()
            made = measure.make(programs, state, inputs)
            making = clock.now() - began - (programs.seconds - before)
            compiling += programs.seconds - before
            found[steps] = Point(steps, seconds + compiling + making, measure.score(made))

    programs.look = look
    run = train(programs, inputs, seed=seed)
    look(run.state, run.inputs)
    return [found[steps] for steps in sorted(found)], run


def first_at(points: Sequence[Point], target: float, *, greater: bool = True) -> Point | None:
    """Returns the first point that reaches a value, or None."""
    reaches = (lambda v: v >= target) if greater else (lambda v: v <= target)
    return next((point for point in points if reaches(point.value)), None)
