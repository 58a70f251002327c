"""A phase of a fit: its settings, and the state that it tracks besides the weights.

Where the papers are in the code: recovery from a collapse of the fit (DIP's public code) -> `evaluate`;
averaged outputs (DIP, section 3.1) -> `track`; stopping without ground truth -> `track`, `done`, after
"Early Stopping for Deep Image Prior" (Wang et al. 2021, algorithm 1).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from deepinternal.methods import optimizers
from deepinternal.methods.generator import Jitter
from deepinternal.types import Array, InputError, Inputs, PyTree, TrainState

Layers = dict[str, Array]
Loss = Callable[[Layers, Inputs, Array], tuple[Array, dict[str, Array]]]
SAMPLED = 4096  # number of values of the first layer that early stopping uses


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a fit, with a loss and an optimiser of its own; it becomes a `Stage`.

    Attributes:
        name: Name for logs.
        steps: Number of steps, an upper bound if the phase can end earlier.
        loss: `(layers, inputs, step) -> (scalar, terms)`. Layers are (H, W, C), with frames
            (B, H, W, C); inputs are the method's. `backtrack` and `target` need a term 'psnr'.
        nets: Names of the generators that are used and trained; (): all.
        learning_rate: Learning rate of Adam, a number or a function of the step.
        optimizer: Replaces Adam and its learning rate; its `update` gets the parameters, too.
        keep: The layers with which the phase ends: 'last'; 'average', their moving average with decay
            `average`; 'best', those of the lowest loss.
        average: See `keep`.
        flips: Interval at which a step fits a mirrored image, for square images also a transposed one;
            0: never.
        restart: Names of the generators whose weights are initialised anew.
        carry: `(layers, inputs) -> inputs` of the next phase.
        backtrack: In dB. If 'psnr' fell by more within 100 steps, the earlier weights are restored; 0:
            never.
        target: The phase ends when 'psnr' exceeds this value; inf: never.
        window: Number of steps over which the variance of the layer of the first of `nets` is taken.
            The phase ends `patience` steps after the least variance, with the layers of that step; 0:
            never.
        patience: See `window`.
        jitter: By the name of a generator, a value that replaces its own `jitter`.
    """

    name: str
    steps: int
    loss: Loss
    nets: tuple[str, ...] = ()
    learning_rate: float | Callable[[Array], Array] = 1e-3
    optimizer: optax.GradientTransformation | None = None
    keep: str = "last"
    average: float = 0.99
    flips: int = 0
    restart: tuple[str, ...] = ()
    carry: Callable[[Layers, Inputs], Inputs] | None = None
    backtrack: float = 0.0
    target: float = math.inf
    window: int = 0
    patience: int = 0
    jitter: Mapping[str, Jitter] = dataclasses.field(default_factory=dict)


def begin(phase: Phase, zeros: Layers, trained: PyTree) -> dict[str, PyTree]:
    """Returns the tracked state at the start of a phase.

    Args:
        phase: The phase.
        zeros: The layers of its nets, all zeros.
        trained: The weights of its nets.

    Returns:
        Arrays by name; empty if nothing is tracked.
    """
    tracked: dict[str, PyTree] = {}
    if phase.keep != "last" or phase.window:
        tracked["kept"] = zeros
    if phase.keep == "best":
        tracked["least_loss"] = jnp.asarray(optimizers.UNKNOWN)
    if phase.window:
        size = min(SAMPLED, next(iter(zeros.values())).size)
        tracked["recent"] = jnp.zeros((phase.window, size))
        tracked["least_variance"] = jnp.asarray(optimizers.UNKNOWN)
        tracked["least_at"] = jnp.zeros((), jnp.int32)
        tracked["at_least"] = jax.tree.map(jnp.copy, zeros)
    if phase.backtrack:
        tracked["good"] = jax.tree.map(jnp.copy, trained)
        tracked["good_psnr"] = jnp.asarray(-optimizers.UNKNOWN)
    if phase.backtrack or phase.target < math.inf:
        tracked["psnr"] = jnp.asarray(-optimizers.UNKNOWN)
    return tracked


def track(phase: Phase, state: TrainState, loss: Array, terms, layers: Layers):
    """Updates the tracked state: average or best layers, variance of the recent ones, PSNR."""
    new, step = dict(state.model_state), state.step
    if phase.keep == "average":
        new["kept"] = optimizers.moving_average(new["kept"], layers, step, decay=phase.average)
    elif phase.keep == "best":
        better = loss < new["least_loss"]
        new["least_loss"] = jnp.where(better, loss, new["least_loss"])
        new["kept"] = jax.tree.map(lambda a, b: jnp.where(better, a, b), layers, new["kept"])
    elif phase.window:
        new["kept"] = layers
    if "psnr" in new:
        if "psnr" not in terms:
            raise InputError(
                f"phase {phase.name!r}: backtrack and target need a term 'psnr' of the loss, as in: "
                "return loss, {'psnr': psnr(layer, image)}"
            )
        new["psnr"] = terms["psnr"]
    if phase.window:
        first = next(iter(layers.values())).reshape(-1)
        # Evenly spread positions, with a stride that does not divide the length of a row.
        places = (jnp.arange(new["recent"].shape[1]) * 7919) % first.size
        recent = new["recent"].at[step % phase.window].set(first[places])
        variance = jnp.mean(jnp.var(recent, axis=0))
        less = (step + 1 >= phase.window) & (variance < new["least_variance"])
        new |= {
            "recent": recent,
            "least_variance": jnp.where(less, variance, new["least_variance"]),
            "least_at": jnp.where(less, step, new["least_at"]),
            "at_least": jax.tree.map(
                lambda a, b: jnp.where(less, a, b), new["kept"], new["at_least"]
            ),
        }
    return new


def can_end(phase: Phase) -> bool:
    """Whether a phase can end before it has taken all its steps."""
    return phase.window > 0 or phase.target < math.inf


def done(phase: Phase, state: TrainState) -> Array:
    """Whether the PSNR or the variance ends the phase."""
    over = state.step < 0
    if phase.target < math.inf:
        over |= state.model_state["psnr"] > phase.target
    if phase.window:
        over |= _waited(phase, state)
    return over


def evaluate(phase: Phase, state: TrainState, inputs: Inputs):
    """Restores the last good weights if the fit has collapsed."""
    del inputs
    tracked = state.model_state
    bad = tracked["psnr"] < tracked["good_psnr"] - phase.backtrack
    choose = lambda a, b: jax.tree.map(lambda x, y: jnp.where(bad, x, y), a, b)
    current = {name: state.params[name] for name in tracked["good"]}
    good = choose(tracked["good"], current)
    psnr = jnp.where(bad, tracked["good_psnr"], tracked["psnr"])
    new = state.replace(
        params={**state.params, **good},
        model_state={**tracked, "good": jax.tree.map(jnp.copy, good), "good_psnr": psnr},
    )
    return new, {"went_back": bad.astype(jnp.float32)}


def kept(phase: Phase, state: TrainState) -> Layers | None:
    """The layers that the phase has kept as its result; None: those of its last weights."""
    if phase.window:
        pair = state.model_state["at_least"], state.model_state["kept"]
        return jax.tree.map(lambda a, b: jnp.where(_waited(phase, state), a, b), *pair)
    return state.model_state["kept"] if phase.keep != "last" else None


def _waited(phase: Phase, state: TrainState) -> Array:
    """Whether the variance has not fallen for `patience` steps."""
    since = state.step - 1 - state.model_state["least_at"]
    known = state.model_state["least_variance"] < optimizers.UNKNOWN
    return known & (since >= phase.patience)
