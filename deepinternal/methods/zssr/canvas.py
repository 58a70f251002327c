"""Canvases: arrays of one size for images of different sizes, so that they share programs and batches.

An image lies in the upper left of its canvas. All shapes are those of the canvas. Whatever depends on
the image's size is computed from the input `sizes`, so that the results equal those of the image alone
up to float rounding and do not depend on the rest of the canvas.
"""

from collections.abc import Hashable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.methods.zssr import blind
from deepinternal.methods.zssr.config import Config
from deepinternal.methods.zssr.enlarge import tile_of
from deepinternal.methods.zssr.jumps import POOLED, plan
from deepinternal.methods.zssr.task import TEST_SIDE, Task, build
from deepinternal.ops.resizing import output_size
from deepinternal.ops.sampling import sample_positions, whole_positions
from deepinternal.types import InputError, Inputs


def group(
    config: Config, shape: tuple[int, ...], given: Mapping[str, tuple[int, ...]]
) -> Hashable | None:
    """Returns a value that images must have in common in order to share a canvas; see `recipe.Canvas`.

    Args:
        config: The settings.
        shape: (H, W, C) of an image.
        given: The shapes of its kernels, by field.

    Returns:
        A value that is equal for images that may share a canvas. None for an image that cannot share
        one: if `output_shape` makes the factor depend on the size, if the image would be enlarged in
        tiles or in part, if `zssr.make` refuses it, or with another `mode` than image.
    """
    if config.output_shape or config.mode != "image":
        return None
    spec = {"image": jax.ShapeDtypeStruct(shape, jnp.float32)}
    if config.blind or "kernel" in given:
        spec["kernel"] = given.get("kernel")
    try:
        tasks = build(config, spec)
        if any(tile_of(task) or not _regular(task) for task in tasks):
            return None
        if len(tasks) > 1 and max(shape[:2]) > POOLED:
            return None
    except InputError:
        return None
    path = tuple((t.jump.scale, t.crop, t.jump.back_projection) for t in tasks)
    own = blind.estimates_kernel(config, shape[:2], "kernel" in given)
    return shape[-1], path, own, tuple(sorted(given.items()))


def _regular(task: Task) -> bool:
    """Whether downscaling with a kernel samples the same positions with and without a canvas."""
    return not task.has_kernel or all(
        np.array_equal(whole_positions(n, s, m, m), sample_positions(n, s, m))
        for n, s, m in _downscalings(task)
    )


def _downscalings(task: Task) -> Iterator[tuple[int, float, int]]:
    """Yields (length, factor, length of the result) of each axis in back-projection and self-test."""
    for base, large, scale in zip(task.jump.base, task.jump.shape, task.jump.scale):
        tested = min(base, TEST_SIDE)
        yield large, scale, base
        yield tested, scale, output_size((tested, tested), (1 / scale, 1 / scale))[0]


def pad(config: Config, inputs: Inputs, canvas: tuple[int, int]) -> Inputs:
    """Puts an image on a canvas, on the host.

    Args:
        config: The settings.
        inputs: The inputs that `zssr.prepare` returned.
        canvas: (H, W), at least that of the image along both axes.

    Returns:
        The inputs with larger images, which are zero beyond the given ones, and `sizes`, int32
        (jumps, 2, 2): for each jump (H, W) of its base image and of its result.
    """
    image = inputs["image"]
    size = image.shape[:2]
    path = plan(config, size, back_projection=0, alone="kernel" in inputs)
    room = [(0, c - n) for c, n in zip(canvas, size)]
    images = {name: inputs[name] for name in ("image", "observed") if name in inputs}
    return {
        **inputs,
        **{name: np.pad(x, [*room, (0, 0)]) for name, x in images.items()},
        "sizes": np.asarray([(jump.base, jump.shape) for jump in path], np.int32),
    }
