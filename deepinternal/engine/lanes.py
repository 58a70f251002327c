"""Maps the functions of one image over lanes on devices, and places arrays in the lanes."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from deepinternal.types import Array, PyTree


class Lanes:
    """The lanes of some devices.

    Attributes:
        devices: The devices.
        per_device: The number of lanes on each device.
        count: The number of all lanes.
    """

    def __init__(self, devices: Sequence[jax.Device], per_device: int):
        """Places the lanes.

        Args:
            devices: The devices.
            per_device: The number of lanes on each device.
        """
        self.devices, self.per_device = tuple(devices), per_device
        self.count = len(self.devices) * per_device
        self._placed: dict[tuple[int, ...], Array] = {}  # values that are on the devices
        self._split = self._everywhere = None
        if len(self.devices) > 1:
            mesh = Mesh(np.array(self.devices), ("devices",))
            self._split = NamedSharding(mesh, PartitionSpec("devices"))
            self._everywhere = NamedSharding(mesh, PartitionSpec())

    def stack(self, trees: Sequence[PyTree]) -> PyTree:
        """Stacks trees of one image each into one tree with leading lane axes.

        Args:
            trees: At least one; the remaining lanes get a copy of the first.
        """
        if self.count == 1:
            return trees[0]
        trees = [*trees, *[trees[0]] * (self.count - len(trees))]
        joined = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
        if len(self.devices) == 1:
            return joined
        shape = (len(self.devices), self.per_device)
        joined = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), joined)
        return jax.device_put(joined, self._split)

    def apart(self, values: PyTree) -> list[PyTree]:
        """Waits for a tree with leading lane axes; returns one tree per lane, on the host."""
        values = jax.device_get(values)
        if self.count == 1:
            return [values]
        if len(self.devices) > 1:
            values = jax.tree.map(lambda x: x.reshape(self.count, *x.shape[2:]), values)
        return [jax.tree.map(lambda x, i=i: x[i], values) for i in range(self.count)]

    def everywhere(self, tree: PyTree) -> PyTree:
        """Returns a tree without lane axes on all devices."""
        return jax.device_put(tree, self._everywhere) if len(self.devices) > 1 else tree

    def of_each(self, values: Sequence[int]) -> Array:
        """Returns one value per lane on the devices; recent ones are kept there."""
        values = tuple(values)
        if values not in self._placed:
            if len(self._placed) > 4 * self.count:
                self._placed.clear()
            array = np.asarray(values, np.int32)
            if len(self.devices) > 1:
                array = array.reshape(len(self.devices), self.per_device)
            self._placed[values] = jax.device_put(array, self._split)
        return self._placed[values]


def over_lanes(
    function: Callable,
    axes: Sequence[int | None],
    devices: Sequence[jax.Device],
    per_device: int,
    *,
    form: str = "vmap",
    donate: Sequence[int] = (),
) -> Callable:
    """Maps a function of one lane over all lanes.

    Args:
        function: A function of positional trees.
        axes: For each argument 0, or None if all lanes share it.
        devices: The devices of the lanes.
        per_device: The number of images on each device.
        form: 'vmap', or 'map' for the lanes of a device one after another in one program.
        donate: Indices of arguments whose memory may be reused.

    Returns:
        A jitted function; arguments of axis 0 and results have leading lane axes.
    """
    if len(devices) * per_device == 1:
        return jax.jit(function, donate_argnums=donate)
    if per_device > 1 and form == "map":
        batched = _mapped(function, axes)
    elif per_device > 1:
        batched = jax.vmap(function, axes)
    else:  # without vmap, which would change the form of convolutions

        def batched(*args):
            strip = lambda x: x[0]
            args = [a if axis is None else jax.tree.map(strip, a) for a, axis in zip(args, axes)]
            return jax.tree.map(lambda x: x[None], function(*args))

    if len(devices) == 1:
        return jax.jit(batched, donate_argnums=donate)
    return jax.pmap(batched, in_axes=tuple(axes), devices=devices, donate_argnums=donate)


def _mapped(function: Callable, axes: Sequence[int | None]) -> Callable:
    """Returns a function that loops over the lanes of its arguments."""

    def mapped(*args):
        def one(own):
            own = iter(own)
            return function(*(a if axis is None else next(own) for a, axis in zip(args, axes)))

        return jax.lax.map(one, [a for a, axis in zip(args, axes) if axis is not None])

    return mapped


def part_on(device: jax.Device, x: Array) -> Array:
    """Returns the part of an array that lies on a device, (1, ...)."""
    return next(part.data for part in x.addressable_shards if part.device == device)
