"""Methods that train nothing: their inputs already hold the answer, or their outputs compute it."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from deepinternal.types import Array, Inputs, Method, Metrics, Output, Stage, TrainState


def build(
    name: str,
    outputs: Callable[[Inputs], dict[str, Output]],
    *,
    metrics: Callable[[Inputs], Metrics] = lambda inputs: {},
    continues: bool = False,
    **method: Any,
) -> Method:
    """Makes a method with a stage of a single step that changes nothing.

    Args:
        name: Name of the method.
        outputs: `inputs -> outputs`, pure.
        metrics: `inputs -> metrics` of the step, for the log.
        continues: Whether a finished run continues, with another such step, after its inputs have
            changed, see `Recipe.continued`.
        **method: Further fields of `Method`.

    Returns:
        The method, without parameters.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from deepinternal.methods import untrained
        >>> from deepinternal.types import Output
        >>> method = untrained.build("invert", lambda inputs: {"result": Output(1 - inputs["image"])})
        >>> inputs = {"image": jnp.full((2, 2, 3), 0.25)}
        >>> state = method.init(jax.random.key(0), inputs)
        >>> float(method.outputs(state, inputs)["result"].value[0, 0, 0])
        0.75
    """

    def init(key: Array, inputs: Inputs) -> TrainState:
        del inputs
        return TrainState(jnp.zeros((), jnp.int32), key, {}, {}, {})

    def again(state: TrainState, inputs: Inputs) -> TrainState:
        return init(state.key, inputs)

    def step(state: TrainState, inputs: Inputs, variant: Any) -> tuple[TrainState, Metrics]:
        del variant
        return state.replace(step=state.step + 1), metrics(inputs)

    if continues:
        method |= {"more": Stage("more", 1, step), "again": again}
    finish = lambda state, inputs: outputs(inputs)
    return Method(name, init, (Stage("compute", 1, step),), finish, **method)
