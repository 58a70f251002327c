"""How programs are built and dispatched: the only place that knows about backends.

On CPU a convolution's gradients lose their fast path inside a loop body, so each step is a dispatch
of its own; on accelerators a dispatch scans many steps.
"""

import dataclasses
import time
from collections.abc import Callable, Hashable

import jax
import jax.numpy as jnp

from deepinternal.types import Array, Inputs, Method, Metrics, Output, TrainState

ACCELERATOR_CHUNK = 50


def over_replicas(method: Method) -> Method:
    """A method that trains `method.replicas` seeds side by side, as one with a single state.

    States gain a leading replica axis; inputs are shared; a run is done when all replicas are;
    `outputs` are reduced. A method without replicas is returned as it is.
    """
    if method.replicas == 1:
        return method

    def init(key, inputs):
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(method.replicas))
        return jax.vmap(method.init, (0, None))(keys, inputs)

    # `advance` makes inputs of each replica's own; before the first they are shared.
    def batched(index, stage):
        axes = (0, None if index == 0 else 0)

        def step(state, inputs, variant):
            one = lambda s, i: stage.step(s, i, variant)  # noqa: E731
            state, metrics = jax.vmap(one, axes)(state, inputs)
            return state, jax.tree.map(lambda m: m.mean(0), metrics)

        def evaluate(state, inputs):
            state, metrics = jax.vmap(stage.evaluate, axes)(state, inputs)
            return state, jax.tree.map(lambda m: m.mean(0), metrics)

        return dataclasses.replace(
            stage,
            step=step,
            evaluate=stage.evaluate and evaluate,
            advance=stage.advance and jax.vmap(stage.advance, axes),
            done=lambda state: jnp.all(jax.vmap(stage.done)(state)),
        )

    def outputs(state, inputs):
        axes = (0, None if len(method.stages) == 1 else 0)
        return method.reduce(jax.vmap(method.outputs, axes)(state, inputs))

    stages = tuple(batched(i, s) for i, s in enumerate(method.stages))
    return dataclasses.replace(
        method, init=init, stages=stages, outputs=outputs, replicas=1, reduce=None
    )


class Programs:
    """The compiled programs of one method, built when first needed, each once.

    Attributes:
        method: the method, replicas folded in.
        chunk: most steps a dispatch may take.
        count: programs compiled so far.
        seconds: time spent compiling so far.
    """

    def __init__(self, method: Method, *, steps_per_dispatch: int = 0):
        """Args: method; steps_per_dispatch: 0 for 1 on CPU and 50 on accelerators."""
        self.method = over_replicas(method)
        default = 1 if jax.default_backend() == "cpu" else ACCELERATOR_CHUNK
        self.chunk = steps_per_dispatch or default
        self.count = 0
        self.seconds = 0.0
        self._compiled: dict[Hashable, Callable] = {}

    def _run(self, name: Hashable, function: Callable, *args, donate: tuple[int, ...] = ()):
        # Keyed by shapes as well: replicas and stages may change them.
        leaves, tree = jax.tree.flatten(args)
        key = (name, tree, tuple((jnp.shape(x), jnp.result_type(x)) for x in leaves))
        if key not in self._compiled:
            start = time.perf_counter()
            jitted = jax.jit(function, donate_argnums=donate)
            self._compiled[key] = jitted.lower(*args).compile()
            self.seconds += time.perf_counter() - start
            self.count += 1
        return self._compiled[key](*args)

    def init(self, key: Array, inputs: Inputs) -> TrainState:
        """The state before the first step."""
        return self._run("init", self.method.init, key, inputs)

    def steps(
        self, stage: int, variant: Hashable, count: int, state: TrainState, inputs: Inputs
    ) -> tuple[TrainState, Metrics, Array]:
        """Takes `count` steps of one variant; `state` is donated.

        Returns:
            The new state; metrics and `done` after each step, with a leading axis of `count`.
        """
        spec = self.method.stages[stage]

        def one(state, inputs):
            state, metrics = spec.step(state, inputs, variant)
            return state, (metrics, spec.done(state))

        def many(state, inputs):
            if count == 1:
                state, extra = one(state, inputs)
                extra = jax.tree.map(lambda x: x[None], extra)
            else:
                state, extra = jax.lax.scan(lambda s, _: one(s, inputs), state, length=count)
            return state, *extra

        return self._run(("steps", stage, variant, count), many, state, inputs, donate=(0,))

    def done(self, stage: int, state: TrainState) -> bool:
        """Whether the stage has reached its own end."""
        return bool(self._run(("done", stage), self.method.stages[stage].done, state))

    def evaluate(self, stage: int, state: TrainState, inputs: Inputs):
        """The stage's evaluation: `(state, metrics)`; `state` is donated."""
        function = self.method.stages[stage].evaluate
        return self._run(("evaluate", stage), function, state, inputs, donate=(0,))

    def advance(self, stage: int, state: TrainState, inputs: Inputs):
        """State and inputs of the stage after `stage`."""
        return self._run(("advance", stage), self.method.stages[stage].advance, state, inputs)

    def outputs(self, state: TrainState, inputs: Inputs) -> dict[str, Output]:
        """The method's outputs."""
        return self._run("outputs", self.method.outputs, state, inputs)

    def baseline(self, inputs: Inputs) -> Array:
        """The method's baseline image."""
        return self._run("baseline", self.method.baseline, inputs)
