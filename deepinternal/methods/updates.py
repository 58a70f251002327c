"""An update of a net and of its averaged weights, and the beginning of a following stage."""

import jax
import jax.numpy as jnp
import optax

from deepinternal.methods import optimizers
from deepinternal.types import Array, Inputs, PyTree, TrainState


def updated(
    state: TrainState,
    grads: PyTree,
    rate: Array,
    *,
    decay: float,
    optimizer: optax.GradientTransformation | None = None,
) -> TrainState:
    """Updates the weights of a net, and their moving average.

    Args:
        state: The state, with the weights `params["net"]` and their average `model_state["average"]`.
        grads: The gradients of the weights.
        rate: The learning rate.
        decay: That of the moving average.
        optimizer: For a learning rate of 1; default: Adam.

    Returns:
        The state after the step.
    """
    optimizer = optimizer or optimizers.adam()
    updates, opt_state = optimizer.update(grads, state.opt_state["net"])
    params = optax.apply_updates(state.params["net"], jax.tree.map(lambda u: rate * u, updates))
    average = optimizers.moving_average(
        state.model_state["average"], params, state.step, decay=decay
    )
    return state.replace(
        step=state.step + 1,
        params={"net": params},
        opt_state={"net": opt_state},
        model_state={**state.model_state, "average": average},
    )


def next_stage(state: TrainState, inputs: Inputs) -> tuple[TrainState, Inputs]:
    """Begins the next stage, with a key of its own."""
    key = jax.random.fold_in(state.key, 1)
    return state.replace(step=jnp.zeros((), jnp.int32), key=key), inputs
