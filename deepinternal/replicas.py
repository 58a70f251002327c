"""Turns a method that trains one seed into one that trains several seeds side by side."""

import dataclasses

import jax
import jax.numpy as jnp

from deepinternal.types import Method, Stage


def over_replicas(method: Method) -> Method:
    """Returns a method that trains `method.replicas` seeds side by side in a single state.

    States have a leading replica axis, inputs are shared, a run is done when all replicas are done, and
    `outputs` are reduced. A method without replicas is returned unchanged.
    """
    if method.replicas == 1:
        return method

    def init(key, inputs):
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(method.replicas))
        return jax.vmap(method.init, (0, None))(keys, inputs)

    def outputs(state, inputs):
        axes = (0, None if len(method.stages) == 1 else 0)
        return method.reduce(jax.vmap(method.outputs, axes)(state, inputs))

    # `advance` gives each replica separate inputs; before its first call they are shared.
    stages, known = [], {}  # stages that differ only in their names have the same functions
    for number, stage in enumerate(method.stages):
        alike = dataclasses.replace(stage, name=""), number > 0
        made = known[alike] = known.get(alike) or _replicated(stage, (0, 0 if number else None))
        stages.append(dataclasses.replace(made, name=stage.name))
    return dataclasses.replace(
        method, init=init, stages=tuple(stages), outputs=outputs, replicas=1, reduce=None
    )


def _replicated(stage: Stage, axes: tuple[int | None, ...]) -> Stage:
    """Returns a stage of all replicas; `axes` are the replica axes of state and inputs."""

    def step(state, inputs, variant):
        one = lambda s, i: stage.step(s, i, variant)
        state, metrics = jax.vmap(one, axes)(state, inputs)
        return state, jax.tree.map(lambda m: m.mean(0), metrics)

    def evaluate(state, inputs):
        state, metrics = jax.vmap(stage.evaluate, axes)(state, inputs)
        return state, jax.tree.map(lambda m: m.mean(0), metrics)

    step.frozen = evaluate.frozen = True  # each replica is frozen separately
    return dataclasses.replace(
        stage,
        step=step,
        evaluate=stage.evaluate and evaluate,
        advance=stage.advance and jax.vmap(stage.advance, axes),
        done=lambda state: jnp.all(jax.vmap(stage.done)(state)),
    )
