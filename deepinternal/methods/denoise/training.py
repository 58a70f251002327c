"""What the nets of `pairs` and `blindspot` have in common: a step of training, and its end."""

import jax
import jax.numpy as jnp
import optax

from deepinternal.methods import optimizers
from deepinternal.types import Array, Inputs, PyTree, TrainState


def updated(state: TrainState, grads: PyTree, rate: Array, *, decay: float) -> TrainState:
    """Updates the weights of the net by Adam, and their moving average.

    Args:
        state: The state, with the weights `params["net"]` and their average `model_state["average"]`.
        grads: The gradients of the weights.
        rate: The learning rate.
        decay: That of the moving average.

    Returns:
        The state after the step.
    """
    updates, opt_state = optimizers.adam().update(grads, state.opt_state["net"])
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
