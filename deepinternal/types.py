"""Array aliases, the training state, the Method protocol and the error for bad input.

A *method* is a handful of pure functions over arrays; the engine compiles, batches, checkpoints and
reports them without knowing any method by name. Images are float32 in [0, 1], HWC, unless a
docstring says otherwise; noise is a standard deviation in the same unit.

The project uses one word per thing:

        image        A (H, W, C) array; a *photograph* is an image that a user provides.
        method       Pure functions for inputs of one shape (`Method`), made by a recipe from a
        config.
        recipe       All that is needed to run a method: config class, presets, `prepare`, `make`.
        config       Typed settings of a method; each is a *field*; a *preset* is a named set of
        values.
        inputs       The arrays that a method takes; a *side input* is a user's file besides the
        image.
        stage        A part of a run with its own number of steps; `methods.fit.Phase` describes
        one.
        step         One update of the parameters; one *dispatch* of a program takes one or more
        steps.
        replica      One of several seeds that are trained side by side on the same inputs.
        output       One named result of a method (`Output`); `result` is the main one.
        job          One folder in the work folder: an image, several images together, or a video.
        run          The training of a method on one job, from its first step to its last.
        lane         A place in a batch that trains one run; a *group* of jobs shares programs.
        canvas       A larger array with images of different sizes in its upper left corner.
        work folder  The folder that a command writes all its results to.
        jump         One factor of super-resolution; gradual super-resolution has several.
        layer        The output of one generator network in a decomposition.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import struct

from deepinternal import numerics

Array = jax.Array
PyTree = Any
Inputs = Mapping[str, PyTree]
Metrics = dict[str, Array]
Callback = Callable[[int, dict[str, float]], None]
Precision = Literal["default", "high", "highest", "bfloat16"]  # of nets, see `ops.precision`
_SHOWN = 4  # maximum number of stages, inputs and shapes in a repr


class InputError(ValueError):
    """An error in the user's input: one line that names the problem, the place and the remedy."""


class TrainState(struct.PyTreeNode):
    """The complete state of a run, as arrays.

    Attributes:
        step: int32 scalar, the number of steps taken in the current stage.
        key: Typed PRNG key, constant within a stage; a step draws from `fold_in(key, step)`.
        params: Network parameters, a dict keyed by net.
        opt_state: Optimiser states, a dict keyed by net (or by optimiser).
        model_state: Everything else: schedules that react to the loss, averages, snapshots,
            statistics.
    """

    step: Array
    key: Array
    params: dict[str, PyTree]
    opt_state: dict[str, PyTree]
    model_state: dict[str, PyTree]


class Output(struct.PyTreeNode):
    """One result of a method with its kind, so that writers need not know the method.

    Attributes:
        value: An image (H, W, C) or mask (H, W) in [0, 1]; images, a dict of several by name; a
            kernel (K, K) that sums to 1; a map (H, W), which is displayed relative to its maximum;
            frames (T, H, W[, C]) in [0, 1]; a scalar or vector of any shape.
        kind: 'image', 'images', 'mask', 'kernel', 'map', 'frames' or 'scalar'; static under JAX
            transformations.
        size: (2,) int32, the (H, W) of the valid part in the upper left of `value`; None: all of
            it.
        source: In a job of several files, the index of the file whose transparency and bit depth an
            image gets; static.
        frame_rate: The rate of frames per second; 0: that of the input; static.
    """

    value: Any
    kind: str = struct.field(pytree_node=False, default="image")
    size: Array | None = None
    source: int = struct.field(pytree_node=False, default=0)
    frame_rate: float = struct.field(pytree_node=False, default=0.0)


@dataclasses.dataclass(frozen=True)
class Example:
    """A stand-in for the user's files, for runs without any.

    Attributes:
        name: The sample it was made from and how, such as 'skimage.data.astronaut, hazy'.
        image: The image in the form that the method's `prepare` takes.
        truth: The ideal result (H, W, C) in [0, 1], or None.
        sides: Side inputs in the form that `prepare` takes, for the fields that the user left
            empty.
    """

    name: str
    image: Any
    truth: Any = None
    sides: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def own_params(state: TrainState) -> dict[str, PyTree]:
    """Returns the final parameters of a method that does not average them."""
    return state.params


