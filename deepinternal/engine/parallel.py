"""How programs are built, batched and dispatched: the only place that knows about backends.

Images train side by side in *lanes*, vmapped on a device and pmapped over devices. The leaves of what
is batched have the lanes in front: (images, ...) on one device, (devices, images, ...) on several,
nothing for a single lane. On CPU a convolution's gradients lose their fast path inside a loop body,
so each step is a dispatch of its own; on accelerators a dispatch scans many steps.
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
ACCELERATOR_IMAGES = 16  # images per device where the config leaves it open


def force_cpu_devices(count: int) -> None:
    """Where there is nothing but a CPU, lets it count as `count` devices, which share its cores.

    A small net's step does not fill several cores; several at once do. Has an effect only before jax
    is first used.
    """
    if count > 1:
        with contextlib.suppress(RuntimeError):  # jax is in use already
            jax.config.update("jax_num_cpu_devices", min(count, 64))


def spread(images: int, *, images_per_device: int = 0, devices: int = 0) -> tuple[int, int]:
    """How many devices to use, and how many images to train on each.

    Args:
        images: how many there are.
        images_per_device: at most; 0 for the backend's default: 1 on CPU, where a batch takes longer
            than its images one by one, 16 on accelerators.
        devices: at most; 0 for all of this process.

    Returns:
        (devices, images per device), no more than all images at once have use for.
    """
    images, most = max(images, 1), jax.local_device_count()
    devices = min(devices or most, most, images)
    default = 1 if jax.default_backend() == "cpu" else ACCELERATOR_IMAGES
    return devices, min(images_per_device or default, -(-images // devices))


def default_chunk(method: Method) -> int:
    """1 on CPU; else up to 50, if possible so many that each stage is a whole number of dispatches."""
    if jax.default_backend() == "cpu":
        return 1
    ends = [stage.evaluate_every or stage.steps for stage in method.stages]
    fitting = (n for n in range(ACCELERATOR_CHUNK, 24, -1) if not any(e % n for e in ends))
    return next(fitting, ACCELERATOR_CHUNK)


class Programs:
    """The compiled programs of one method, built when first needed, each once.

    Attributes:
        method: the method, replicas folded in.
        chunk: most steps a dispatch may take.
        lanes: images that train side by side.
        devices: where they do.
        count: programs compiled so far.
        seconds: time spent compiling so far.
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
        """Sets up programs for a method.

        Args:
            method: the method.
            steps_per_dispatch: 0 for the backend's default.
            images_per_device: lanes on each device.
            devices: how many of this process's devices to use.
            debug_nans: whether a program that gives a NaN raises a FloatingPointError from the
                operation that made it; slow, and of a single lane only.
        """
        if debug_nans and images_per_device * devices > 1:
            raise ValueError("debug_nans is for a single lane")
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
        """Runs a function on one image, or with `axes` on all lanes; compiles it if it is new."""
        # Keyed by shapes as well: replicas and stages may change them.
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
                function(*args)  # once more, operation by operation
        return result

    # Of one image

    def init(self, key: Array, inputs: Inputs) -> TrainState:
        """The state before the first step."""
        return self._run(("init",), self.method.init, key, inputs)

    def done(self, stage: int, state: TrainState) -> bool:
        """Whether the stage has reached its own end."""
        return bool(self._run(("done", stage), self.method.stages[stage].done, state))

    def advance(self, stage: int, state: TrainState, inputs: Inputs):
        """State and inputs of the stage after `stage`."""
        return self._run(("advance", stage), self.method.stages[stage].advance, state, inputs)

    def outputs(self, state: TrainState, inputs: Inputs) -> dict[str, Output]:
        """The method's outputs."""
        return self._run(("outputs",), self.method.outputs, state, inputs)

    def baseline(self, inputs: Inputs) -> Array:
        """The method's baseline image."""
        return self._run(("baseline",), self.method.baseline, inputs)

    # Of all lanes

    def stack(self, trees: Sequence[PyTree]) -> PyTree:
        """Trees of one image each as one tree with the lanes in front.

        Args:
            trees: at least one; lanes beyond them get a copy of the first.
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
        """The batch with one lane replaced; `batch` is donated."""
        if self.lanes == 1:
            return tree
        if len(self.devices) > 1:
            tree = jax.device_put(tree, self._everywhere)
        hit = self._shaped(np.arange(self.lanes) == lane)

        def choose(old, new, hit):
            return jax.tree.map(lambda a, b: jnp.where(hit, b, a), old, new)

        return self._run(("put",), choose, batch, tree, hit, axes=(0, None, 0), donate=(0,))

    def pick(self, batch: PyTree, lane: int) -> PyTree:
        """One lane of a batch."""
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
            stage: index of the stage.
            variant: of these steps.
            count: steps that the program has.
            states: of all lanes.
            inputs: of all lanes.
            budget: steps that each lane takes, the first ones; None: all `count`, a single lane.

        Returns:
            The new states; (metrics, done) after each step, for `per_lane`.
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
        """The stage's evaluation of all lanes: `(states, metrics)`; `states` is donated.

        Args:
            stage: index of the stage.
            states: of all lanes.
            inputs: of all lanes.
            chosen: lanes whose state may change; None: all, a single lane.
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
        """Runs a function of state, inputs and perhaps one value `each` in all lanes."""
        args = (
            (states, inputs) if each is None else (states, inputs, self._shaped(np.asarray(each)))
        )
        return self._run(name, function, *args, axes=(0,) * len(args), donate=(0,))

    def per_lane(self, values: PyTree) -> list[PyTree]:
        """What `steps` and `evaluate` found, on the host: one tree for each lane. Waits for it."""
        values = jax.device_get(values)
        if self.lanes == 1:
            return [values]
        if len(self.devices) > 1:
            values = jax.tree.map(lambda x: x.reshape(self.lanes, *x.shape[2:]), values)
        return [jax.tree.map(lambda x, i=i: x[i], values) for i in range(self.lanes)]

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        """One value per lane in the form of a batch."""
        devices = len(self.devices)
        return values.reshape(devices, self._per_device) if devices > 1 else values


def _has_nan(tree: PyTree) -> bool:
    floats = (x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating))
    return any(bool(jnp.isnan(x).any()) for x in floats)


def _select(chosen: Array, new: TrainState, old: TrainState) -> TrainState:
    return jax.tree.map(lambda a, b: jnp.where(chosen, a, b), new, old)
