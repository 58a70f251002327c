"""Maps the functions of one image over lanes on devices."""

from collections.abc import Callable, Sequence

import jax


def over_lanes(
    function: Callable,
    axes: Sequence[int | None],
    devices: Sequence[jax.Device],
    per_device: int,
    *,
    donate: Sequence[int] = (),
) -> Callable:
    """Maps a function of one lane over all lanes.

    Args:
        function: A function of positional trees.
        axes: For each argument 0, or None if all lanes share it.
        devices: The devices of the lanes.
        per_device: The number of images on each device.
        donate: Indices of arguments whose memory may be reused.

    Returns:
        A jitted function; arguments of axis 0 and results have leading lane axes.
    """
    if len(devices) * per_device == 1:
        return jax.jit(function, donate_argnums=donate)
    if per_device > 1:
        batched = jax.vmap(function, axes)
    else:  # without vmap, which would change the form of convolutions

        def batched(*args):
            strip = lambda x: x[0]
            args = [a if axis is None else jax.tree.map(strip, a) for a, axis in zip(args, axes)]
            return jax.tree.map(lambda x: x[None], function(*args))

    if len(devices) == 1:
        return jax.jit(batched, donate_argnums=donate)
    return jax.pmap(batched, in_axes=tuple(axes), devices=devices, donate_argnums=donate)
