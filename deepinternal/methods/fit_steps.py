"""The functions of a fit: its state at the start of each phase, its steps, and its final layers.

See `methods.fit`, which makes a `Method` of them.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from deepinternal.methods import optimizers, tracking
from deepinternal.methods.generator import Generator, crop
from deepinternal.methods.tracking import Layers, Phase
from deepinternal.types import Array, InputError, Inputs, TrainState


@dataclasses.dataclass(frozen=True)
class Fit:
    """The static part of a fit; see `fit.build`."""

    generators: Mapping[str, Generator]
    phases: tuple[Phase, ...]
    shape: tuple[int, int]
    frames: int
    batch: int
    per_frame: tuple[str, ...]
    more: int

    def nets(self, phase: Phase) -> tuple[str, ...]:
        """The names of the generators that a phase trains."""
        return phase.nets or tuple(self.generators)

    def size(self, generator: Generator) -> tuple[int, int]:
        """(H, W) of a layer."""
        return tuple(generator.size or self.shape)

    def padded(self, generator: Generator) -> tuple[int, int]:
        """The sides of a net's input, multiples of the `multiple` of every net."""
        every = math.lcm(*(g.multiple for g in self.generators.values()))
        return tuple(n + -n % every for n in self.size(generator))


def _layers(fit: Fit, phase: Phase, params, z, key: Array | None, step: Array) -> Layers:
    """The outputs of the generators, cropped to the image. Without a key, their inputs get no noise."""
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


def init(fit: Fit, key: Array, inputs: Inputs) -> TrainState:
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


def _begin(fit: Fit, phase: Phase, state: TrainState, inputs: Inputs) -> TrainState:
    """The state at the start of a phase, with new optimiser and tracked state."""
    nets = fit.nets(phase)
    params, z = dict(state.params), dict(state.model_state["z"])
    for index, (name, generator) in enumerate(fit.generators.items()):
        if name not in phase.restart:
            continue
        key = jax.random.fold_in(state.key, index)
        params[name] = generator.weights(key)
        if generator.source in inputs:  # an input that may have changed
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


def _select(fit: Fit, phase: Phase, key: Array, state: TrainState, inputs: Inputs):
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


def done(phase: Phase, state: TrainState) -> Array:
    """Whether a phase has met its stopping rule; `more` takes all its steps."""
    met = tracking.done(phase, state)
    return met & (state.model_state["pace"] == 0) if "pace" in state.model_state else met


def step(fit: Fit, phase: Phase, state: TrainState, inputs: Inputs, variant=None):
    """One update of the parameters for the loss of a phase."""
    del variant
    key = jax.random.fold_in(state.key, state.step)
    nets, number = fit.nets(phase), _scheduled(state)
    z, chosen = _select(fit, phase, key, state, inputs)

    def loss_fn(params):
        layers = _layers(fit, phase, params, z, jax.random.fold_in(key, 2), number)
        loss, terms = _checked(phase, phase.loss(layers, chosen, number))
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


def final(fit: Fit, phase: Phase, state: TrainState) -> Layers:
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


def advance(fit: Fit, phase: Phase, following: Phase, state: TrainState, inputs: Inputs):
    """Returns the state and the inputs of the phase after `phase`."""
    if phase.carry:
        inputs = phase.carry(final(fit, phase, state), inputs)
    state = state.replace(key=jax.random.fold_in(state.key, 1))
    return _begin(fit, following, state, inputs), inputs


def again(fit: Fit, state: TrainState, inputs: Inputs) -> TrainState:
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
