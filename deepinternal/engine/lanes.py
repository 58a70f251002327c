"""Maps the functions of one image over lanes on devices."""

from collections.abc import Callable, Sequence

import jax

from deepinternal.types import Array


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
