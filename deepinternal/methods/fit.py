"""Fitting untrained networks to one image: the machinery under DIP and Double-DIP.

A *generator* is a network with a fixed random input, and its output is a *layer*. All layers are fitted
together to a loss, a pure function of the layers that anyone can write. A decomposition is a dict of
generators, a list of phases (each with a loss), and a function from layers to outputs. `build` turns
these into a `Method`, which is run, batched, resumed and reported like any other. The docstring of
`build` has a small example.

Where the papers are in the code: the fixed input and its perturbation (DIP, section 2.1) ->
`Generator`; the fit (eq. 2) -> `_step`; the state that a phase tracks, and when it ends ->
`methods.tracking`.

References:
    Ulyanov, Vedaldi, Lempitsky: Deep Image Prior. CVPR 2018.
    Gandelsman, Shocher, Irani: "Double-DIP": Unsupervised Image Decomposition via Coupled
    Deep-Image-Priors. CVPR 2019.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from deepinternal.methods import optimizers, tracking
from deepinternal.methods.generator import Generator, crop
from deepinternal.methods.tracking import Layers, Phase
from deepinternal.types import (
    Array,
    InputError,
    Inputs,
    Method,
    Output,
    Stage,
    TrainState,
    never_done,
)


@dataclasses.dataclass(frozen=True)
class _Fit:
    """The static part of a fit; see `build`."""

    generators: Mapping[str, Generator]
    phases: tuple[Phase, ...]
    shape: tuple[int, int]
    frames: int
    batch: int
    per_frame: tuple[str, ...]
    more: int

    def nets(self, phase: Phase) -> tuple[str, ...]:
        return phase.nets or tuple(self.generators)

    def size(self, generator: Generator) -> tuple[int, int]:
        """(H, W) of a layer."""
        return tuple(generator.size or self.shape)

    def padded(self, generator: Generator) -> tuple[int, int]:
        """The sides of a net's input, multiples of the `multiple` of every net."""
        every = math.lcm(*(g.multiple for g in self.generators.values()))
        return tuple(n + -n % every for n in self.size(generator))


def _layers(fit: _Fit, phase: Phase, params, z, key: Array | None, step: Array) -> Layers:
    """The generators' outputs, cropped to the image. Without a key, no noise is added to the inputs."""
    made = {}
    for index, (name, generator) in enumerate(fit.generators.items()):
        if name not in fit.nets(phase):
            continue
        shared = generator.source[1:] if generator.source.startswith("=") else name
        x, jitter = z[shared], phase.jitter.get(name, generator.jitter)
        if key is not None and (callable(jitter) or jitter > 0):
            std = jitter(step) if callable(jitter) else jitter
            noise = jax.random.normal(jax.random.fold_in(key, index), (x.size,))
            x = x + std * noise.reshape(x.shape)
        x = x if fit.frames else x[None]
        y = crop(generator.net.apply({"params": params[name]}, x), fit.size(generator), (1, 2))
        made[name] = y if fit.frames else y[0]
    return made


def _init(fit: _Fit, key: Array, inputs: Inputs) -> TrainState:
    """Makes the weights, the net inputs, and the tracked state of the first phase."""
    key_weights, key_z, key = jax.random.split(key, 3)
    params, z = {}, {}
    for index, (name, generator) in enumerate(fit.generators.items()):
        params[name] = generator.weights(jax.random.fold_in(key_weights, index))
        if not generator.source.startswith("="):
            key_input = jax.random.fold_in(key_z, index)
            shape = fit.padded(generator)
            z[name] = generator.input(key_input, inputs, shape, frames=fit.frames)
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        key=key,
        params=params,
        opt_state={},
        model_state={"z": z},
    )
    return _begin(fit, fit.phases[0], state, inputs)


