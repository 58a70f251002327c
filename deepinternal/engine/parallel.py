"""Builds, batches and dispatches programs; the only module with choices per backend.

Images train side by side in *lanes*, vmapped on a device and pmapped over devices. Batched leaves
have leading lane axes: (images, ...) on one device, (devices, images, ...) on several, none for a
single lane. On CPU, the gradients of convolutions lose their fast path inside a loop body, so each
step is a separate dispatch; on accelerators, a dispatch scans many steps.
"""

import contextlib
import time
from collections.abc import Callable, Hashable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from deepinternal.engine.compiling import compiler_options
from deepinternal.engine.lanes import over_lanes
from deepinternal.replicas import over_replicas
from deepinternal.types import Array, Inputs, Method, Output, PyTree, TrainState

ACCELERATOR_CHUNK = 50
ACCELERATOR_IMAGES = 16  # default number of images per device


def force_cpu_devices(count: int) -> None:
    """If there is only a CPU, splits it into `count` virtual devices that share its cores.

    A step of a small net does not use several cores; several steps at once do. This has no effect
    after JAX has been used.
    """
    if count > 1:
        with contextlib.suppress(RuntimeError):  # JAX is already in use
            jax.config.update("jax_num_cpu_devices", min(count, 64))


def spread(images: int, *, images_per_device: int = 0, devices: int = 0) -> tuple[int, int]:
    """Returns how many devices to use, and how many images to train on each.

    Args:
        images: The number of images.
        images_per_device: The maximum per device; 0 for the backend's default: 1 on CPU, where a
            batch takes longer than its images one by one, 16 on accelerators.
        devices: The maximum number of devices; 0 for all of this process.

    Returns:
        (devices, images per device), not more than are needed for all images at once.
    """
    images, most = max(images, 1), jax.local_device_count()
    devices = min(devices or most, most, images)
    default = 1 if jax.default_backend() == "cpu" else ACCELERATOR_IMAGES
    return devices, min(images_per_device or default, -(-images // devices))


def default_chunk(method: Method) -> int:
    """Returns 1 on CPU, else up to 50, preferably a divisor of the steps of each stage."""
    if jax.default_backend() == "cpu":
        return 1
    ends = [stage.evaluate_every or stage.steps for stage in method.stages]
    fitting = (n for n in range(ACCELERATOR_CHUNK, 24, -1) if not any(e % n for e in ends))
    return next(fitting, ACCELERATOR_CHUNK)


class Programs:
    """The compiled programs of one method, each built once, on first use.

    Attributes:
        method: The method, with replicas folded in.
        chunk: The maximum number of steps per dispatch.
        lanes: The number of images that train side by side.
        devices: The devices of the lanes.
        count: The number of programs compiled so far.
        seconds: The time spent compiling so far.
    """

    def __init__(
        self,
        method: Method,
        *,
        steps_per_dispatch: int = 0,
        images_per_device: int = 1,
        devices: int = 1,
        debug_nans: bool = False,
    ):
        """Prepares programs for a method.

        Args:
            method: The method.
            steps_per_dispatch: The maximum number of steps; 0 for the backend's default.
            images_per_device: The number of lanes on each device.
            devices: The number of this process's devices to use.
            debug_nans: Whether a NaN raises a FloatingPointError from the operation that made it;
                slow, and only for a single lane.
        """
        if debug_nans and images_per_device * devices > 1:
            raise ValueError("debug_nans requires a single lane")
        self.method = over_replicas(method)
        self.chunk = steps_per_dispatch or default_chunk(self.method)
        self.devices = tuple(jax.local_devices()[:devices])
        self.lanes = len(self.devices) * images_per_device
        self.count = 0
        self.seconds = 0.0
        self._per_device, self._debug_nans = images_per_device, debug_nans
        self._compiled: dict[Hashable, Callable] = {}
        if len(self.devices) > 1:
            mesh = Mesh(np.array(self.devices), ("devices",))
            self._split = NamedSharding(mesh, PartitionSpec("devices"))
            self._everywhere = NamedSharding(mesh, PartitionSpec())

    def _run(
        self,
        name: tuple[Hashable, ...],
        function: Callable,
        *args: PyTree,
        axes: Sequence[int | None] | None = None,
        donate: tuple[int, ...] = (),
    ):
        """Runs a function on one image, or with `axes` on all lanes; compiles it on first use."""
        # The key includes shapes, which differ between replicas and stages.
        leaves, tree = jax.tree.flatten(args)
        key = (name, tree, tuple((jnp.shape(x), jnp.result_type(x)) for x in leaves))
        if key not in self._compiled:
            start = time.perf_counter()
            donate = () if self._debug_nans else donate
            if axes is None:
                jitted = jax.jit(function, donate_argnums=donate)
            else:
                jitted = over_lanes(function, axes, self.devices, self._per_device, donate=donate)
            options = compiler_options(name[0])
            self._compiled[key] = jitted.lower(*args).compile(options)
            self.seconds += time.perf_counter() - start
            self.count += 1
        result = self._compiled[key](*args)
        if self._debug_nans and _has_nan(result):
            with jax.debug_nans(True):
                function(*args)  # again, operation by operation
        return result

    # Programs of one image

    def init(self, key: Array, inputs: Inputs) -> TrainState:
        """Returns the state before the first step."""
        return self._run(("init",), self.method.init, key, inputs)

    def done(self, stage: int, state: TrainState) -> bool:
        """Whether the stage has met its stopping rule."""
        return bool(self._run(("done", stage), self.method.stages[stage].done, state))

    def advance(self, stage: int, state: TrainState, inputs: Inputs):
        """Returns the state and inputs of the stage after `stage`."""
        return self._run(("advance", stage), self.method.stages[stage].advance, state, inputs)

    def outputs(self, state: TrainState, inputs: Inputs) -> dict[str, Output]:
        """Returns the method's outputs."""
        return self._run(("outputs",), self.method.outputs, state, inputs)

    def baseline(self, inputs: Inputs) -> Array:
        """Returns the method's baseline image."""
        return self._run(("baseline",), self.method.baseline, inputs)

    # Programs of all lanes

    def stack(self, trees: Sequence[PyTree]) -> PyTree:
        """Stacks trees of one image each into one tree with leading lane axes.

        Args:
            trees: At least one; the remaining lanes get a copy of the first.
        """
        if self.lanes == 1:
            return trees[0]
        trees = [*trees, *[trees[0]] * (self.lanes - len(trees))]
        joined = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
        if len(self.devices) == 1:
            return joined
        shape = (len(self.devices), self._per_device)
        joined = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), joined)
        return jax.device_put(joined, self._split)

    def put(self, batch: PyTree, lane: int, tree: PyTree) -> PyTree:
        """Returns the batch with one lane replaced; `batch` is donated."""
        if self.lanes == 1:
            return tree
        if len(self.devices) > 1:
            tree = jax.device_put(tree, self._everywhere)
        hit = self._shaped(np.arange(self.lanes) == lane)

        def choose(old, new, hit):
            return jax.tree.map(lambda a, b: jnp.where(hit, b, a), old, new)

        return self._run(("put",), choose, batch, tree, hit, axes=(0, None, 0), donate=(0,))

    def pick(self, batch: PyTree, lane: int) -> PyTree:
        """Returns one lane of a batch."""
        if self.lanes == 1:
            return batch
        several = len(self.devices) > 1
        place = tuple(divmod(lane, self._per_device)) if several else (lane,)

        def index(batch, place):
            return jax.tree.map(lambda x: x[place], batch)

        one = self._run(("pick",), index, batch, jax.tree.map(np.int32, place))
        return jax.device_put(one, self.devices[0]) if several else one

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
        current = self.method.stages[stage]

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

        budget = None if budget is None else np.asarray(budget, np.int32)
        return self._of_lanes(("steps", stage, variant, count), many, states, inputs, budget)

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

        def evaluate(state, inputs, chosen=None):
            new, metrics = self.method.stages[stage].evaluate(state, inputs)
            return new if chosen is None else _select(chosen, new, state), metrics

        return self._of_lanes(("evaluate", stage), evaluate, states, inputs, chosen)

    def _of_lanes(
        self,
        name: tuple[Hashable, ...],
        function: Callable,
        states: TrainState,
        inputs: Inputs,
        each,
    ):
        """Runs a function of state, inputs and optionally one value per lane in all lanes."""
        args = (
            (states, inputs) if each is None else (states, inputs, self._shaped(np.asarray(each)))
        )
        return self._run(name, function, *args, axes=(0,) * len(args), donate=(0,))

    def per_lane(self, values: PyTree) -> list[PyTree]:
        """Waits for results of `steps` or `evaluate`; returns one tree per lane, on the host."""
        values = jax.device_get(values)
        if self.lanes == 1:
            return [values]
        if len(self.devices) > 1:
            values = jax.tree.map(lambda x: x.reshape(self.lanes, *x.shape[2:]), values)
        return [jax.tree.map(lambda x, i=i: x[i], values) for i in range(self.lanes)]

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        """Reshapes one value per lane to the axes of a batch."""
        devices = len(self.devices)
        return values.reshape(devices, self._per_device) if devices > 1 else values


def _has_nan(tree: PyTree) -> bool:
    floats = (x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating))
    return any(bool(jnp.isnan(x).any()) for x in floats)


def _select(chosen: Array, new: TrainState, old: TrainState) -> TrainState:
    return jax.tree.map(lambda a, b: jnp.where(chosen, a, b), new, old)
