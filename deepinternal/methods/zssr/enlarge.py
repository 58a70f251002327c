"""The result of a trained net: self-ensemble, back-projection, and tiles for large images."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from deepinternal.methods.zssr.task import Task
from deepinternal.ops import resizing, tiles
from deepinternal.ops.augment import dihedral
from deepinternal.ops.back_projection import back_project, descend
from deepinternal.types import Array, InputError, Inputs, PyTree

UNTILED = (
    1024  # longest side to which a net is applied at once, unless the config has a larger tile
)


def enlarge(task: Task, params: PyTree, inputs: Inputs) -> dict[str, Array]:
    """Super-resolves the base image.

    Args:
        task: The jump.
        params: The parameters of the net.
        inputs: With the base image (H, W, C) in [0, 1]. An image on a canvas is never tiled.

    Returns:
        `result` (H', W', C), and with an ensemble `uncertainty` (H', W').
    """
    function = lambda x: enlarge_window(task, params, x, inputs)
    tile = tile_of(task)
    if not tile or "sizes" in inputs:
        return function(inputs["image"])
    halo = reach(task, inputs)
    return tiles.tiled(function, inputs["image"], scale=task.jump.scale, tile=tile, halo=halo)


def enlarge_window(task: Task, params: PyTree, image: Array, inputs: Inputs) -> dict[str, Array]:
    """Super-resolves an image (h, w, C) or a window of it at once. Returns what `enlarge` returns."""
    jump = task.jump
    whole = image.shape[:2] == jump.base
    shape = jump.shape if whole else resizing.output_size(image.shape[:2], jump.scale)
    small, size = task.sizes(inputs)
    # A whole factor makes the ratio of the sizes whole, which allows faster downscaling.
    exact = all(float(s).is_integer() for s in jump.scale)
    sampled = {"size": size, "small": None if exact else small}
    mean = task.config.ensemble_reduce == "mean"

    def correct(x: Array) -> Array:
        down = lambda y: task.down(y, inputs, image.shape[:2], **sampled)
        if task.degradation is not None:
            return descend(x, image, down, iterations=jump.back_projection)
        up = lambda y: task.up(y, shape, small=small)
        refined = back_project(x, image, down, up, iterations=jump.back_projection)
        return jnp.where(task.decided(inputs, "refine", True), refined, x)

    def view(params: PyTree, element: int = 0) -> Array:
        """The result for one flip: the image is turned for the net, whose output is turned back."""
        turn = lambda pair: pair[::-1] if element % 2 else pair
        x = dihedral(image, element) if element else image
        x = task.refine(params, x, turn(shape), size=size, small=small)
        x = jnp.clip(dihedral(x, _inverse(element)) if element else x, 0, 1)
        return x if mean else correct(x)

    if not task.ensemble:
        return {"result": correct(view(params))}
    # If the two axes are treated differently, only the elements that keep them.
    even = all(pair[0] == pair[1] for pair in (jump.scale, task.factor))
    elements = range(8) if even else (0, 2, 4, 6)
    if task.own_net:
        views = jnp.stack([view(params, element) for element in elements])
    else:
        turned = [turn_weights(params, element, task.factor) for element in elements]
        views = jax.lax.map(view, jax.tree.map(lambda *k: jnp.stack(k), *turned))
    middle = views.mean(0) if mean else jnp.median(views, 0)
    return {"result": correct(middle), "uncertainty": jnp.std(views, axis=0).mean(-1)}


def _inverse(element: int) -> int:
    """The inverse of a dihedral element; mirrorings are their own inverses."""
    return element if element >= 4 else -element % 4


def turn_weights(
    params: Mapping[str, Array], element: int, factor: tuple[int, int] = (1, 1)
) -> dict[str, Array]:
    """Transforms the weights of a net as if its input and output were transformed.

    `dihedral(net(params, x), e) == net(turn_weights(params, e, factor), dihedral(x, e))` inside the
    image and at its border.

    Args:
        params: The parameters of a `ZSSRNet`.
        element: As in `ops.augment.dihedral`; must be even if the two factors differ.
        factor: The net's `factor`.

    Returns:
        Parameters of the same shapes.
    """
    turned = {name: dihedral(kernel, element) for name, kernel in params.items()}
    last = f"conv{len(params) - 1}"
    kernel = turned[last]
    pixels = kernel.reshape(*kernel.shape[:3], *factor, -1)
    pixels = dihedral(pixels, element, axes=(3, 4))
    return {**turned, last: jnp.reshape(pixels, kernel.shape)}


def tile_of(task: Task) -> int:
    """The side of the tiles in pixels of the input; 0: the image is enlarged at once.

    Raises:
        InputError: The config asks for tiles, which the factor, the degradation or the net rules out.
    """
    jump = task.jump
    side = math.ceil(UNTILED / max(jump.scale)) if task.factor == (1, 1) else UNTILED // 2
    tile = task.config.tile or (side if max(jump.base) > 1.5 * side else 0)
    # All tiles must be sampled alike, which is impossible if the factor has no period.
    known = task.degradation is None and not task.own_net
    regular = known and all(tiles.period(s) for s in jump.scale)
    if jump.shape != resizing.output_size(jump.base, jump.scale):
        regular = False
    if task.has_kernel:
        regular &= all(n == b * s for n, b, s in zip(jump.shape, jump.base, jump.scale))
    if task.config.tile and not regular:
        raise InputError(
            f"config.tile={task.config.tile}: must be 0; tiles need a scale that is a fraction of "
            "small numbers (such as 1.25), with a kernel a result of exactly the image's size times "
            "the scale, and no degradation or net of your own"
        )
    return tile if regular else 0


def reach(task: Task, inputs: Inputs) -> int:
    """The greatest distance, in input pixels, at which an input pixel affects an output pixel."""
    scale = min(task.jump.scale)
    net = task.config.layers + 2  # layers and cubic enlargement, whose kernel has a radius of 2
    if task.factor == (1, 1):
        net = math.ceil(task.config.layers / scale) + 2
    elif task.jump.scale != task.factor:
        net += 2 * math.ceil(max(f / s for f, s in zip(task.factor, task.jump.scale)))
    down = math.ceil(inputs["kernel"].shape[0] / 2 / scale) + 1 if task.has_kernel else 2
    rounds = task.jump.back_projection * (1 if task.config.ensemble_reduce == "mean" else 2)
    return net + rounds * (down + 2) + 2
