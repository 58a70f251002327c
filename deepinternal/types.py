"""Array aliases, the training state, the Method protocol and the one error users see.

A *method* is a handful of pure functions over arrays; the engine compiles, batches, checkpoints and
reports them without knowing any method by name. Images are float32 in [0, 1], HWC, unless a docstring
says otherwise; noise is a standard deviation in the same unit.

One word per thing, here and everywhere:

    image        (H, W, C) array; a *photograph* is an image that a user has.
    method       pure functions for inputs of one shape (`Method`), made by a recipe from a config.
    recipe       what is needed to run a method from files: config class, presets, `prepare`, `make`.
    config       typed settings of a method; each is a *field*; a *preset* is a named set of values.
    inputs       the arrays a method is given; a *side input* is a user's file beside the image.
    stage        a part of a run with a step count of its own; `methods.fit.Phase` describes one.
    step         one update of the parameters; one *dispatch* of a program takes one or more steps.
    replica      one of several seeds that are trained side by side on the same inputs.
    output       one named result of a method (`Output`); `result` answers the user's question.
    job          what gets a folder in the work folder: an image, several taken together, or a video.
    run          the training of a method on one job, from its first step to its last.
    lane         a place in a batch in which a run trains; a *group* of jobs shares programs.
    canvas       a larger array that images of several sizes lie in the upper left of.
    work folder  where a command leaves everything it makes.
    jump         one factor of super-resolution; gradual super-resolution has several.
    layer        what a generator network makes in a decomposition.
"""

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

Array = jax.Array
PyTree = Any
Inputs = Mapping[str, PyTree]
Metrics = dict[str, Array]
Callback = Callable[[int, dict[str, float]], None]
_SHOWN = 4  # stages, inputs and shapes that a description lists


class InputError(ValueError):
    """Something the user gave is wrong: one line saying what, where, and what would be right."""


class TrainState(struct.PyTreeNode):
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


class Output(struct.PyTreeNode):
    """One result of a method and what it is, so that writers need not know the method.

    Attributes:
        value: image (H, W, C) or mask (H, W) in [0, 1]; images, a dict of several by name; kernel
            (K, K) summing to 1; map (H, W), shown stretched to its peak; frames (T, H, W[, C]) in
            [0, 1]; scalar or vector of any shape.
        kind: 'image', 'images', 'mask', 'kernel', 'map', 'frames' or 'scalar'; static under jax
            transformations.
        size: (2,) int32, the (H, W) of what counts, in the upper left of `value`; None: all of it.
        source: where several files are one job, the index of the one whose transparency and bit
            depth an image has; static.
        frame_rate: of frames, per second; 0: that of the input; static.
    """

    value: Any
    kind: str = struct.field(pytree_node=False, default="image")
    size: Array | None = None
    source: int = struct.field(pytree_node=False, default=0)
    frame_rate: float = struct.field(pytree_node=False, default=0.0)


@dataclasses.dataclass(frozen=True)
class Example:
    """What stands for the user's files where there are none.

    Attributes:
        name: what it was made from and how, such as 'skimage.data.astronaut, hazy'.
        image: in the form in which the method's `prepare` takes it.
        truth: (H, W, C) in [0, 1], what the result should be, or None.
        sides: side inputs in the form of `prepare`, for those fields that the user left empty.
    """

    name: str
    image: Any
    truth: Any = None
    sides: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def own_params(state: TrainState) -> dict[str, PyTree]:
    """The final parameters of a method that averages none."""
    return state.params


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
        step: `(state, inputs, variant) -> (state, metrics)`, pure. Once `done(state)` holds, the state
            is kept to the bit, so that late polling and neighbours in a batch do no harm: `Stage`
            itself sees to that, for `step` and for `evaluate`.
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

    def __post_init__(self):
        for name in ("step", "evaluate") if self.done is not never_done else ():
            function = getattr(self, name)
            if function and not getattr(function, "frozen", False):
                object.__setattr__(self, name, _Frozen(function, self.done))


@dataclasses.dataclass(frozen=True)
class _Frozen:
    """A step or an evaluation that keeps the state once its stage is done."""

    function: Callable[..., tuple[TrainState, Metrics]]
    done: Callable[[TrainState], Array]
    frozen: ClassVar[bool] = True  # which `Stage` asks for

    def __call__(self, state: TrainState, *args: Any, **options: Any) -> tuple[TrainState, Metrics]:
        new, metrics = self.function(state, *args, **options)
        over, key = self.done(state), state.key  # a typed key, which never changes in a stage
        old, new = state.replace(key=None), new.replace(key=None)
        kept = jax.tree.map(lambda a, b: jnp.where(over, a, b), old, new)
        return kept.replace(key=key), metrics


