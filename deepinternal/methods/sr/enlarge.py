"""The answer of a trained net: self-ensemble, back-projection, and tiles where the image is large."""

import math

import jax
import jax.numpy as jnp

from deepinternal.methods.sr.task import Task
from deepinternal.nets.zssr import turn_weights
from deepinternal.ops import resize, tiles
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

    def view(params: PyTree) -> Array:
        x = jnp.clip(task.refine(params, image, shape, size=size, small=small), 0, 1)
        return x if mean else correct(x)

    if not task.ensemble:
        return {"result": correct(view(params))}
    # Only the axis-keeping elements where the two axes are scaled differently.
    elements = range(8) if jump.scale[0] == jump.scale[1] else (0, 2, 4, 6)
    turned = [turn_weights(params, element, task.net.factor) for element in elements]
    views = jax.lax.map(view, jax.tree.map(lambda *k: jnp.stack(k), *turned))
    middle = views.mean(0) if mean else jnp.median(views, 0)
    return {"result": correct(middle), "uncertainty": jnp.std(views, axis=0).mean(-1)}


def tile_of(task: Task) -> int:
    """Side of the tiles in input pixels; 0: the image is taken at once.

    Raises:
        InputError: the config wants tiles, which this factor or degradation does not allow.
    """
    jump = task.jump
    side = math.ceil(UNTILED / max(jump.scale)) if task.net.factor == (1, 1) else UNTILED // 2
    tile = task.config.tile or (side if max(jump.base) > 1.5 * side else 0)
    # Tiles must look alike, which they do not where the factor has no period.
    regular = all(tiles.period(s) for s in jump.scale) and task.degradation is None
    if jump.shape != resize.output_size(jump.base, jump.scale):
        regular = False
    if task.has_kernel:
        regular &= all(n == b * s for n, b, s in zip(jump.shape, jump.base, jump.scale))
    if task.config.tile and not regular:
        raise InputError(
            f"config.tile={task.config.tile}: tiles need a scale that is a fraction of small numbers "
            "(such as 1.25), with a kernel a result of exactly the image's size times the scale, and "
            "cannot be had with a degradation of one's own; leave config.tile at 0"
        )
    return tile if regular else 0


def reach(task: Task, inputs: Inputs) -> int:
    """How far away an input pixel may be and still matter for an output pixel, in input pixels."""
    scale = min(task.jump.scale)
    net = task.config.layers + 2  # layers and cubic enlargement, whose kernel has a radius of 2
    if task.net.factor == (1, 1):
        net = math.ceil(task.config.layers / scale) + 2
    elif task.jump.scale != task.net.factor:
        net += 2 * math.ceil(max(f / s for f, s in zip(task.net.factor, task.jump.scale)))
    down = math.ceil(inputs["kernel"].shape[0] / 2 / scale) + 1 if task.has_kernel else 2
    rounds = task.jump.back_projection * (1 if task.config.ensemble_reduce == "mean" else 2)
    return net + rounds * (down + 2) + 2
