"""Fitting untrained networks to one image: the machinery under DIP and Double-DIP.

A *generator* is a network with a fixed random input; what it makes is a *layer*. All layers are fitted
together, by Adam, to a loss over them: a pure function that anyone can write. A decomposition is a
dict of generators, a list of phases (each with a loss), and a function that turns layers into outputs;
`build` makes a `Method` of these, to be run, batched, resumed and reported like any other.

    generators = {"shading": Generator(SkipNet(1, down=(8, 16, 32))), ...}
    def loss(layers, inputs, step):
        terms = {"data": l2(layers["shading"] * layers["colour"], inputs["image"]), ...}
        return weighted_sum(terms, WEIGHTS), terms
    method = build("intrinsic", generators, [Phase("fit", 1000, loss)], outputs, shape=(H, W))

Where the papers are in the code: fixed input, its perturbation and the fit (DIP, eq. 2; section 2.1)
-> `Generator`, `_step`; what a phase remembers, and when it ends -> `methods.tracking`.

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
from deepinternal.methods.tracking import Jitter, Layers, Phase
from deepinternal.types import Array, Inputs, Method, Output, Stage, TrainState


@dataclasses.dataclass(frozen=True)
class Generator:
    """A network and the input that it is given.

    Attributes:
        net: linen module (N, h, w, depth) -> (N, h, w, C); an attribute `multiple` says by what the
            sides must divide (1 without it), a method `weights(key, depth)` gives initial weights
            (its `init` without it).
        depth: channels of the input.
        low, high: range of its uniform noise.
        source: 'noise'; 'meshgrid' (coordinates in [0, 1], depth 2); '=NAME': the input of another
            generator; or the name of an input (H, W, depth) of the method, to be taken as it is.
        jitter: standard deviation of the normal noise added to the input at each step, a number or a
            function of the step. The layer of a finished fit is made without it.
        drift: of frames, the greatest step of the input from one frame to the next; 0: none.
        size: (h, w) of the layer; None: the image's.
    """

    net: Any
    depth: int = 2
    low: float = -0.005
    high: float = 0.005
    source: str = "noise"
    jitter: Jitter = 0.0
    drift: float = 0.0
    size: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class _Fit:
    """What is static in a fit; see `build`."""

    generators: Mapping[str, Generator]
    phases: tuple[Phase, ...]
    shape: tuple[int, int]
    frames: int
    batch: int
    per_frame: tuple[str, ...]

    def nets(self, phase: Phase) -> tuple[str, ...]:
        return phase.nets or tuple(self.generators)

    def size(self, generator: Generator) -> tuple[int, int]:
        """(H, W) of a layer."""
        return tuple(generator.size or self.shape)

    def padded(self, generator: Generator) -> tuple[int, int]:
        """Sides of a net's input, multiples of what the nets need."""
        every = math.lcm(*(getattr(g.net, "multiple", 1) for g in self.generators.values()))
        return tuple(n + -n % every for n in self.size(generator))


def uniform(key: Array, shape: tuple[int, ...], low: float, high: float) -> Array:
    """Uniform noise of any shape, drawn flat: it compiles several times faster."""
    return jax.random.uniform(key, (math.prod(shape),), minval=low, maxval=high).reshape(shape)