def no_variant(seed: int, step: int) -> Hashable:
    """Returns the variant of a stage whose steps all run the same program."""
    del seed, step
    return None


def never_done(state: TrainState) -> Array:
    """Returns False: the stopping rule of a stage that always takes all its steps."""
    return state.step < 0


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of a run with static shapes and its own number of steps.

    Attributes:
        name: A short name for logs.
        steps: The number of steps, an upper bound if `done` can end the stage earlier.
        step: `(state, inputs, variant) -> (state, metrics)`, pure. Once `done(state)` holds, the
            state no longer changes, so that late polling and other lanes of a batch have no effect.
            `Stage` ensures this for `step` and for `evaluate`.
        evaluate: `(state, inputs) -> (state, metrics)`, pure, called every `evaluate_every` steps;
            metrics of shape (H, W, C) in [0, 1] are pictures.
        evaluate_every: The number of steps between evaluations; 0 for never.
        variant: `(seed, step) -> hashable`, on the host, from a finite set: the part of a step that
            must be static and changes between steps. Each value is compiled as one program.
        done: `state -> bool scalar`, pure.
        advance: `(state, inputs) -> (state, inputs)` of the next stage, pure; None in the last
            stage.
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
        _fix(self, "step", "evaluate", "done", "advance")


class _Fixed:
    """A function that runs with fixed `numerics`; equal to another one if the functions are."""

    def __init__(self, function: Callable):
        named = function
        while isinstance(named, functools.partial):
            named = named.func
        functools.update_wrapper(self, named, updated=())  # programs are named after it
        self.__wrapped__ = function
        self.frozen = getattr(function, "frozen", False)  # see `Stage`

    def __call__(self, *args: Any, **options: Any) -> Any:
        with numerics.fixed():
            return self.__wrapped__(*map(numerics.narrowed, args), **numerics.narrowed(options))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Fixed) and self.__wrapped__ == other.__wrapped__

    def __hash__(self) -> int:
        return hash(self.__wrapped__)


def _fix(made: Any, *names: str) -> None:
    """Lets the functions of a `Stage` or a `Method` run with fixed `numerics`."""
    for name in names:
        function = getattr(made, name)
        if not (function in (None, never_done, own_params) or isinstance(function, _Fixed)):
            object.__setattr__(made, name, _Fixed(function))


@dataclasses.dataclass(frozen=True)
class _Frozen:
    """A step or an evaluation that leaves the state unchanged once its stage is done."""

    function: Callable[..., tuple[TrainState, Metrics]]
    done: Callable[[TrainState], Array]
    frozen: ClassVar[bool] = True  # checked by `Stage`

    def __call__(self, state: TrainState, *args: Any, **options: Any) -> tuple[TrainState, Metrics]:
        new, metrics = self.function(state, *args, **options)
        over, key = self.done(state), state.key  # a typed key, which is constant within a stage
        old, new = state.replace(key=None), new.replace(key=None)
        kept = jax.tree.map(lambda a, b: jnp.where(over, a, b), old, new)
        return kept.replace(key=key), metrics


