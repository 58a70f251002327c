"""All programs of a method as the engine builds them, traced but not run.

Shapes take the place of arrays, so that the programs can be lowered and compiled for a device that this
machine does not have.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import jax

from deepinternal.engine.compiling import compiler_options, shape_of
from deepinternal.engine.parallel import Programs
from deepinternal.types import Inputs, Method, PyTree, Stage

KINDS = ("init", "baseline", "steps", "evaluate", "put", "pick", "done", "advance", "outputs")
KINDS += ("apply",)


@dataclasses.dataclass(frozen=True)
class Program:
    """A traced program.

    Attributes:
        kind: What it computes, one of `KINDS`.
        name: The kind with the stage and the variant, such as 'steps of fit'.
        traced: The traced function: `traced.lower().compile(options)` compiles it.
        options: The compiler options that the engine passes.
        steps: The number of training steps in it; 0: it is no training program.
    """

    kind: str
    name: str
    traced: jax.stages.Traced
    options: dict[str, Any] | None
    steps: int = 0


@contextlib.contextmanager
def traced_for(backend: str) -> Iterator[None]:
    """Lets programs that are traced inside make their choices for another default backend.

    Args:
        backend: 'gpu' or 'tpu', as `jax.default_backend` returns it there.
    """
    own = jax.default_backend
    jax.clear_caches()  # functions that were traced for another backend
    jax.default_backend = lambda: backend
    try:
        yield
    finally:
        jax.default_backend = own
        jax.clear_caches()


def all_programs(
    method: Method,
    inputs: Inputs,
    *,
    lanes: int = 1,
    most_variants: int = 0,
    options: str = "",
    sharding: jax.sharding.Sharding | None = None,
) -> list[Program]:
    """Traces all programs of a method: init, baseline, steps, evaluation, outputs and so on.

    Args:
        method: The method.
        inputs: The inputs of an image, or their shapes.
        lanes: The number of images that train side by side.
        most_variants: The maximum number of variants of each stage's step; 0: all.
        options: The user's options for XLA, see `engine.compiling.parse_options`.
        sharding: Where the arguments lie; None: on the default device.

    Returns:
        The programs, in the order of a run; with several lanes, only those of all lanes.
    """
    listed = _Listed(method, lanes, options, sharding)
    state = listed.init(jax.eval_shape(jax.random.key, 0), inputs)
    if method.baseline:
        listed.baseline(inputs)
    for index, stage in enumerate(listed.method.stages):
        states, batch = listed.widened((state, inputs))
        each = lambda value: None if lanes == 1 else [value] * lanes
        for variant in _variants(stage, most_variants):
            count = listed.steps_per_dispatch
            listed.steps(index, variant, count, states, batch, each(count))
        if stage.evaluate:
            listed.evaluate(index, states, batch, each(True))
        listed.put(states, 0, state)
        listed.pick(states, 0)
        listed.trace(("done", index), stage.done, state)
        if stage.advance:
            state, inputs = listed.advance(index, state, inputs)
    listed.outputs(state, inputs)
    if method.apply not in (None, method.outputs):
        listed.trace(("apply",), method.apply, state, inputs)
    of_lanes = ("steps", "evaluate", "put", "pick")
    return [p for p in listed.programs if lanes == 1 or p.kind in of_lanes]


def _variants(stage: Stage, most: int) -> list[Hashable]:
    """Returns the distinct variants of a stage, evenly chosen from all if there are too many."""
    found = [*dict.fromkeys(stage.variant(0, step) for step in range(stage.steps))]
    if most and len(found) > most:
        found = [found[i * (len(found) - 1) // max(most - 1, 1)] for i in range(most)]
    return found


class _Listed(Programs):
    """Programs that are traced and listed; their results are shapes."""

    def __init__(
        self, method: Method, lanes: int, options: str, sharding: jax.sharding.Sharding | None
    ):
        super().__init__(method, images_per_device=lanes, compiler_options=options)
        self.programs: list[Program] = []
        self._sharding = sharding

    def widened(self, tree: PyTree) -> PyTree:
        """Returns the shapes of a tree of all lanes."""
        if self.lanes == 1:
            return tree
        lane = lambda x: jax.ShapeDtypeStruct((self.lanes, *x.shape), x.dtype)
        return jax.tree.map(lane, tree)

    def trace(
        self,
        name: tuple[Hashable, ...],
        function: Callable,
        *args: PyTree,
        axes: Sequence[int | None] | None = None,
        donate: tuple[int, ...] = (),
        **_: Any,
    ) -> PyTree:
        """Traces a program, lists it, and returns the shapes of its results."""
        shapes = jax.tree.map(functools.partial(shape_of, sharding=self._sharding), args)
        traced = self._jitted(name, function, axes, donate).trace(*shapes)
        options = compiler_options(name[0], self._options)
        self.programs.append(_named(name, traced, options, self.method.stages))
        return traced.out_info

    _run = trace


def _named(
    name: tuple[Hashable, ...],
    traced: jax.stages.Traced,
    options: dict[str, Any] | None,
    stages: Sequence[Stage],
) -> Program:
    """Describes a program by the name that the engine gives it: kind, stage, variant and steps."""
    kind, *which = name
    words, steps = kind, 0
    if kind in ("steps", "evaluate", "done", "advance"):
        words += f" of {stages[which[0]].name}"
    if kind == "steps":
        _, variant, steps = which
        words += "" if variant is None else f" {variant}"
    return Program(kind, words, traced, options, steps)