def _begin(fit: _Fit, phase: Phase, state: TrainState, inputs: Inputs) -> TrainState:
    """The state at the start of a phase, with new optimiser and tracked state."""
    nets = fit.nets(phase)
    params, z = dict(state.params), dict(state.model_state["z"])
    for name in phase.restart:
        key, generator = jax.random.fold_in(state.key, len(params[name])), fit.generators[name]
        params[name] = generator.weights(key)
        if generator.source in inputs:  # which may have changed
            z[name] = generator.input(key, inputs, fit.padded(generator), frames=fit.frames)
    apply = functools.partial(_layers, fit, phase, key=None, step=state.step)
    zeros = jax.eval_shape(apply, params, z)
    zeros = {name: jnp.zeros(x.shape, x.dtype) for name, x in zeros.items()}
    trained = {n: params[n] for n in nets}
    tracked = tracking.begin(phase, zeros, trained)
    name, optimizer = _optimizer(phase)
    return state.replace(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state={name: optimizer.init(trained)},
        model_state={"z": z, **tracked, **({"pace": jnp.zeros(())} if fit.more else {})},
    )


def _turned(x: Array, flips: tuple[Array, ...], axes: tuple[int, int]) -> Array:
    """Mirrors an array along two axes and then, if it is square, transposes it."""
    for flip, axis in zip(flips, axes):
        x = jnp.where(flip, jnp.flip(x, axis), x)
    if x.shape[axes[0]] == x.shape[axes[1]]:
        x = jnp.where(flips[2], jnp.swapaxes(x, *axes), x)
    return x


