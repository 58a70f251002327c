"""A phase of a fit: its settings, and the state that it tracks besides the weights.

Where the papers are in the code: recovery from a collapse of the fit (DIP's public code) -> `evaluate`;
averaged outputs (DIP, section 3.1) -> `track`. Stopping without ground truth (`track`, `done`) is early
stopping as for any training: at the least error of data that were not fitted.
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
Validate = Callable[[Layers, Inputs], Array]


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
        backtrack: In dB. If 'psnr' fell by more since the last evaluation, the earlier weights are
            restored, see `fit.EVALUATE_EVERY`; 0: never.
        target: The phase ends when 'psnr' exceeds this value; inf: never.
        validate: `(layers, inputs) -> scalar`, the error of data that the loss does not use. The phase
            ends `patience` steps after the least error of the layers that `keep` names, at the latest
            after `steps`, with the layers of the least error; None: with those that `keep` names.
        patience: See `validate`, with which it must be at least 1.
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
    validate: Validate | None = None
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
    if phase.keep != "last" or phase.validate:
        tracked["kept"] = zeros
    if phase.keep == "best":
        tracked["least_loss"] = jnp.asarray(optimizers.UNKNOWN)
    if phase.validate:
        tracked["least_error"] = jnp.asarray(optimizers.UNKNOWN)
        tracked["least_at"] = jnp.zeros((), jnp.int32)
        tracked["at_least"] = jax.tree.map(jnp.copy, zeros)
    if phase.backtrack:
        tracked["good"] = jax.tree.map(jnp.copy, trained)
        tracked["good_psnr"] = jnp.asarray(-optimizers.UNKNOWN)
    if phase.backtrack or phase.target < math.inf:
        tracked["psnr"] = jnp.asarray(-optimizers.UNKNOWN)
    return tracked


def track(phase: Phase, state: TrainState, inputs: Inputs, loss: Array, terms, layers: Layers):
    """Updates the tracked state: average or best layers, those of the least error, PSNR."""
    new, step = dict(state.model_state), state.step
    if phase.keep == "average":
        new["kept"] = optimizers.moving_average(new["kept"], layers, step, decay=phase.average)
    elif phase.keep == "best":
        better = loss < new["least_loss"]
        new["least_loss"] = jnp.where(better, loss, new["least_loss"])
        new["kept"] = jax.tree.map(lambda a, b: jnp.where(better, a, b), layers, new["kept"])
    elif phase.validate:
        new["kept"] = layers
    if "psnr" in new:
        if "psnr" not in terms:
            raise InputError(
                f"phase {phase.name!r}: backtrack and target need a term 'psnr' of the loss, as in: "
                "return loss, {'psnr': psnr(layer, image)}"
            )
        new["psnr"] = terms["psnr"]
    if phase.validate:
        error = phase.validate(new["kept"], inputs)
        less = error < new["least_error"]
        choose = lambda a, b: jax.tree.map(lambda x, y: jnp.where(less, x, y), a, b)
        new |= {
            "least_error": choose(error, new["least_error"]),
            "least_at": choose(step, new["least_at"]),
            "at_least": choose(new["kept"], new["at_least"]),
        }
    return new


def can_end(phase: Phase) -> bool:
    """Whether a phase can end before it has taken all its steps."""
    return phase.validate is not None or phase.target < math.inf


def done(phase: Phase, state: TrainState) -> Array:
    """Whether the PSNR or the error of the validation ends the phase."""
    over = state.step < 0
    if phase.target < math.inf:
        over |= state.model_state["psnr"] > phase.target
    if phase.validate:
        over |= state.step - 1 - state.model_state["least_at"] >= phase.patience
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
    if phase.validate:
        return state.model_state["at_least"]
    return state.model_state["kept"] if phase.keep != "last" else None
