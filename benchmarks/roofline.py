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

from benchmarks.hlo import FREE
from deepinternal.engine import counting
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
        contractions: Operations of convolutions and matrix products only, by `counting.contractions`.
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
        contractions=counting.contractions(traced.jaxpr.jaxpr),
        operations=count_operations(compiled.as_text()),
        temporary_bytes=memory.temp_size_in_bytes if memory else 0,
    )


def count_operations(text: str) -> int:
    """Counts the operations in the entry of an HLO program, without those that move no data."""
    entry = text[text.index("\nENTRY ") :].split("\n}", 1)[0]
    kinds = re.findall(r"^\s+(?:ROOT )?%?\S+ = .*?[\])}] ([a-z][\w-]*)\(", entry, re.MULTILINE)
    return sum(kind not in FREE for kind in kinds)


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