@dataclasses.dataclass(frozen=True)
class Method:
    """A method for inputs of one shape: what `Recipe.make(config, spec)` returns.

    Attributes:
        name: the recipe's.
        init: `(key, inputs) -> state` of the first stage, pure.
        stages: the stages, in order.
        outputs: `(state, inputs) -> dict[str, Output]` after the last stage, pure. The entry
            'result' is the answer to the user's question; the others are named in the interface.
        baseline: `inputs -> image` to compare the result with (bicubic for super-resolution, the
            degraded input for restoration), or None.
        progress: name of the evaluation metric worth showing while training, '' for none.
        replicas: seeds trained side by side on the same inputs (vmapped by the engine).
        reduce: with replicas, `outputs with a leading replica axis -> outputs`, pure.
        spec: shapes and dtypes of the inputs that the method was made for, as `input_spec` returns
            them; `init` refuses others. None: not known, nothing is refused.
        final_params: `state -> params`, those that the outputs are made with: averages where the
            method averages.
        apply: `(state, inputs) -> outputs` of another image, pure: what a state that was trained on
            one image makes of inputs that this method was made for. None: what the method learns
            holds for its own image alone.
    """

    name: str
    init: Callable[[Array, Inputs], TrainState]
    stages: tuple[Stage, ...]
    outputs: Callable[[TrainState, Inputs], dict[str, Output]]
    baseline: Callable[[Inputs], Array] | None = None
    progress: str = ""
    replicas: int = 1
    reduce: Callable[[dict[str, Output]], dict[str, Output]] | None = None
    spec: PyTree = None
    final_params: Callable[[TrainState], dict[str, PyTree]] = own_params
    apply: Callable[[TrainState, Inputs], dict[str, Output]] | None = None

    def __post_init__(self):
        if not self.stages or any(s.advance is None for s in self.stages[:-1]):
            raise ValueError(f"{self.name}: every stage but the last needs an `advance`.")
        if (self.replicas > 1) != (self.reduce is not None):
            raise ValueError(f"{self.name}: replicas > 1 and `reduce` go together.")

    def __repr__(self) -> str:
        stages = [f"{s.name!r}, at most {s.steps} steps" for s in self.stages]
        spec = (self.spec or {}).items()
        shapes = [f"{n} {_few([str(x.shape) for x in jax.tree.leaves(s)], ', ')}" for n, s in spec]
        lines = [f"Method {self.name!r}", f"  stages: {_few(stages, '; ')}"]
        return "\n".join(lines + ([f"  inputs: {_few(shapes, '; ')}"] if shapes else []))

    def step(
        self, state: TrainState, inputs: Inputs, variant: Hashable = None
    ) -> tuple[TrainState, Metrics]:
        """One step of a method that has a single stage."""
        self.check(inputs)
        return self._stage().step(state, inputs, variant)

    def evaluate(self, state: TrainState, inputs: Inputs) -> tuple[TrainState, Metrics]:
        """The evaluation of a method with a single stage; the identity where it has none."""
        self.check(inputs)
        evaluate = self._stage().evaluate
        return evaluate(state, inputs) if evaluate else (state, {})

    def variant(self, seed: int, step: int) -> Hashable:
        """The static variant of step number `step` (0-based) of a method with a single stage."""
        return self._stage().variant(seed, step)

    def done(self, state: TrainState) -> Array:
        """Whether a method with a single stage has reached its own end."""
        return self._stage().done(state)

    def check(self, inputs: Inputs) -> None:
        """Refuses inputs of other shapes, or of another kind of numbers, than those of `spec`."""
        if self.spec is None:
            return
        given = input_spec(inputs)
        for name in {**self.spec, **given}:
            made, got = (_shapes(x[name]) if name in x else "nothing" for x in (self.spec, given))
            trees = {str(jax.tree.structure(x.get(name))) for x in (self.spec, given)}
            if made != got or len(trees) > 1:
                raise InputError(
                    f"{self.name}: this method was made for {name} {made}, not {got}; make one for "
                    "inputs of these shapes"
                )
            if _are_whole(given[name]) != _are_whole(self.spec[name]):
                raise InputError(
                    f"{self.name}: {name} holds another kind of numbers than this method was made for; "
                    "give images as float32 in [0, 1]"
                )

    def _stage(self) -> Stage:
        if len(self.stages) > 1:
            names = ", ".join(stage.name for stage in self.stages)
            raise InputError(
                f"{self.name}: has {len(self.stages)} stages ({names}); use method.stages[i].step and "
                "so on, and method.stages[i].advance from one to the next"
            )
        return self.stages[0]


def for_spec(method: Method, spec: PyTree) -> Method:
    """A copy of a method that knows its `spec`, and whose `init` refuses inputs of other shapes.

    Args:
        method: a method made for these shapes.
        spec: as `input_spec` returns it.

    Returns:
        The method; its functions compute what they did before.
    """
    if method.spec is not None:
        return method

    def init(key: Array, inputs: Inputs) -> TrainState:
        checked.check(inputs)
        return method.init(key, inputs)

    checked = dataclasses.replace(method, init=init, spec=spec)
    return checked


def _are_whole(tree: PyTree) -> list[bool]:
    return [jnp.issubdtype(x.dtype, jnp.integer) for x in jax.tree.leaves(tree)]


def _shapes(tree: PyTree) -> str:
    return ", ".join(str(tuple(x.shape)) for x in jax.tree.leaves(tree)) or "nothing"


def _few(texts: list[str], separator: str) -> str:
    """The first few of the texts, and how many more there are."""
    more = [f"and {len(texts) - _SHOWN} more"] if len(texts) > _SHOWN else []
    return separator.join(texts[:_SHOWN] + more)


def input_spec(inputs: Inputs) -> dict[str, PyTree]:
    """Shapes and dtypes of `inputs`, the form in which `make` takes them.

    Leaves may be arrays, NumPy arrays or `jax.ShapeDtypeStruct`s already.
    """
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), dict(inputs))
