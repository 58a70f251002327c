"""A phase of a fit: what it does, and what it remembers of the layers on its way.

Where the papers are in the code: going back where the fit collapses (DIP's public code) -> `evaluate`;
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
from deepinternal.types import Array, Inputs, PyTree, TrainState

Layers = dict[str, Array]
Loss = Callable[[Layers, Inputs, Array], tuple[Array, dict[str, Array]]]
SAMPLED = 4096  # values of the first layer that early stopping looks at


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a fit, with a loss and an optimiser of its own; it becomes a `Stage`.

    Attributes:
        name: for logs.
        steps: their number, an upper bound where something can end the phase earlier.
        loss: `(layers, inputs, step) -> (scalar, terms)`. Layers are (H, W, C), with frames
            (B, H, W, C); inputs are the method's. `backtrack` and `target` look at a term 'psnr'.
        nets: the generators used and trained; (): all.
        learning_rate: of Adam, a number or a function of the step.
        optimizer: takes the place of Adam and its learning rate; its `update` is given the parameters.
        keep: the layers with which it ends: 'last'; 'average': a moving average of decay `average`;
            'best': those of the lowest loss.
        average: see `keep`.
        flips: every so many steps a mirrored variant is fitted, of square images also a turned one;
            0: never.
        restart: generators whose weights start afresh.
        carry: `(layers, inputs) -> inputs` of the phase after this one.
        backtrack: dB; every 100 steps, where 'psnr' fell by more, the weights before that come back.
        target: ends the phase when 'psnr' passes it; inf: never.
        window: steps over which the variance of the first of `nets`' layers is taken. The phase ends
            `patience` steps after its least value, with the layers of that moment; 0: never.
        patience: see `window`.
        jitter: by the name of a generator, what takes the place of its own `jitter`.
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
    """What is remembered at the beginning of a phase.

    Args:
        phase: the phase.
        zeros: layers of its nets, all zeros.
        trained: the nets' weights.

    Returns:
        By name; empty where nothing has to be remembered.
    """
    tracked: dict[str, PyTree] = {}
    if phase.keep != "last" or phase.window:
        tracked["kept"] = zeros
    if phase.keep == "best":
        tracked["least_loss"] = jnp.asarray(jnp.inf)
    if phase.window:
        size = min(SAMPLED, next(iter(zeros.values())).size)
        tracked["recent"] = jnp.zeros((phase.window, size))
        tracked["least_variance"] = jnp.asarray(jnp.inf)
        tracked["least_at"] = jnp.zeros((), jnp.int32)
        tracked["at_least"] = jax.tree.map(jnp.copy, zeros)
    if phase.backtrack:
        tracked["good"] = jax.tree.map(jnp.copy, trained)
        tracked["good_psnr"] = jnp.asarray(-jnp.inf)
    if phase.backtrack or phase.target < math.inf:
        tracked["psnr"] = jnp.asarray(-jnp.inf)
    return tracked


def track(phase: Phase, state: TrainState, loss: Array, terms, layers: Layers):
    """What is remembered of the layers: average or best, variance of the recent ones, PSNR."""
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
        new["psnr"] = terms["psnr"]
    if phase.window:
        first = next(iter(layers.values())).reshape(-1)
        # Spread evenly, and by a stride that is no divisor of a row.
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
    """Whether anything can end a phase before it has taken all its steps."""
    return phase.window > 0 or phase.target < math.inf


def done(phase: Phase, state: TrainState) -> Array:
    """Whether PSNR or variance say that a phase that can end is over."""
    over = state.step < 0
    if phase.target < math.inf:
        over |= state.model_state["psnr"] > phase.target
    if phase.window:
        over |= _waited(phase, state)
    return over


def evaluate(phase: Phase, state: TrainState, inputs: Inputs):
    """Goes back to the last good weights where the fit has collapsed."""
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
    """The layers that the phase has remembered as its result; None: those of its last weights."""
    if phase.window:
        pair = state.model_state["at_least"], state.model_state["kept"]
        return jax.tree.map(lambda a, b: jnp.where(_waited(phase, state), a, b), *pair)
    return state.model_state["kept"] if phase.keep != "last" else None


def _waited(phase: Phase, state: TrainState) -> Array:
    """Whether the variance has not become less for long enough."""
    since = state.step - 1 - state.model_state["least_at"]
    return jnp.isfinite(state.model_state["least_variance"]) & (since >= phase.patience)
