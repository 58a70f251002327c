"""Array aliases, the training state, the Method protocol and the one error users see.

A *method* is a handful of pure functions over arrays; the runtime compiles, batches, checkpoints and
reports them without knowing any method by name. Images are float32 in [0, 1], HWC, unless a docstring
says otherwise.
"""

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
from flax import struct

Array = jax.Array
PyTree = Any
Inputs = Mapping[str, PyTree]
Metrics = dict[str, Array]


class InputError(ValueError):
    """Something the user gave is wrong: one line saying what, where, and what would be right."""


@struct.dataclass
class TrainState:
    """All that decides the future of a run, as arrays.

    Attributes:
        step: int32 scalar, steps taken in the current stage.
        key: typed PRNG key; constant in a stage, a step draws from `fold_in(key, step)`.
        params: network parameters, a dict keyed by net.
        opt_state: optimiser states, a dict keyed by net (or by optimiser).
        model_state: everything else: schedules that react to the loss, averages, snapshots, statistics.
    """

    step: Array
    key: Array
    params: dict[str, PyTree]
    opt_state: dict[str, PyTree]
    model_state: dict[str, PyTree]


@struct.dataclass
class Output:
    """One result of a method and what it is, so that writers need not know the method.

    Attributes:
        value: image (H, W, C) or mask (H, W) in [0, 1]; kernel (K, K) summing to 1; map (H, W), shown
            stretched to its peak; frames (T, H, W[, C]) in [0, 1]; scalar or vector of any shape.
        kind: 'image', 'mask', 'kernel', 'map', 'frames' or 'scalar'; static under jax
            transformations.
        size: (2,) int32, the (H, W) of what counts, in the upper left of `value`; None: all of it.
        source: where several files are one job, the index of the one whose transparency and bit
            depth an image has; static.
    """

    value: Array
    kind: str = struct.field(pytree_node=False, default="image")
    size: Array | None = None
    source: int = struct.field(pytree_node=False, default=0)


@dataclasses.dataclass(frozen=True)
class Example:
    """What stands for the user's files where there are none, see `methods.registry`.

    Attributes:
        image: in the form in which the method's `prepare` takes it.
        truth: (H, W, C) in [0, 1], what the result should be, or None.
        sides: side inputs in the form of `prepare`, for those fields that the user left empty.
    """

    image: Any
    truth: Any = None
    sides: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def no_variant(seed: int, step: int) -> Hashable:
    """The variant of a stage all of whose steps run the same program."""
    del seed, step
    return None


def never_done(state: TrainState) -> Array:
    """The stopping rule of a stage that always takes all its steps."""
    return state.step < 0


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of a run with static shapes and a step count of its own.

    Attributes:
        name: short name for logs.
        steps: number of steps, an upper bound if `done` can end the stage earlier.
        step: `(state, inputs, variant) -> (state, metrics)`, pure; once `done(state)` it must return
            the state unchanged, so that late polling and neighbours in a batch are harmless.
        evaluate: `(state, inputs) -> (state, metrics)`, pure, run every `evaluate_every` steps;
            metrics (H, W, C) in [0, 1] are pictures.
        evaluate_every: steps between evaluations; 0 for never.
        variant: `(seed, step) -> hashable`, on the host, out of a finite set: what must be static in
            a step and changes from step to step. Each value is one compiled program.
        done: `state -> bool scalar`, pure.
        advance: `(state, inputs) -> (state, inputs)` of the next stage, pure; None in the last one.
    """

    name: str
    steps: int
    step: Callable[[TrainState, Inputs, Hashable], tuple[TrainState, Metrics]]
    evaluate: Callable[[TrainState, Inputs], tuple[TrainState, Metrics]] | None = None
    evaluate_every: int = 0
    variant: Callable[[int, int], Hashable] = no_variant
    done: Callable[[TrainState], Array] = never_done
    advance: Callable[[TrainState, Inputs], tuple[TrainState, Inputs]] | None = None


@dataclasses.dataclass(frozen=True)
class Method:
    """A method for inputs of one shape: what `make(config, input_spec)` returns.

    Attributes:
        name: the registry's name.
        init: `(key, inputs) -> state` of the first stage, pure.
        stages: the stages, in order.
        outputs: `(state, inputs) -> dict[str, Output]` after the last stage, pure. The entry
            'result' is the answer to the user's question; the others are named in the interface.
        baseline: `inputs -> image` to compare the result with (bicubic for super-resolution, the
            degraded input for restoration), or None.
        progress: name of the evaluation metric worth showing while training, '' for none.
        replicas: seeds trained side by side on the same inputs (vmapped by the runtime).
        reduce: with replicas, `outputs with a leading replica axis -> outputs`, pure.
    """

    name: str
    init: Callable[[Array, Inputs], TrainState]
    stages: tuple[Stage, ...]
    outputs: Callable[[TrainState, Inputs], dict[str, Output]]
    baseline: Callable[[Inputs], Array] | None = None
    progress: str = ""
    replicas: int = 1
    reduce: Callable[[dict[str, Output]], dict[str, Output]] | None = None

    def __post_init__(self):
        if not self.stages or any(s.advance is None for s in self.stages[:-1]):
            raise ValueError(f"{self.name}: every stage but the last needs an `advance`.")
        if (self.replicas > 1) != (self.reduce is not None):
            raise ValueError(f"{self.name}: replicas > 1 and `reduce` go together.")

    def step(
        self, state: TrainState, inputs: Inputs, variant: Hashable = None
    ) -> tuple[TrainState, Metrics]:
        """One step of the first stage (of the only one, in most methods)."""
        return self.stages[0].step(state, inputs, variant)

    def evaluate(self, state: TrainState, inputs: Inputs) -> tuple[TrainState, Metrics]:
        """The first stage's evaluation; the identity without metrics where it has none."""
        evaluate = self.stages[0].evaluate
        return evaluate(state, inputs) if evaluate else (state, {})

    def variant(self, seed: int, step: int) -> Hashable:
        """The first stage's static variant of step number `step` (0-based)."""
        return self.stages[0].variant(seed, step)

    def done(self, state: TrainState) -> Array:
        """Whether the first stage has reached its own end."""
        return self.stages[0].done(state)


def input_spec(inputs: Inputs) -> dict[str, PyTree]:
    """Shapes and dtypes of `inputs`, the form in which `make` takes them.

    Leaves may be arrays, NumPy arrays or `jax.ShapeDtypeStruct`s already.
    """
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), dict(inputs))
