"""Array aliases, the training state, the `Method` protocol, and the error for bad input.

A *method* is a handful of pure functions over arrays. The engine compiles, batches, checkpoints and
reports them without knowing any method by name. Images are float32 in [0, 1], (H, W, C), unless a
docstring says otherwise; noise is given as a standard deviation in the same unit.

Glossary:
    The project uses one word per thing. The parts of a method:

    * **method**: pure functions for inputs of one shape (`Method`), made by a recipe from a config.
    * **recipe**: all that is needed to run a method from files: config, presets, `prepare`, `make`.
    * **config**: the typed settings of a method, its *fields*. A *preset* is a named set of values.
    * **stage**: a part of a run with its own number of steps. `methods.fit` builds it from a *phase*.
    * **step**: one update of the parameters. A *dispatch* of a program takes one or more steps.
    * **state**: everything that training changes (`TrainState`). A *checkpoint* is a saved state.
    * **jump**: one factor of super-resolution. Gradual super-resolution has several jumps.

    The arrays that a method takes and returns:

    * **image**: an array (H, W, C). A *photograph* is an image that a user provides.
    * **low-resolution, high-resolution**: the images before and after super-resolution.
    * **truth**: the ideal result. A *baseline* is the result of a simple method, for comparison.
    * **inputs**: the arrays that a method takes. A *side input* is a further array or file that a
      user gives besides the image, such as a kernel or a mask.
    * **output**: one named result of a method (`Output`). The main output is called `result`.
    * **kernel**: the weights of a blur, as a correlation kernel (K, K) that sums to 1.
    * **mask**: an image (H, W) in [0, 1] that selects pixels: 1 for selected, 0 for the others.
    * **hint**: a mask of pixels that a user, or an estimator, is sure about.
    * **layer**: one of the images that a decomposition splits an image into.
    * **mark**: a watermark of one colour. Its *matte* is its opacity at each pixel.
    * **patch**: a small square of neighbouring pixels. A *crop* is a larger part of an image that a
      net is trained on; a *window* is a square in which statistics are measured.

    The organisation of runs:

    * **job**: one folder in the work folder: an image, several images together, or a video.
    * **run**: the training of a method on one job, from its first step to its last.
    * **replica**: one of several seeds that are trained side by side on the same inputs.
    * **lane**: a place in a batch that trains one run. A *group* of jobs shares compiled programs.
    * **canvas**: a larger array that holds images of different sizes in its upper left corner.
    * **work folder**: the folder that a command writes all its results to.
"""

import dataclasses
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
            frames (T, H, W[, C]) in [0, 1]; numbers of any shape.
        kind: 'image', 'images', 'mask', 'kernel', 'map', 'frames' or 'scalar'; static under JAX
            transformations.
        size: (2,) int32, the (H, W) of the valid part in the upper left corner of `value`; None: all
            of it is valid.
        source: In a job of several files, the index of the file whose transparency and bit depth an
            image gets; static.
        frame_rate: The number of frames per second; 0: the same as that of the input; static.
    """

    value: Any
    kind: str = struct.field(pytree_node=False, default="image")
    size: Array | None = None
    source: int = struct.field(pytree_node=False, default=0)
    frame_rate: float = struct.field(pytree_node=False, default=0.0)


@dataclasses.dataclass(frozen=True)
class Example:
    """A stand-in for the user's files, for runs without an input file.

    Attributes:
        name: The sample that it was made from, and how, such as 'skimage.data.astronaut, hazy'.
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
    """Returns None, the variant of a stage whose steps all run the same program."""
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
            state no longer changes, so that further steps, which the other lanes of a batch may
            need, have no effect. `Stage` ensures this for `step` and for `evaluate`.
        evaluate: `(state, inputs) -> (state, metrics)`, pure, called every `evaluate_every` steps;
            metrics of shape (H, W, C) are images in [0, 1].
        evaluate_every: The number of steps between evaluations; 0 for never.
        variant: `(seed, step) -> hashable`, on the host, from a finite set: the part of a step that
            must be static but changes between steps. One program is compiled for each value.
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


def _fix(made: Any, *names: str) -> None:
    """Lets the functions of a `Stage` or a `Method` run with fixed `numerics`."""
    for name in names:
        function = getattr(made, name)
        if function not in (None, never_done, own_params):
            object.__setattr__(made, name, numerics.fixed_function(function))


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
        spec: The shapes and dtypes of the inputs that the method was made for, as `input_spec`
            returns them; `init` refuses other inputs. None: unknown; all inputs are accepted.
        final_params: `state -> params`, the parameters that the outputs are made with; averages if
            the method averages them.
        apply: `(state, inputs) -> outputs`, pure: applies a state that was trained on one image to
            another image, whose inputs have the shapes in `spec`. None: the weights are only valid
            for the image that they were trained on.
        lanes: How several images are trained on one device: 'vmap', or, for nets that gain nothing
            from a batch, 'map', which trains one after another in one program.
        more: The stage in which a finished run continues after its inputs have changed, see
            `Recipe.continued`; None: it cannot continue. It is not part of `stages`.
        again: `(state, inputs) -> state`, pure: makes the state at the start of `more` from the
            changed inputs and the state at the end of the last stage, or at any step of `more`.
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
        """Raises InputError if the shapes of inputs, or their kinds of numbers, differ from `spec`."""
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
                "and so on, and method.stages[i].advance between stages"
            )
        return self.stages[0]


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

    Args:
        inputs: Arrays by name: JAX arrays, NumPy arrays or `jax.ShapeDtypeStruct`s, also nested.

    Returns:
        A `jax.ShapeDtypeStruct` for each array, by name.

    Example:
        >>> import numpy as np
        >>> from deepinternal.types import input_spec
        >>> input_spec({"image": np.zeros((8, 8, 3), np.float32)})
        {'image': ShapeDtypeStruct(shape=(8, 8, 3), dtype=float32)}
    """
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), dict(inputs))