def _select(fit: _Fit, phase: Phase, key: Array, state: TrainState, inputs: Inputs):
    """Returns the net inputs and the inputs of one step: a batch of frames, possibly flipped."""
    z, inputs = state.model_state["z"], dict(inputs)
    if fit.frames and fit.batch < fit.frames:
        chosen = jax.random.permutation(jax.random.fold_in(key, 1), fit.frames)[: fit.batch]
        z = {name: x[chosen] for name, x in z.items()}
        inputs |= {name: inputs[name][chosen] for name in fit.per_frame}
    if phase.flips:
        due = state.step % phase.flips == phase.flips - 1
        turn = state.step // phase.flips
        flips = tuple(due & (turn // 2**bit % 2 == 1) for bit in range(3))
        space = (1, 2) if fit.frames else (0, 1)
        of_image = lambda x: x.shape[space[0] : space[1] + 1] == fit.shape
        z = {name: _turned(x, flips, space) for name, x in z.items()}
        inputs = {n: _turned(x, flips, space) if of_image(x) else x for n, x in inputs.items()}
    return z, inputs


def _scheduled(state: TrainState) -> Array:
    """The step that schedules see: in `more`, which has fewer steps, they run faster."""
    if "pace" not in state.model_state:
        return state.step
    pace = state.model_state["pace"]
    return jnp.where(pace > 0, (pace * state.step).astype(jnp.int32), state.step)


def _done(phase: Phase, state: TrainState) -> Array:
    """Whether a phase has met its stopping rule; `more` takes all its steps."""
    met = tracking.done(phase, state)
    return met & (state.model_state["pace"] == 0) if "pace" in state.model_state else met


def _step(fit: _Fit, phase: Phase, state: TrainState, inputs: Inputs, variant=None):
    """One update of the parameters for the loss of a phase."""
    del variant
    key = jax.random.fold_in(state.key, state.step)
    nets, step = fit.nets(phase), _scheduled(state)
    z, chosen = _select(fit, phase, key, state, inputs)

    def loss_fn(params):
        layers = _layers(fit, phase, params, z, jax.random.fold_in(key, 2), step)
        loss, terms = _checked(phase, phase.loss(layers, chosen, step))
        return loss, (terms, layers)

    trained = {name: state.params[name] for name in nets}
    (loss, (terms, layers)), grads = jax.value_and_grad(loss_fn, has_aux=True)(trained)
    trained, opt_state, rate = _updated(phase, trained, grads, state)
    new = state.replace(
        step=state.step + 1,
        params={**state.params, **trained},
        opt_state=opt_state,
        model_state=tracking.track(phase, state, chosen, loss, terms, layers),
    )
    return new, {"loss": loss, **terms, **rate}


def _checked(phase: Phase, made: Any) -> tuple[Array, dict[str, Array]]:
    """Returns the result of a loss; refuses it if it is not a scalar and its terms by name."""
    pair = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(pair[1], Mapping) or jnp.shape(pair[0]) != ():
        raise InputError(
            f"phase {phase.name!r}: its loss must return (scalar, terms), where terms is a dict of "
            "scalars by name, which may be empty"
        )
    return pair


def _optimizer(phase: Phase) -> tuple[str, optax.GradientTransformation]:
    """Returns the name under which a phase's optimiser state is kept, and the optimiser."""
    if phase.optimizer is not None:
        return "optimizer", phase.optimizer
    return "adam", optimizers.adam()


def _updated(phase: Phase, params, grads, state: TrainState):
    """Returns new parameters and optimiser state, and Adam's learning rate for the log."""
    name, optimizer = _optimizer(phase)
    updates, opt_state = optimizer.update(grads, state.opt_state[name], params)
    logged = {}
    if phase.optimizer is None:
        rate = phase.learning_rate
        rate = rate(_scheduled(state)) if callable(rate) else jnp.asarray(rate, jnp.float32)
        updates, logged = jax.tree.map(lambda u: rate * u, updates), {"learning_rate": rate}
    return optax.apply_updates(params, updates), {name: opt_state}, logged


def _final(fit: _Fit, phase: Phase, state: TrainState) -> Layers:
    """The final layers of a phase."""
    if (kept := tracking.kept(phase, state)) is not None:
        return kept
    z, count = state.model_state["z"], fit.frames
    apply = functools.partial(_layers, fit, phase, state.params, key=None, step=state.step)
    if not count or fit.batch >= count:
        return apply(z)
    starts = range(0, count, fit.batch)
    parts = [apply({n: x[i : i + fit.batch] for n, x in z.items()}) for i in starts]
    return {name: jnp.concatenate([part[name] for part in parts]) for name in parts[0]}


def _advance(fit: _Fit, phase: Phase, following: Phase, state: TrainState, inputs: Inputs):
    """Returns the state and the inputs of the phase after `phase`."""
    if phase.carry:
        inputs = phase.carry(_final(fit, phase, state), inputs)
    state = state.replace(key=jax.random.fold_in(state.key, 1))
    return _begin(fit, following, state, inputs), inputs


def _again(fit: _Fit, state: TrainState, inputs: Inputs) -> TrainState:
    """The state at the start of `more`: the weights of a finished fit, for inputs that have changed."""
    last = fit.phases[-1]
    state = state.replace(key=jax.random.fold_in(state.key, 1))
    z = dict(state.model_state["z"])
    for index, (name, generator) in enumerate(fit.generators.items()):
        if generator.source in inputs:
            key = jax.random.fold_in(state.key, index)
            z[name] = generator.input(key, inputs, fit.padded(generator), frames=fit.frames)
    kept = dataclasses.replace(last, restart=())
    state = _begin(fit, kept, state.replace(model_state={"z": z}), inputs)
    pace = jnp.asarray(last.steps / fit.more, jnp.float32)
    return state.replace(model_state={**state.model_state, "pace": pace})


def build(
    name: str,
    generators: Mapping[str, Generator],
    phases: Sequence[Phase],
    outputs: Callable[[Layers, Inputs], dict[str, Output]],
    *,
    shape: tuple[int, int],
    frames: int = 0,
    batch: int = 0,
    per_frame: Sequence[str] = ("image",),
    more: int = 0,
    **method: Any,
) -> Method:
    """Makes a method that fits generators to inputs of one shape.

    Args:
        name: Name of the method.
        generators: The generators, by the names of their layers.
        phases: The phases in order; weights are passed on from one to the next.
        outputs: `(layers, inputs) -> outputs`, pure, from the final layers of the last phase.
        shape: (H, W) of the layers; the nets' inputs are enlarged to the multiples that they need.
        frames: Number T of frames of a video, whose layers are (T, H, W, C) with the same weights; 0:
            an image.
        batch: Number of frames in a step; 0: all.
        per_frame: Names of the inputs with a leading axis of frames.
        more: Number of steps with which a finished fit continues after its inputs have changed, see
            `Recipe.continued`: it takes the last phase again, from its own weights and net inputs and
            with a new optimiser, but with faster schedules and without an early end. 0: it cannot.
        **method: Further fields of `Method`: baseline, progress, replicas, reduce.

    Returns:
        The method, with one stage for each phase.

    Raises:
        ValueError: A phase names an unknown generator, or it tracks layers although they are flipped or
            belong to a batch of frames, or a fit with `more` carries inputs from phase to phase.

    Example:
        A photograph is the product of a grey shading and a colour, each fitted by a small net:

        >>> import jax
        >>> from deepinternal.losses.pixel import l2
        >>> from deepinternal.methods import fit
        >>> from deepinternal.nets.skip import SkipNet
        >>> from deepinternal.types import Output
        >>> nets = {
        ...     "shading": fit.Generator(SkipNet(outputs=1, down=(4,), skip=2)),
        ...     "colour": fit.Generator(SkipNet(outputs=3, down=(4,), skip=2)),
        ... }
        >>> def loss(layers, inputs, step):
        ...     error = l2(layers["shading"] * layers["colour"], inputs["image"])
        ...     return error, {"data": error}
        >>> def outputs(layers, inputs):
        ...     return {"result": Output(layers["colour"]), "shading": Output(layers["shading"])}
        >>> phase = fit.Phase("fit", 1000, loss, learning_rate=0.01)
        >>> method = fit.build("intrinsic", nets, [phase], outputs, shape=(16, 24))
        >>> inputs = {"image": jax.numpy.full((16, 24, 3), 0.25)}
        >>> state = jax.jit(method.init)(jax.random.key(0), inputs)
        >>> state, metrics = jax.jit(method.step)(state, inputs)
        >>> sorted(metrics)
        ['data', 'learning_rate', 'loss']
        >>> jax.jit(method.outputs)(state, inputs)["shading"].value.shape
        (16, 24, 1)
    """
    sizes = tuple(shape), frames, batch or frames
    fit = _Fit(generators, tuple(phases), *sizes, tuple(per_frame), more)
    for phase in phases:
        if unknown := [n for n in (*phase.nets, *phase.restart) if n not in generators]:
            raise ValueError(f"{name}: phase {phase.name!r}: no generator {unknown[0]!r}")
        if (fit.batch < frames or phase.flips) and (phase.keep != "last" or phase.validate):
            raise ValueError(f"{name}: batches and flips need keep='last' and validate=None")
    stages = _stages(fit)
    if more:
        if any(phase.carry for phase in phases):
            raise ValueError(f"{name}: `more` needs phases without `carry`")
        stage = dataclasses.replace(stages[-1], name="more", steps=more)  # of the same programs
        method |= {"more": stage, "again": functools.partial(_again, fit)}
    finish = lambda state, inputs: outputs(_final(fit, phases[-1], state), inputs)
    return Method(name, functools.partial(_init, fit), tuple(stages), finish, **method)


def _stages(fit: _Fit) -> list[Stage]:
    """Returns the stages of all phases; those of equal phases have the same functions.

    The programs of such stages are compiled only once.
    """
    bind, steps, advances, stages = functools.partial, [], [], []
    for phase, following in zip(fit.phases, [*fit.phases[1:], None]):
        kind, advance = dataclasses.replace(phase, name="", carry=None), None
        if following:
            key = kind, phase.carry, dataclasses.replace(following, name="", carry=None)
            advance = _known(advances, key, bind(_advance, fit, phase, following))
        stage = Stage(
            name=phase.name,
            steps=phase.steps,
            step=bind(_step, fit, phase),
            evaluate=bind(tracking.evaluate, phase) if phase.backtrack else None,
            evaluate_every=100 if phase.backtrack else 0,
            done=bind(_done, phase) if tracking.can_end(phase) else never_done,
        )
        stage = _known(steps, kind, stage)
        stages.append(dataclasses.replace(stage, name=phase.name, advance=advance))
    return stages


def _known(made: list[tuple[Any, Any]], key: Any, value: Any) -> Any:
    """Returns the value that was made for an equal key, or the new one, which is then added."""
    for other, earlier in made:
        if other == key:
            return earlier
    made.append((key, value))
    return value
