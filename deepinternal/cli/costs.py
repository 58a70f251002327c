"""What a program costs, guessed without compiling it, and how fast this machine is."""

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

from deepinternal.types import Inputs, Method

_TRIAL, _CALLS = 0.3, 16  # seconds and calls that a rate is measured for, at least


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one call of a function.

    Attributes:
        flops: floating-point operations.
        moved: bytes that its operations read and write, each by itself: before XLA fuses them.
        memory: bytes that are alive at once, arguments included, if operations run in their order.
    """

    flops: float
    moved: float
    memory: int


def cost(function: Callable, *args: Any) -> Cost:
    """The cost of a function, from its trace; the body of a loop counts once.

    Args:
        function: pure.
        *args: its arguments, or their shapes.
    """
    traced = jax.jit(function).trace(*args)
    found = traced.lower().cost_analysis() or {}
    given = sum(_bytes(x) for x in traced.jaxpr.in_avals)
    moved = found.get("bytes accessed", 0.0)
    return Cost(found.get("flops", 0.0), moved, given + _alive(traced.jaxpr.jaxpr))


def of_method(method: Method, inputs: Inputs) -> tuple[list[Cost], Cost]:
    """The costs of a step of each stage, its share of an evaluation included, and of the outputs.

    Args:
        method: with replicas folded in.
        inputs: its inputs, or their shapes.
    """
    state, stages = jax.eval_shape(method.init, jax.random.key(0), inputs), []
    for stage in method.stages:
        variant = stage.variant(0, 0)
        step = cost(lambda s, i, stage=stage, v=variant: stage.step(s, i, v), state, inputs)
        if stage.evaluate and stage.evaluate_every:
            test, every = cost(stage.evaluate, state, inputs), stage.evaluate_every
            flops, moved = step.flops + test.flops / every, step.moved + test.moved / every
            step = Cost(flops, moved, max(step.memory, test.memory))
        stages.append(step)
        if stage.advance:
            state, inputs = jax.eval_shape(stage.advance, state, inputs)
    return stages, cost(method.outputs, state, inputs)


def _alive(jaxpr: core.Jaxpr) -> int:
    """The most bytes that a program's own values hold at once."""
    last: dict[Any, int] = {}
    for i, equation in enumerate(jaxpr.eqns):
        last |= {v: i for v in equation.invars if not isinstance(v, core.Literal)}
    last |= {v: len(jaxpr.eqns) for v in jaxpr.outvars if not isinstance(v, core.Literal)}
    ends: dict[int, int] = {}  # bytes that are used last by an equation
    now = most = 0
    for i, equation in enumerate(jaxpr.eqns):
        inside = max((_alive(part) for part in _parts(equation)), default=0)
        made = {v: _bytes(v.aval) for v in equation.outvars if v in last}
        most = max(most, now + max(inside, sum(made.values())))
        now += sum(made.values())
        for variable, size in made.items():
            ends[last[variable]] = ends.get(last[variable], 0) + size
        now -= ends.get(i, 0)
    return most


def _parts(equation: Any) -> Iterator[core.Jaxpr]:
    """The programs inside of an equation, such as the body of a loop."""
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
    """How fast the first device is.

    Attributes:
        flops: floating-point operations per second, of a product of matrices.
        moved: bytes per second, read and written.
    """

    flops: float
    moved: float

    def seconds(self, one: Cost) -> float:
        """What a call of such a cost takes, if it computes and moves data in turns."""
        return one.flops / self.flops + one.moved / self.moved


def measure() -> Rates:
    """Measures the rates of the first device, as busy as it is now, within about a second."""
    side, length = (1024, 2**22) if jax.default_backend() == "cpu" else (4096, 2**26)
    matrix, vector = jnp.ones((side, side)), jnp.ones(length)
    products = _per_second(jax.jit(jnp.dot), matrix, matrix)
    return Rates(
        2 * side**3 * products, 2 * vector.nbytes * _per_second(jax.jit(jnp.square), vector)
    )


def _per_second(function: Callable, *args: Any) -> float:
    """Calls per second, after a first one that compiles; what other processes delay counts little."""
    jax.block_until_ready(function(*args))
    marks = [time.perf_counter()]
    while len(marks) <= _CALLS or marks[-1] - marks[0] < _TRIAL:
        jax.block_until_ready(function(*args))
        marks.append(time.perf_counter())
    return 1 / statistics.quantiles((b - a for a, b in itertools.pairwise(marks)), n=4)[0]