@dataclasses.dataclass(frozen=True)
class Method:
    """A method for inputs of one shape, as `Recipe.make(config, spec)` returns it.

    Attributes:
        name: The name of the recipe.
        init: `(key, inputs) -> state` of the first stage, pure.
        stages: The stages, in order.
        outputs: `(state, inputs) -> dict[str, Output]` after the last stage, pure. The entry
            'result' is the main output; the documentation names the others.
        baseline: `inputs -> image` for comparison with the result (bicubic for super-resolution,
            the degraded input for restoration), or None.
        progress: The name of the evaluation metric to show during training, '' for none.
        replicas: The number of seeds trained side by side on the same inputs (vmapped by the
            engine).
        reduce: With replicas, `outputs with a leading replica axis -> outputs`, pure.
        spec: Shapes and dtypes of the inputs that the method was made for, as `input_spec` returns
            them; `init` refuses other inputs. None: unknown, and all inputs are accepted.
        final_params: `state -> params`, the parameters that the outputs are made with; averages if
            the method averages them.
        apply: `(state, inputs) -> outputs` for another image, pure: applies a state that was
            trained on one image to inputs of the shapes in `spec`. None: the weights are only valid
            for the image that they were trained on.
        lanes: How several images are trained on one device: 'vmap', or 'map', one after another in
            one program, for nets that gain nothing from a batch.
        more: The stage in which a finished run continues after its inputs have changed, see
            `Recipe.continued`; None: it cannot continue. It is no part of `stages`.
        again: `(state, inputs) -> state` at the start of `more`, pure, from the state at the end of
            the last stage, or at any step of `more`, and the changed inputs.
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
    lanes: Literal["vmap", "map"] = "vmap"
    more: Stage | None = None
    again: Callable[[TrainState, Inputs], TrainState] | None = None

    def __post_init__(self):
        if not self.stages or any(s.advance is None for s in self.stages[:-1]):
            raise ValueError(f"{self.name}: every stage but the last needs an `advance`.")
        if (self.replicas > 1) != (self.reduce is not None):
            raise ValueError(f"{self.name}: replicas > 1 requires `reduce`, and vice versa.")
        if (self.more is None) != (self.again is None) or (self.more and self.replicas > 1):
            raise ValueError(f"{self.name}: `more` requires `again`, vice versa, and no replicas.")
        _fix(self, "init", "outputs", "baseline", "reduce", "final_params", "apply", "again")

    @property
    def all_stages(self) -> tuple[Stage, ...]:
        """The stages, and `more` if there is one."""
        return (*self.stages, self.more) if self.more else self.stages

    def __repr__(self) -> str:
        stages = [f"{s.name!r}, at most {s.steps} steps" for s in self.stages]
        spec = (self.spec or {}).items()
        shapes = [f"{n} {_few([str(x.shape) for x in jax.tree.leaves(s)], ', ')}" for n, s in spec]
        lines = [f"Method {self.name!r}", f"  stages: {_few(stages, '; ')}"]
        return "\n".join(lines + ([f"  inputs: {_few(shapes, '; ')}"] if shapes else []))

    def step(
        self, state: TrainState, inputs: Inputs, variant: Hashable = None
    ) -> tuple[TrainState, Metrics]:
        """Takes one step of a method with a single stage."""
        self.check(inputs)
        return self._stage().step(state, inputs, variant)

    def evaluate(self, state: TrainState, inputs: Inputs) -> tuple[TrainState, Metrics]:
        """Evaluates a method with a single stage; the identity if the stage has no evaluation."""
        self.check(inputs)
        evaluate = self._stage().evaluate
        return evaluate(state, inputs) if evaluate else (state, {})

    def variant(self, seed: int, step: int) -> Hashable:
        """Returns the static variant of step `step` (0-based) of a method with a single stage."""
        return self._stage().variant(seed, step)

    def done(self, state: TrainState) -> Array:
        """Whether the single stage of a method has met its stopping rule."""
        return self._stage().done(state)

    def check(self, inputs: Inputs) -> None:
        """Refuses inputs whose shapes or kinds of numbers differ from those of `spec`."""
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
                    f"{self.name}: {name} must hold the kind of numbers that this method was "
                    "made for; give images as float32 in [0, 1]"
                )

    def _stage(self) -> Stage:
        if len(self.stages) > 1:
            names = ", ".join(stage.name for stage in self.stages)
            raise InputError(
                f"{self.name}: has {len(self.stages)} stages ({names}); use method.stages[i].step "
                "etc., and method.stages[i].advance between stages"
            )
        return self.stages[0]


def for_spec(method: Method, spec: PyTree) -> Method:
    """Returns a copy of a method that knows its `spec` and refuses inputs of other shapes.

    Args:
        method: A method made for these shapes.
        spec: The shapes and dtypes, as `input_spec` returns them.

    Returns:
        The method, with unchanged functions except that `init` checks its inputs.
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
    """Joins the first few texts, and adds how many more there are."""
    more = [f"and {len(texts) - _SHOWN} more"] if len(texts) > _SHOWN else []
    return separator.join(texts[:_SHOWN] + more)


def input_spec(inputs: Inputs) -> dict[str, PyTree]:
    """Returns the shapes and dtypes of `inputs`, in the form that `make` takes.

    Leaves may be JAX arrays, NumPy arrays or `jax.ShapeDtypeStruct`s.
    """
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), dict(inputs))
