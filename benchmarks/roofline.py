"""The bounds of a training step: its operations and bytes, and the device's measured peaks.

After Williams, Waterman and Patterson, "Roofline", CACM 2009: a step takes at least as long as its
operations take at the peak rate of matrix products, and as its bytes take at the rate of a copy.
"""

import dataclasses
import math
import re
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from benchmarks.hlo import FREE
from deepinternal.engine import costs
from deepinternal.engine.compiling import compiler_options
from deepinternal.types import Inputs, Method, TrainState

MULTIPLIED = 2048  # side of the matrices whose product measures the peak of the arithmetic
COPIED = 2**28  # bytes of the array whose copy measures the peak of the memory


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one run of a compiled program.

    Attributes:
        flops: Operations as counted by XLA after its optimisations; a fused multiply-add counts as two.
        bytes: Bytes as counted by XLA: operands and results of each operation after fusion.
        contractions: Operations of convolutions and matrix products only, by `contraction_flops`.
        operations: Number of successive operations of the program; a loop counts as one.
        temporary_bytes: Memory besides arguments and results.
    """

    flops: float
    bytes: float
    contractions: int
    operations: int
    temporary_bytes: int


def step_cost(method: Method, state: TrainState, inputs: Inputs) -> Cost:
    """Compiles a step of the first stage for one image and returns its cost.

    Args:
        method: The method, as returned by `over_replicas`.
        state: A state of the first stage.
        inputs: The inputs of an image.
    """
    stage = method.stages[0]
    variant = stage.variant(0, 0)
    traced = jax.jit(lambda s, i: stage.step(s, i, variant)).trace(state, inputs)
    compiled = traced.lower().compile(compiler_options("steps"))
    analysis, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    return Cost(
        flops=analysis.get("flops", math.nan),
        bytes=analysis.get("bytes accessed", math.nan),
        contractions=contraction_flops(traced.jaxpr.jaxpr),
        operations=count_operations(compiled.as_text()),
        temporary_bytes=memory.temp_size_in_bytes if memory else 0,
    )


def count_operations(text: str) -> int:
    """Counts the operations in the entry of an HLO program, without those that move no data."""
    entry = text[text.index("\nENTRY ") :].split("\n}", 1)[0]
    kinds = re.findall(r"^\s+(?:ROOT )?%?\S+ = .*?[\])}] ([a-z][\w-]*)\(", entry, re.MULTILINE)
    return sum(kind not in FREE for kind in kinds)


def contraction_flops(jaxpr: core.Jaxpr) -> int:
    """Counts the operations of the convolutions and matrix products in a traced function.

    As in XLA's count, operations with zeros of padding or dilation are omitted. The body of a scan
    counts once per iteration, that of another loop once. Of a condition, the largest branch counts.
    """
    total = 0
    for eqn in jaxpr.eqns:
        kind, inner = eqn.primitive.name, [contraction_flops(j) for j in costs.parts(eqn)]
        if kind == "conv_general_dilated":
            total += _conv_flops(eqn)
        elif kind == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            depth = math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
            total += 2 * depth * math.prod(eqn.outvars[0].aval.shape)
        elif kind == "scan":
            total += eqn.params["length"] * sum(inner)
        elif kind == "cond":
            total += max(inner)
        else:
            total += sum(inner)
    return total


def _conv_flops(eqn) -> int:
    params, (x, kernel) = eqn.params, (v.aval.shape for v in eqn.invars)
    out, numbers = eqn.outvars[0].aval.shape, params["dimension_numbers"]
    pairs = 1  # pairs of output positions and taps that meet an input
    for i in range(len(params["window_strides"])):
        size, taps = x[numbers.lhs_spec[2 + i]], kernel[numbers.rhs_spec[2 + i]]
        places = np.arange(out[numbers.out_spec[2 + i]])[:, None] * params["window_strides"][i]
        places = places - params["padding"][i][0] + np.arange(taps) * params["rhs_dilation"][i]
        spread = params["lhs_dilation"][i]
        inside = (places >= 0) & (places <= (size - 1) * spread) & (places % spread == 0)
        pairs *= int(inside.sum())
    depth, width = kernel[numbers.rhs_spec[1]], kernel[numbers.rhs_spec[0]]
    return 2 * out[numbers.out_spec[0]] * depth * width * pairs


class MatmulPeak:
    """Measures the rate of a large matrix product."""

    def __init__(self, precision: str = "default", side: int = MULTIPLIED):
        """Prepares the product.

        Args:
            precision: That of the product of float32 matrices, as in jax.lax; 'bfloat16': that of
                matrices of this type.
            side: Side of the square matrices.
        """
        dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
        precision = None if precision in ("default", "bfloat16") else precision
        self._flops = 2 * side**3
        rng = np.random.default_rng(0)
        self._matrix = jnp.asarray(rng.standard_normal((side, side), np.float32), dtype)
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
        """Returns the FLOP/s, averaged over about a tenth of a second."""
        return self._flops / self._seconds(self._repeats)


class CopyPeak:
    """Measures the rate at which the device reads and writes a large array in place."""

    def __init__(self, size: int = COPIED):
        """Args: size of the array in bytes."""
        self._array = jnp.zeros(max(size // 4, 1), jnp.float32)
        more = jax.jit(lambda a: a + 1, donate_argnums=0)
        self._program = more.lower(self._array).compile()
        self.run()

    def run(self) -> float:
        """Returns the bytes read and written per second."""
        start = time.perf_counter()
        self._array = jax.block_until_ready(self._program(self._array))
        return 2 * self._array.nbytes / (time.perf_counter() - start)


def bounds(cost: Cost, seconds: float, peak: float, copy: float) -> dict[str, Any]:
    """Returns the bounds of a step.

    Args:
        cost: The cost of the step.
        seconds: The time of the step.
        peak: Operations per second of matrix products.
        copy: Bytes per second of a copy.

    Returns:
        intensity (operations per byte), compute_seconds and memory_seconds (the lower bounds of the
        time), share (of the greater bound in `seconds`), and limit (the name of the greater bound).
    """
    compute, memory = cost.flops / peak, cost.bytes / copy
    return {
        "intensity": cost.flops / cost.bytes,
        "compute_seconds": compute,
        "memory_seconds": memory,
        "share": max(compute, memory) / seconds,
        "limit": "compute" if compute >= memory else "memory",
    }