def growing(rate: float, every: int, until: int = 1000) -> Callable[[Array], Array]:
    """Double-DIP's perturbation: `rate * (step // every)` before step `until`, then `rate`."""
    return lambda step: rate * jnp.where(step < until, step // every, 1)


def meshgrid(shape: tuple[int, int]) -> Array:
    """Coordinates (H, W, 2), horizontal first, from 0 to 1."""
    y, x = jnp.meshgrid(*(jnp.linspace(0, 1, n) for n in shape), indexing="ij")
    return jnp.stack([x, y], axis=-1)


def pad(x: Array, shape: tuple[int, int], axes: tuple[int, int] = (0, 1)) -> Array:
    """Mirrors an array beyond its borders, evenly on both sides, up to `shape`."""
    widths = [(0, 0)] * x.ndim
    for axis, size in zip(axes, shape):
        missing = size - x.shape[axis]
        widths[axis] = (missing // 2, missing - missing // 2)
    return jnp.pad(x, widths, mode="symmetric")


def crop(x: Array, shape: tuple[int, int], axes: tuple[int, int]) -> Array:
    """The centre of what `pad` made."""
    for axis, size in zip(axes, shape):
        start = (x.shape[axis] - size) // 2
        x = jax.lax.slice_in_dim(x, start, start + size, axis=axis)
    return x


def _net_input(fit: _Fit, generator: Generator, key: Array, inputs: Inputs) -> Array:
    """The fixed input of one generator, (h, w, depth), with frames (T, h, w, depth)."""
    low, high, shape = generator.low, generator.high, fit.padded(generator)
    size = (*shape, generator.depth)
    if generator.source == "meshgrid":
        z = meshgrid(shape)
    elif generator.source != "noise":
        z = pad(inputs[generator.source], shape)
    else:
        z = uniform(key, size, low, high)
    if not fit.frames:
        return z
    if not generator.drift:
        return jnp.broadcast_to(z, (fit.frames, *z.shape))
    keys = jax.random.split(jax.random.fold_in(key, 1), fit.frames - 1)
    steps = [uniform(k, size, -generator.drift, generator.drift) for k in keys]
    drifted = jnp.cumsum(jnp.stack([z, *steps]), axis=0)
    # Reflected at both ends of the range: a walk would leave it.
    return low + (high - low) - jnp.abs((drifted - low) % (2 * (high - low)) - (high - low))


def _layers(fit: _Fit, phase: Phase, params, z, key: Array | None, step: Array) -> Layers:
    """What the generators make of their inputs, cut to the image; without a key unperturbed."""
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


def _weights(fit: _Fit, name: str, key: Array):
    generator = fit.generators[name]
    if hasattr(generator.net, "weights"):
        return generator.net.weights(key, generator.depth)
    side = max(getattr(generator.net, "multiple", 1), 8)
    return generator.net.init(key, jnp.zeros((1, side, side, generator.depth)))["params"]


def _init(fit: _Fit, key: Array, inputs: Inputs) -> TrainState:
    """Weights, net inputs, and the trackers of the first phase."""
    key_weights, key_z, key = jax.random.split(key, 3)
    params, z = {}, {}
    for index, (name, generator) in enumerate(fit.generators.items()):
        params[name] = _weights(fit, name, jax.random.fold_in(key_weights, index))
        if not generator.source.startswith("="):
            z[name] = _net_input(fit, generator, jax.random.fold_in(key_z, index), inputs)
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        key=key,
        params=params,
        opt_state={},
        model_state={"z": z},
    )
    return _begin(fit, fit.phases[0], state)


def _begin(fit: _Fit, phase: Phase, state: TrainState) -> TrainState:
    """The state at the beginning of a phase: fresh Adam, fresh trackers."""
    nets = fit.nets(phase)
    params = dict(state.params)
    for name in phase.restart:
        params[name] = _weights(fit, name, jax.random.fold_in(state.key, len(params[name])))
    z = state.model_state["z"]
    apply = functools.partial(_layers, fit, phase, key=None, step=state.step)
    zeros = jax.eval_shape(apply, params, z)
    zeros = {name: jnp.zeros(x.shape, x.dtype) for name, x in zeros.items()}
    trained = {n: params[n] for n in nets}
    tracked = tracking.begin(phase, zeros, trained)
    return state.replace(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state={"adam": optimizers.adam().init(trained)},
        model_state={"z": z, **tracked},
    )


def _turned(x: Array, flips: tuple[Array, ...], axes: tuple[int, int]) -> Array:
    """An array mirrored along its two axes and, where it is square, transposed last."""
    for flip, axis in zip(flips, axes):
        x = jnp.where(flip, jnp.flip(x, axis), x)
    if x.shape[axes[0]] == x.shape[axes[1]]:
        x = jnp.where(flips[2], jnp.swapaxes(x, *axes), x)
    return x


def _select(fit: _Fit, phase: Phase, key: Array, state: TrainState, inputs: Inputs):
    """Net inputs and inputs of one step: some of the frames, perhaps mirrored and turned."""
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


def _step(fit: _Fit, phase: Phase, state: TrainState, inputs: Inputs, variant=None):
    """One step of Adam on the loss of a phase."""
    del variant
    key = jax.random.fold_in(state.key, state.step)
    nets = fit.nets(phase)
    z, chosen = _select(fit, phase, key, state, inputs)

    def loss_fn(params):
        layers = _layers(fit, phase, params, z, jax.random.fold_in(key, 2), state.step)
        loss, terms = phase.loss(layers, chosen, state.step)
        return loss, (terms, layers)

    trained = {name: state.params[name] for name in nets}
    (loss, (terms, layers)), grads = jax.value_and_grad(loss_fn, has_aux=True)(trained)
    updates, opt_state = optimizers.adam().update(grads, state.opt_state["adam"])
    rate = phase.learning_rate
    rate = rate(state.step) if callable(rate) else jnp.asarray(rate, jnp.float32)
    trained = optax.apply_updates(trained, jax.tree.map(lambda u: rate * u, updates))
    new = state.replace(
        step=state.step + 1,
        params={**state.params, **trained},
        opt_state={"adam": opt_state},
        model_state=tracking.track(phase, state, loss, terms, layers),
    )
    if phase.window or phase.target < math.inf:
        new = tracking.keep_if(tracking.done(phase, state), state, new)
    return new, {"loss": loss, **terms, "learning_rate": rate}


def _final(fit: _Fit, phase: Phase, state: TrainState) -> Layers:
    """The layers with which a phase ends."""
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
    """State and inputs of the phase after `phase`."""
    if phase.carry:
        inputs = phase.carry(_final(fit, phase, state), inputs)
    state = state.replace(key=jax.random.fold_in(state.key, 1))
    return _begin(fit, following, state), inputs


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
    **method: Any,
) -> Method:
    """A method that fits generators to inputs of one shape.

    Args:
        name: the method's.
        generators: by the name of the layer they make.
        phases: in order; weights go on from one to the next.
        outputs: `(layers, inputs) -> outputs`, pure, of the last phase's layers.
        shape: (H, W) of the layers; nets see it enlarged to what they need.
        frames: T of a video, whose layers are (T, H, W, C) of the same weights; 0: an image.
        batch: frames that a step takes; 0: all.
        per_frame: inputs with a leading axis of frames.
        **method: further fields of `Method`: baseline, progress, replicas, reduce.

    Returns:
        The method; one stage for each phase.

    Raises:
        ValueError: a phase names a generator that there is not, or remembers layers that are mirrored
            or of a batch of frames.
    """
    fit = _Fit(generators, tuple(phases), tuple(shape), frames, batch or frames, tuple(per_frame))
    stages, bind = [], functools.partial
    for phase, following in zip(phases, [*phases[1:], None]):
        if unknown := [n for n in (*phase.nets, *phase.restart) if n not in generators]:
            raise ValueError(f"{name}: phase {phase.name!r} names no generator: {unknown[0]!r}")
        if (fit.batch < frames or phase.flips) and (phase.keep != "last" or phase.window):
            raise ValueError(f"{name}: batches and flips go with keep='last' and window=0")
        stages.append(
            Stage(
                name=phase.name,
                steps=phase.steps,
                step=bind(_step, fit, phase),
                evaluate=bind(tracking.evaluate, phase) if phase.backtrack else None,
                evaluate_every=100 if phase.backtrack else 0,
                done=bind(tracking.done, phase),
                advance=following and bind(_advance, fit, phase, following),
            )
        )
    last = phases[-1]
    finish = lambda state, inputs: outputs(_final(fit, last, state), inputs)
    return Method(name, bind(_init, fit), tuple(stages), finish, **method)
