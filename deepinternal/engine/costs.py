"""Estimates the cost of a program without compiling it, and measures this machine's speed."""

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from deepinternal.engine import compiling, counting
from deepinternal.types import Inputs, Method, Stage, TrainState

_TRIAL, _CALLS = 0.3, 16  # minimum seconds and calls for measuring a rate
_VARIANTS = 3  # steps whose variants are looked at for the memory of a stage


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one call of a function.

    Attributes:
        flops: Floating-point operations.
        moved: Bytes that its operations read and write, each on its own, before XLA fuses them.
        memory: Peak number of live bytes, including arguments, if operations run in program order.
    """

    flops: float
    moved: float
    memory: int


def cost(function: Callable, *args: Any) -> Cost:
    """Returns the cost of a function from its trace; the body of a scan counts for each iteration.

    Args:
        function: A pure function.
        *args: Its arguments, or their shapes.
    """
    traced = jax.jit(function).trace(*args).jaxpr
    flops, moved = counting.operations(traced.jaxpr), counting.moved(traced.jaxpr)
    return Cost(flops, moved, counting.memory(traced))


def memory_of_training(method: Method, inputs: Inputs) -> int:
    """Returns the memory of the largest step or evaluation of a method, as in `Cost`.

    On an H100, compiled steps of the built-in methods need 0.6 to 1.1 times as much; those that
    need less than 50 MB need up to 30 MB more, as workspace of convolutions.

    Args:
        method: The method, with replicas folded in.
        inputs: Its inputs, or their shapes.
    """
    most = 0
    for stage, state, given in _kinds(method, inputs):
        for function in filter(None, (_step_of(stage), stage.evaluate)):
            most = max(most, counting.memory(jax.jit(function).trace(state, given).jaxpr))
    return most


@dataclasses.dataclass(frozen=True)
class Needs:
    """The bytes that a run needs on its device, including its inputs.

    Attributes:
        training: Those of the largest program of the training.
        results: Those of the outputs and of the baseline, which are kept together.
        made: Those of the outputs and the baseline themselves.
    """

    training: int
    results: int
    made: int


def needs(method: Method, inputs: Inputs, *, exactly: bool = False) -> Needs:
    """Returns the memory that a run of a method needs.

    Args:
        method: The method, with replicas folded in.
        inputs: Its inputs, or their shapes.
        exactly: Compile the programs, which takes as long as compiling them for the run, instead of
            estimating their memory from their traces.
    """
    measure = _compiled_memory if exactly else _traced_memory
    inputs = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), dict(inputs))
    key = jax.eval_shape(lambda: jax.random.key(0))
    training = measure("init", method.init, key, inputs)
    for stage, state, given in _kinds(method, inputs):
        programs = [("steps", _step_of(stage, variant)) for variant in _some_variants(stage)]
        programs += [("evaluate", stage.evaluate), ("advance", stage.advance)]
        sizes = [measure(name, f, state, given) for name, f in programs if f]
        training = max(training, *sizes)
    made = jax.eval_shape(method.outputs, state, given)
    results = measure("outputs", method.outputs, state, given)
    if method.baseline:
        held = size_of((state, given if given is not inputs else (), made))
        results = max(results, held + measure("baseline", method.baseline, inputs))
        made = made, jax.eval_shape(method.baseline, inputs)
    return Needs(training, results, size_of(made))


def size_of(tree: Any) -> int:
    """Returns the bytes of all arrays, or shapes of arrays, of a tree."""
    return sum(map(counting.size, jax.tree.leaves(tree)))


def _traced_memory(name: str, function: Callable, *args: Any) -> int:
    del name
    return counting.memory(jax.jit(function).trace(*args).jaxpr, fused=True)


def _compiled_memory(name: str, function: Callable, *args: Any) -> int:
    """Returns the memory of a compiled program with all arguments, also those that it ignores."""
    options = compiling.compiler_options(name)
    found = jax.jit(function).lower(*args).compile(options).memory_analysis()
    if found is None:
        return _traced_memory(name, function, *args)
    return size_of(args) + found.temp_size_in_bytes + found.output_size_in_bytes


def of_method(method: Method, inputs: Inputs) -> tuple[list[Cost], Cost]:
    """Returns the costs of a step of each stage, with its share of evaluation, and of the outputs.

    Args:
        method: The method, with replicas folded in.
        inputs: Its inputs, or their shapes.
    """
    stages, known, (state, given) = [], {}, (None, inputs)
    for stage, state, given in _stages(method, inputs):
        if (kind := (stage.step, stage.evaluate)) in known:
            stages.append(known[kind])
            continue
        step = cost(_step_of(stage), state, given)
        if stage.evaluate and stage.evaluate_every:
            test, every = cost(stage.evaluate, state, given), stage.evaluate_every
            flops, moved = step.flops + test.flops / every, step.moved + test.moved / every
            step = Cost(flops, moved, max(step.memory, test.memory))
        stages.append(step)
        known[kind] = step
    return stages, cost(method.outputs, state, given)


def _step_of(stage: Stage, variant: Hashable = None) -> Callable[[TrainState, Inputs], Any]:
    """Returns the step of a stage in a variant, by default the first one."""
    variant = stage.variant(0, 0) if variant is None else variant
    return lambda state, inputs: stage.step(state, inputs, variant)


def _some_variants(stage: Stage) -> set[Hashable]:
    """Returns some of the variants of a stage, from its first step to its last one."""
    return {stage.variant(0, stage.steps * i // _VARIANTS) for i in range(_VARIANTS)}


def _stages(method: Method, inputs: Inputs) -> Iterator[tuple[Stage, TrainState, Inputs]]:
    """Yields the stages with the shapes of their states and inputs."""
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    for stage in method.stages:
        yield stage, state, inputs
        if stage.advance:
            state, inputs = jax.eval_shape(stage.advance, state, inputs)


def _kinds(method: Method, inputs: Inputs) -> Iterator[tuple[Stage, TrainState, Inputs]]:
    """Yields the result of `_stages`, of stages with the same functions only the last one."""
    found = {(s.step, s.evaluate, s.advance): (s, *more) for s, *more in _stages(method, inputs)}
    yield from found.values()


@dataclasses.dataclass(frozen=True)
class Rates:
    """The speed of the first device.

    Attributes:
        flops: Floating-point operations per second of a matrix product.
        moved: Bytes per second, read and written.
    """

    flops: float
    moved: float

    def seconds(self, one: Cost) -> float:
        """Returns the time of a call, if computation and memory traffic do not overlap."""
        return one.flops / self.flops + one.moved / self.moved


def measure() -> Rates:
    """Measures the rates of the first device under its current load, within about a second."""
    side, length = (1024, 2**22) if jax.default_backend() == "cpu" else (4096, 2**26)
    matrix, vector = jnp.ones((side, side)), jnp.ones(length)
    products = _per_second(jax.jit(jnp.dot), matrix, matrix)
    return Rates(
        2 * side**3 * products, 2 * vector.nbytes * _per_second(jax.jit(jnp.square), vector)
    )


def _per_second(function: Callable, *args: Any) -> float:
    """Returns calls per second after a first call that compiles, robust to other processes."""
    jax.block_until_ready(function(*args))
    marks = [time.perf_counter()]
    while len(marks) <= _CALLS or marks[-1] - marks[0] < _TRIAL:
        jax.block_until_ready(function(*args))
        marks.append(time.perf_counter())
    return 1 / statistics.quantiles((b - a for a, b in itertools.pairwise(marks)), n=4)[0]
