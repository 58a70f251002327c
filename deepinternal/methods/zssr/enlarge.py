"""The answer of a trained net: self-ensemble, back-projection, and tiles where the image is large."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from deepinternal.methods.zssr.task import Task
from deepinternal.ops import resize, tiles
from deepinternal.ops.augment import dihedral
from deepinternal.ops.back_projection import back_project, descend
from deepinternal.types import Array, InputError, Inputs, PyTree

UNTILED = 1024  # longest side of what a net is applied to at once, unless the config says more


def enlarge(task: Task, params: PyTree, inputs: Inputs) -> dict[str, Array]:
    """Super-resolves the base image.

    Args:
        task: the jump.
        params: the net's.
        inputs: with the base image, (H, W, C) in [0, 1], or one on a canvas, which is never tiled.

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
    """Super-resolves an image (h, w, C) or a window of it, taken at once; returns as `enlarge`."""
    jump = task.jump
    whole = image.shape[:2] == jump.base
    shape = jump.shape if whole else resize.output_size(image.shape[:2], jump.scale)
    small, size = task.sizes(inputs)
    # Where the factor is whole, so is the ratio of the sizes, and downscaling can be faster.
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
        """Of one flip; the net sees the image turned, and what it makes is turned back."""
        turn = lambda pair: pair[::-1] if element % 2 else pair
        x = dihedral(image, element) if element else image
        x = task.refine(params, x, turn(shape), size=size, small=small)
        x = jnp.clip(dihedral(x, _inverse(element)) if element else x, 0, 1)
        return x if mean else correct(x)

    if not task.ensemble:
        return {"result": correct(view(params))}
    # Only the axis-keeping elements where the two axes are treated differently.
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
    """The dihedral element that undoes one; mirrorings undo themselves."""
    return element if element >= 4 else -element % 4


def turn_weights(
    params: Mapping[str, Array], element: int, factor: tuple[int, int] = (1, 1)
) -> dict[str, Array]:
    """Weights of the net that sees its input under a dihedral transform, and undoes it.

    `dihedral(net(params, x), e) == net(turn_weights(params, e, factor), dihedral(x, e))` inside of
    the image and at its border.

    Args:
        params: of a `ZSSRNet`.
        element: as in `ops.augment.dihedral`; even where the two factors differ.
        factor: the net's.

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
    """Side of the tiles in input pixels; 0: the image is taken at once.

    Raises:
        InputError: the config wants tiles, which this factor or degradation does not allow.
    """
    jump = task.jump
    side = math.ceil(UNTILED / max(jump.scale)) if task.factor == (1, 1) else UNTILED // 2
    tile = task.config.tile or (side if max(jump.base) > 1.5 * side else 0)
    # Tiles must look alike, which they do not where the factor has no period.
    known = task.degradation is None and not task.own_net
    regular = known and all(tiles.period(s) for s in jump.scale)
    if jump.shape != resize.output_size(jump.base, jump.scale):
        regular = False
    if task.has_kernel:
        regular &= all(n == b * s for n, b, s in zip(jump.shape, jump.base, jump.scale))
    if task.config.tile and not regular:
        raise InputError(
            f"config.tile={task.config.tile}: tiles need a scale that is a fraction of small numbers "
            "(such as 1.25) and, with a kernel, a result of exactly the image's size times the scale; "
            "they are not possible with your own degradation or net; leave config.tile at 0"
        )
    return tile if regular else 0


def reach(task: Task, inputs: Inputs) -> int:
    """How far away an input pixel may be and still matter for an output pixel, in input pixels."""
    scale = min(task.jump.scale)
    net = task.config.layers + 2  # layers and cubic enlargement, whose kernel has a radius of 2
    if task.factor == (1, 1):
        net = math.ceil(task.config.layers / scale) + 2
    elif task.jump.scale != task.factor:
        net += 2 * math.ceil(max(f / s for f, s in zip(task.factor, task.jump.scale)))
    down = math.ceil(inputs["kernel"].shape[0] / 2 / scale) + 1 if task.has_kernel else 2
    rounds = task.jump.back_projection * (1 if task.config.ensemble_reduce == "mean" else 2)
    return net + rounds * (down + 2) + 2
