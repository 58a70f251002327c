"""Estimates the cost of a program without compiling it, and measures this machine's speed."""

import dataclasses
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from deepinternal.types import Inputs, Method, Stage, TrainState

_TRIAL, _CALLS = 0.3, 16  # minimum seconds and calls for measuring a rate


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
    """Returns the cost of a function from its trace; the body of a loop counts once.

    Args:
        function: A pure function.
        *args: Its arguments, or their shapes.
    """
    traced = jax.jit(function).trace(*args)
    found = traced.lower().cost_analysis() or {}
    moved = found.get("bytes accessed", 0.0)
    return Cost(found.get("flops", 0.0), moved, _memory(traced.jaxpr))


def memory_of_training(method: Method, inputs: Inputs) -> int:
    """Returns the memory of the largest step or evaluation of a method, as in `Cost`.

    On an H100, compiled steps of the built-in methods need 0.6 to 1.1 times as much; those that
    need less than 50 MB need up to 30 MB more, as workspace of convolutions.

    Args:
        method: The method, with replicas folded in.
        inputs: Its inputs, or their shapes.
    """
    trace = lambda function, *args: _memory(jax.jit(function).trace(*args).jaxpr)
    most = 0
    for stage, state, given in _stages(method, inputs):
        variant = stage.variant(0, 0)
        step = lambda s, i, stage=stage, v=variant: stage.step(s, i, v)
        tested = trace(stage.evaluate, state, given) if stage.evaluate else 0
        most = max(most, trace(step, state, given), tested)
    return most


def of_method(method: Method, inputs: Inputs) -> tuple[list[Cost], Cost]:
    """Returns the costs of a step of each stage, with its share of evaluation, and of the outputs.

    Args:
        method: The method, with replicas folded in.
        inputs: Its inputs, or their shapes.
    """
    stages, (state, given) = [], (None, inputs)
    for stage, state, given in _stages(method, inputs):
        variant = stage.variant(0, 0)
        step = cost(lambda s, i, stage=stage, v=variant: stage.step(s, i, v), state, given)
        if stage.evaluate and stage.evaluate_every:
            test, every = cost(stage.evaluate, state, given), stage.evaluate_every
            flops, moved = step.flops + test.flops / every, step.moved + test.moved / every
            step = Cost(flops, moved, max(step.memory, test.memory))
        stages.append(step)
    return stages, cost(method.outputs, state, given)


def _stages(method: Method, inputs: Inputs) -> Iterator[tuple[Stage, TrainState, Inputs]]:
    """Yields the stages with the shapes of their states and inputs."""
    state = jax.eval_shape(method.init, jax.random.key(0), inputs)
    for stage in method.stages:
        yield stage, state, inputs
        if stage.advance:
            state, inputs = jax.eval_shape(stage.advance, state, inputs)


def _memory(program: core.ClosedJaxpr) -> int:
    return sum(_bytes(x) for x in program.in_avals) + _alive(program.jaxpr)


def _alive(jaxpr: core.Jaxpr) -> int:
    """Returns the peak number of bytes that a program's own values occupy."""
    last: dict[Any, int] = {}
    for i, equation in enumerate(jaxpr.eqns):
        last |= {v: i for v in equation.invars if not isinstance(v, core.Literal)}
    last |= {v: len(jaxpr.eqns) for v in jaxpr.outvars if not isinstance(v, core.Literal)}
    ends: dict[int, int] = {}  # bytes whose last use is an equation
    now = most = 0
    for i, equation in enumerate(jaxpr.eqns):
        inside = max((_alive(part) for part in parts(equation)), default=0)
        made = {v: _bytes(v.aval) for v in equation.outvars if v in last}
        most = max(most, now + max(inside, sum(made.values())))
        now += sum(made.values())
        for variable, size in made.items():
            ends[last[variable]] = ends.get(last[variable], 0) + size
        now -= ends.get(i, 0)
    return most


def parts(equation: core.JaxprEqn) -> Iterator[core.Jaxpr]:
    """Yields the programs inside an equation of a traced program, such as the body of a loop."""
    for value in equation.params.values():
        for part in value if isinstance(value, list | tuple) else (value,):
            if isinstance(part, core.ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, core.Jaxpr):
                yield part


def _bytes(aval: Any) -> int:
    return math.prod(aval.shape) * getattr(aval.dtype, "itemsize", 8)


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
