"""Builds, batches and dispatches programs.

Images train side by side in *lanes*, vmapped on a device and pmapped over devices. Batched leaves
have leading lane axes: (images, ...) on one device, (devices, images, ...) on several, none for a
single lane. On CPU, the gradients of convolutions lose their fast path inside a loop body, so each
step is a separate dispatch; on accelerators, a dispatch scans many steps.
"""

import functools
import time
from collections.abc import Callable, Hashable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from deepinternal import numerics
from deepinternal.engine import ahead, schedule
from deepinternal.engine.compiling import compiler_options as options_of
from deepinternal.engine.compiling import program_key, shape_of
from deepinternal.engine.lanes import Lanes, over_lanes, part_on
from deepinternal.engine.layout import default_steps_per_dispatch
from deepinternal.replicas import over_replicas
from deepinternal.types import Array, Inputs, Method, Output, PyTree, TrainState, no_variant


class Programs:
    """The compiled programs of one method, each built once, on first use.

    Attributes:
        method: The method, with replicas folded in.
        steps_per_dispatch: The maximum number of steps per dispatch.
        lanes: The number of images that train side by side.
        devices: The devices of the lanes.
        count: The number of compiled programs used so far.
        seconds: The time that training has waited for them.
        stopped: Whether training is asked to end; polled while it waits for a program of steps.
    """

    def __init__(
        self,
        method: Method,
        *,
        steps_per_dispatch: int = 0,
        images_per_device: int = 1,
        devices: int = 1,
        debug_nans: bool = False,
        compiler_options: str = "",
        threads: int | None = None,
    ):
        """Prepares programs for a method.

        Args:
            method: The method.
            steps_per_dispatch: The maximum number of steps; 0 for the backend's default.
            images_per_device: The number of lanes on each device.
            devices: The number of this process's devices to use.
            debug_nans: Whether a NaN raises a FloatingPointError from the operation that made it;
                slow, and only for a single lane.
            compiler_options: Options for XLA, see `engine.compiling.parse_options`.
            threads: The number of threads that compile steps ahead; None for the default.
        """
        if debug_nans and images_per_device * devices > 1:
            raise ValueError("debug_nans requires a single lane")
        self.method = over_replicas(method)
        self.steps_per_dispatch = steps_per_dispatch or default_steps_per_dispatch(self.method)
        self._lanes = Lanes(jax.local_devices()[:devices], images_per_device)
        self.devices, self.lanes = self._lanes.devices, self._lanes.count
        self.count = 0
        self.seconds = 0.0
        self.stopped: Callable[[], bool] = lambda: False
        self._debug_nans = debug_nans
        self._options = compiler_options
        self._compiled: dict[Hashable, Callable] = {}
        self._compiler = ahead.Compiler(ahead.default_threads() if threads is None else threads)
        # On CPU, a loop takes longer than a batch.
        self._form = "vmap" if jax.default_backend() == "cpu" else self.method.lanes

    def _run(
        self,
        name: tuple[Hashable, ...],
        function: Callable,
        *args: PyTree,
        axes: Sequence[int | None] | None = None,
        donate: tuple[int, ...] = (),
        device: jax.Device | None = None,
    ):
        """Runs a function on one image, or with `axes` on all lanes; compiles it on first use."""
        if axes is None and len(self.devices) > 1:
            device = device or self.devices[0]
            args = jax.device_put(args, device)
        key = program_key(name, args)
        if key not in self._compiled:
            start = time.perf_counter()
            trace = self._tracing(name, function, args, axes, donate, device)
            stopped = self.stopped if name[0] == "steps" else lambda: False
            try:
                self._compiled[key] = self._compiler.get(key, trace, stopped)
            finally:
                self.seconds += time.perf_counter() - start
            self.count += 1
        result = self._compiled[key](*args)
        if self._debug_nans and _has_nan(result):
            with jax.debug_nans(True):
                function(*args)  # again, operation by operation
        return result

    def _tracing(self, name, function, args, axes, donate, device=None) -> ahead.Trace:
        """Returns a function that traces a program; see `_run`."""
        place = SingleDeviceSharding(device) if device else None
        args = jax.tree.map(functools.partial(shape_of, sharding=place), args)
        jitted = self._jitted(name, function, axes, donate)
        options = options_of(name[0], self._options)

        def trace() -> Callable[[], Callable]:
            # The host's check for NaN would turn off donation, and so change the last bits.
            with numerics.fixed(), jax.debug_nans(False):
                return functools.partial(jitted.lower(*args).compile, options)

        return trace

    def _jitted(self, name, function, axes, donate) -> Callable:
        """Returns the jitted function of a program; see `_run`."""
        donate = () if self._debug_nans else donate
        if axes is None:
            return jax.jit(function, donate_argnums=donate)
        form = self._form if name[0] in ("steps", "evaluate") else "vmap"
        sizes = self.devices, self._lanes.per_device
        return over_lanes(function, axes, *sizes, form=form, donate=donate)

    # Programs of one image

    def init(self, key: Array, inputs: Inputs) -> TrainState:
        """Returns the state before the first step."""
        return self._run(("init",), self.method.init, key, inputs)

    def done(self, stage: int, state: TrainState) -> bool:
        """Whether the stage has met its stopping rule."""
        stage = self._first(stage, "done")
        return bool(self._run(("done", stage), self.method.all_stages[stage].done, state))

    def advance(self, stage: int, state: TrainState, inputs: Inputs):
        """Returns the state and inputs of the stage after `stage`."""
        stage = self._first(stage, "advance")
        return self._run(("advance", stage), self.method.all_stages[stage].advance, state, inputs)

    def again(self, state: TrainState, inputs: Inputs) -> TrainState:
        """Returns the state at the start of the stage `more`."""
        return self._run(("again",), self.method.again, state, inputs)

    def outputs(self, state: TrainState, inputs: Inputs) -> dict[str, Output]:
        """Returns the method's outputs."""
        return self._run(("outputs",), self.method.outputs, state, inputs)

    def baseline(self, inputs: Inputs) -> Array:
        """Returns the method's baseline image."""
        return self._run(("baseline",), self.method.baseline, inputs)

    # Programs of all lanes

    def stack(self, trees: Sequence[PyTree]) -> PyTree:
        """Stacks trees of one image each into one tree of all lanes; see `Lanes.stack`."""
        return self._lanes.stack(trees)

    def put(self, batch: PyTree, lane: int, tree: PyTree) -> PyTree:
        """Returns the batch with one lane replaced; `batch` is donated."""
        if self.lanes == 1:
            return tree
        tree = self._lanes.everywhere(tree)
        hit = self._lanes.of_each([i == lane for i in range(self.lanes)])

        def choose(old, new, hit):
            return jax.tree.map(lambda a, b: jnp.where(hit, b, a), old, new)

        return self._run(("put",), choose, batch, tree, hit, axes=(0, None, 0), donate=(0,))

    def pick(self, batch: PyTree, lane: int) -> PyTree:
        """Returns one lane of a batch."""
        if self.lanes == 1:
            return batch
        number, place = divmod(lane, self._lanes.per_device)
        device = self.devices[number]
        if several := len(self.devices) > 1:  # no data moves to another device
            batch = jax.tree.map(functools.partial(part_on, device), batch)

        def index(batch, place):
            return jax.tree.map(lambda x: x[0, place] if several else x[place], batch)

        where = jax.device_put(np.int32(place), device)
        return self._run(("pick", number), index, batch, where, device=device)

    def steps(
        self,
        stage: int,
        variant: Hashable,
        count: int,
        states: TrainState,
        inputs: Inputs,
        budget: Sequence[int] | None = None,
    ) -> tuple[TrainState, PyTree]:
        """Takes up to `count` steps of one variant in every lane; `states` is donated.

        Args:
            stage: The index of the stage.
            variant: The variant of these steps.
            count: The number of steps in the program.
            states: The states of all lanes.
            inputs: The inputs of all lanes.
            budget: The number of steps that each lane takes; None: all `count`, with a single lane.

        Returns:
            The new states, and (metrics, done) after each step, for `per_lane`.
        """
        stage = self._first(stage, "step", "done")
        many = self._steps_of(stage, variant, count)
        return self._of_lanes(("steps", stage, variant, count), many, states, inputs, budget)

    def compile_ahead(
        self, stage: int, seed: int, step: int, states: TrainState, inputs: Inputs, **pauses: int
    ) -> None:
        """Starts to compile upcoming programs in threads.

        These are the programs of the steps if there are variants and threads for them, and that of
        the outputs if this is the last stage and there is a single lane.

        Args:
            stage: The index of the stage.
            seed: The seed of the runs in all lanes.
            step: The number of steps already taken in the stage.
            states: The states of all lanes, of which only the shapes are used.
            inputs: The inputs of all lanes, of which only the shapes are used.
            **pauses: See `schedule.limit`.
        """
        current, last = self.method.all_stages[stage], stage >= len(self.method.stages) - 1
        args, stage = (states, inputs), self._first(stage, "step", "done")
        single = jax.tree.map(shape_of, args)
        if self.lanes > 1:
            args += (self._lanes.of_each([self.steps_per_dispatch] * self.lanes),)
        args = jax.tree.map(shape_of, args)

        def plan() -> Iterator[tuple[Hashable, ahead.Trace]]:
            if current.variant is not no_variant and self._compiler.threads:
                full = self.steps_per_dispatch
                for variant, count in schedule.programs(current, seed, step, full, **pauses):
                    name = ("steps", stage, variant, count)
                    many = self._steps_of(stage, variant, count)
                    yield (
                        program_key(name, args),
                        self._tracing(name, many, args, (0,) * len(args), (0,)),
                    )
            if last and self.lanes == 1:
                name = ("outputs",)
                trace = self._tracing(name, self.method.outputs, single, None, ())
                yield program_key(name, single), trace

        self._compiler.ahead(plan())

    def end_ahead(self) -> None:
        """Compiles nothing further ahead."""
        self._compiler.drop()

    def _first(self, stage: int, *parts: str) -> int:
        """Returns the first stage with the same parts, whose programs are those of this stage."""
        wanted, *others = (
            [getattr(one, part) for part in parts]
            for one in (self.method.all_stages[stage], *self.method.all_stages[:stage])
        )
        return next((number for number, found in enumerate(others) if found == wanted), stage)

    def _steps_of(self, stage: int, variant: Hashable, count: int) -> Callable:
        """Returns a function that takes up to `count` steps of one variant in a lane."""
        current = self.method.all_stages[stage]

        def many(state, inputs, budget=None):
            def one(state, number):
                new, metrics = current.step(state, inputs, variant)
                if budget is not None:
                    new = _select(number < budget, new, state)
                return new, (metrics, current.done(new))

            if count > 1:
                return jax.lax.scan(one, state, jnp.arange(count))
            state, seen = one(state, 0)
            return state, jax.tree.map(lambda x: x[None], seen)

        return many

    def evaluate(
        self, stage: int, states: TrainState, inputs: Inputs, chosen: Sequence[bool] | None = None
    ):
        """Evaluates all lanes and returns `(states, metrics)`; `states` is donated.

        Args:
            stage: The index of the stage.
            states: The states of all lanes.
            inputs: The inputs of all lanes.
            chosen: The lanes whose state may change; None: all, with a single lane.
        """
        stage = self._first(stage, "evaluate")

        def evaluate(state, inputs, chosen=None):
            new, metrics = self.method.all_stages[stage].evaluate(state, inputs)
            return new if chosen is None else _select(chosen, new, state), metrics

        return self._of_lanes(("evaluate", stage), evaluate, states, inputs, chosen)

    def _of_lanes(
        self,
        name: tuple[Hashable, ...],
        function: Callable,
        states: TrainState,
        inputs: Inputs,
        each: Sequence[int] | None,
    ):
        """Runs a function of state, inputs and optionally one value per lane in all lanes."""
        args = (states, inputs) if each is None else (states, inputs, self._lanes.of_each(each))
        return self._run(name, function, *args, axes=(0,) * len(args), donate=(0,))

    def per_lane(self, values: PyTree) -> list[PyTree]:
        """Waits for results of `steps` or `evaluate`; returns one tree per lane, on the host."""
        return self._lanes.apart(values)


def _has_nan(tree: PyTree) -> bool:
    floats = (x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating))
    return any(bool(jnp.isnan(x).any()) for x in floats)


def _select(chosen: Array, new: TrainState, old: TrainState) -> TrainState:
    return jax.tree.map(lambda a, b: jnp.where(chosen, a, b), new, old)
