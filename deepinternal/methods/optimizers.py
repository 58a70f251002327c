"""Optimisers and schedules that methods share. Learning rates are left to the method's state."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from deepinternal.types import Array


class MuonState(NamedTuple):
    """State of `muon_and_adam`: of Muon for the hidden kernels, of Adam for the others."""

    muon: optax.OptState
    adam: optax.OptState


def muon_and_adam(muon_rate: float) -> optax.GradientTransformation:
    """Muon for the hidden kernels of a plain chain of convolutions, Adam for its two ends.

    Muon replaces the gradient's running average, taken as a (fan-in, C_out) matrix, by the nearest
    orthogonal one. The hidden kernels go through it as one stack, for one batched product is faster
    than many small ones.

    Args:
        muon_rate: step length of Muon in units of Adam's.

    Returns:
        A transformation of a dict of gradients, layers named by number, with at least one hidden
        layer, all of one shape; its updates point downhill and have yet to be multiplied by Adam's
        learning rate.

    References:
        Jordan, "Muon: an optimizer for hidden layers in neural networks", 2024.
    """
    muon = scale_by_muon(weight_dimension_numbers=MuonDimensionNumbers((1, 2, 3), (4,)))
    adam = optax.scale_by_adam()

    def split(tree: Mapping[str, Array]) -> tuple[list[str], Array, dict[str, Array]]:
        first, *hidden, last = sorted(tree, key=lambda name: (len(name), name))
        stack = jnp.stack([tree[name] for name in hidden])
        return hidden, stack, {first: tree[first], last: tree[last]}

    def init(params):
        _, stack, ends = split(params)
        return MuonState(muon.init(stack), adam.init(ends))

    def update(grads, state, params=None):
        del params
        hidden, stack, ends = split(grads)
        stack, muon_state = muon.update(stack, state.muon)
        ends, adam_state = adam.update(ends, state.adam)
        updates = {**ends, **{name: muon_rate * stack[i] for i, name in enumerate(hidden)}}
        updates = {name: -updates[name] for name in grads}
        return updates, MuonState(muon_state, adam_state)

    return optax.GradientTransformation(init, update)


def adam() -> optax.GradientTransformation:
    """Adam whose updates have yet to be multiplied by the learning rate."""
    return optax.chain(optax.scale_by_adam(), optax.scale(-1.0))


def warmup_cosine(step: Array, steps: int, *, peak: float, warmup: int) -> Array:
    """Learning rate that rises from a tenth of `peak` and falls to 0 like a cosine.

    Args:
        step: steps taken so far.
        steps: of the whole run.
        peak: the highest rate.
        warmup: steps of the linear rise; at most half of the run.

    Returns:
        A scalar.
    """
    warmup = max(min(warmup, steps // 2), 1)
    schedule = optax.warmup_cosine_decay_schedule(0.1 * peak, peak, warmup, max(steps, warmup + 1))
    return schedule(step)


def short_run(steps: int, peak: float) -> Callable[[Array], Array]:
    """`warmup_cosine` as a function of the step alone, the rise taking a twentieth of the steps."""
    return lambda step: warmup_cosine(step, steps, peak=peak, warmup=steps // 20)


def moving_average(average, new, step: Array, *, decay: float):
    """Exponential moving average of a tree; over fewer steps while there are few.

    Args:
        average: so far.
        new: the newest value.
        step: steps taken before this one.
        decay: weight of the past, less than 1; in the first steps (1 + step) / (10 + step).

    Returns:
        A tree as `average`.
    """
    decay = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, average, new)


def stalled(errors: Array, every: int, *, slopes: float) -> Array:
    """Whether errors have stopped falling: ZSSR's learning-rate policy.

    A line is fitted to them; where `slopes` times its descent is less than the slope's standard
    deviation (least squares, n - 2 degrees of freedom), progress is drowned in noise.

    Args:
        errors: (n,) the last test errors, n > 2; infinite where there are none yet.
        every: steps between them.
        slopes: how many.

    Returns:
        bool; False while there are infinite errors.
    """
    n, known = errors.shape[0], jnp.isfinite(errors)
    errors = jnp.where(known, errors, 0)  # so that no NaN arises, which would stop a search for one
    x = (jnp.arange(n) - (n - 1) / 2) * every
    sxx = jnp.sum(x * x)
    slope = jnp.sum(x * (errors - errors.mean())) / sxx
    residual = errors - errors.mean() - slope * x
    deviation = jnp.sqrt(jnp.sum(residual**2) / (n - 2) / sxx)
    return jnp.all(known) & (-slopes * slope <= deviation)
