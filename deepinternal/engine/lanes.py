"""From the functions of one image to those of several, over lanes on devices."""

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
    """One lane's function as one of all lanes.

    Args:
        function: of positional trees.
        axes: for each argument 0, or None where all lanes get the same.
        devices: where the lanes are.
        per_device: images on each.
        donate: arguments whose memory may be taken over.

    Returns:
        A jitted function, in which arguments of axis 0 and results have the lanes in front.
    """
    if len(devices) * per_device == 1:
        return jax.jit(function, donate_argnums=donate)
    if per_device > 1:
        batched = jax.vmap(function, axes)
    else:  # no vmap, under which convolutions take other forms

        def batched(*args):
            strip = lambda x: x[0]
            args = [a if axis is None else jax.tree.map(strip, a) for a, axis in zip(args, axes)]
            return jax.tree.map(lambda x: x[None], function(*args))

    if len(devices) == 1:
        return jax.jit(batched, donate_argnums=donate)
    return jax.pmap(batched, in_axes=tuple(axes), devices=devices, donate_argnums=donate)
