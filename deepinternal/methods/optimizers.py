"""Optimisers and schedules that methods share. The methods themselves apply the learning rates."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from deepinternal.types import Array, PyTree

UNKNOWN = float(np.finfo(np.float32).max)  # an error not yet measured; `jax_debug_infs` allows it


class MuonState(NamedTuple):
    """State of `muon_and_adam`: that of Muon for the hidden kernels, that of Adam for the others."""

    muon: PyTree
    adam: PyTree


def muon_and_adam(muon_rate: float) -> optax.GradientTransformation:
    """Muon for the hidden kernels of a plain chain of convolutions, Adam for its two ends.

    Muon replaces the running average of a kernel's gradient, taken as a (fan-in, C_out) matrix, by the
    nearest orthogonal matrix. The hidden kernels form one stack, because one batched product is faster
    than many small ones.

    Args:
        muon_rate: Learning rate of Muon relative to that of Adam.

    Returns:
        A transformation of a dict of gradients. Its layers are named by number, with at least one
        hidden layer, and all hidden layers have one shape. The updates are descent directions that are
        not yet multiplied by Adam's learning rate.

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
        with jax.default_matmul_precision("highest"):  # the nets' precision is not the optimiser's
            stack, muon_state = muon.update(stack, state.muon)
        ends, adam_state = adam.update(ends, state.adam)
        updates = {**ends, **{name: muon_rate * stack[i] for i, name in enumerate(hidden)}}
        updates = {name: -updates[name] for name in grads}
        return updates, MuonState(muon_state, adam_state)

    return optax.GradientTransformation(init, update)


def adam() -> optax.GradientTransformation:
    """Adam without a learning rate: its updates are not yet multiplied by it."""
    return optax.chain(optax.scale_by_adam(), optax.scale(-1.0))


def warmup_cosine(step: Array, steps: int, *, peak: float, warmup: int) -> Array:
    """Returns a learning rate that rises from a tenth of `peak` and then falls to 0 like a cosine.

    Args:
        step: Number of steps taken so far.
        steps: Number of steps of the whole run.
        peak: The greatest rate.
        warmup: Number of steps of the linear rise; at most half of the run is used.

    Returns:
        A scalar.
    """
    warmup = max(min(warmup, steps // 2), 1)
    schedule = optax.warmup_cosine_decay_schedule(0.1 * peak, peak, warmup, max(steps, warmup + 1))
    return schedule(step)


def short_run(steps: int, peak: float) -> Callable[[Array], Array]:
    """Returns `warmup_cosine` as a function of the step, with a twentieth of the steps as warmup."""
    return lambda step: warmup_cosine(step, steps, peak=peak, warmup=steps // 20)


def moving_average(average, new, step: Array, *, decay: float):
    """Updates an exponential moving average of a tree, with a smaller decay in the first steps.

    Args:
        average: The average so far.
        new: The newest value.
        step: Number of steps taken before this one.
        decay: Weight of the past, less than 1; at most (1 + step) / (10 + step) is used.

    Returns:
        A tree like `average`.
    """
    decay = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, average, new)


def stalled(errors: Array, every: int, *, slopes: float) -> Array:
    """Whether errors have stopped falling, by ZSSR's learning-rate policy.

    A line is fitted to the errors. They count as stalled if `slopes` times its descent is at most the
    standard error of the slope (least squares, n - 2 degrees of freedom).

    Args:
        errors: (n,), the last test errors, n > 2; `UNKNOWN` or infinite where there is none yet.
        every: Number of steps between them.
        slopes: Multiple of the descent.

    Returns:
        A boolean scalar; False as long as an error is unknown.
    """
    n, known = errors.shape[0], errors < UNKNOWN
    errors = jnp.where(known, errors, 0)  # avoids NaN, which `jax_debug_nans` would report
    x = (jnp.arange(n) - (n - 1) / 2) * every
    sxx = jnp.sum(x * x)
    slope = jnp.sum(x * (errors - errors.mean())) / sxx
    residual = errors - errors.mean() - slope * x
    deviation = jnp.sqrt(jnp.sum(residual**2) / (n - 2) / sxx)
    return jnp.all(known) & (-slopes * slope <= deviation)
