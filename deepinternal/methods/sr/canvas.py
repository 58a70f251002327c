"""Images of different sizes in arrays of one size, so that they share programs and can be batched.

An image lies in the upper left of its canvas. All shapes come from the canvas; what depends on the
image's size is computed from the input `sizes`, so that results are those of the image alone, up to
float rounding, whatever the rest of the canvas holds.
"""

from collections.abc import Hashable, Iterator

import jax.numpy as jnp
import ml_collections
import numpy as np

from deepinternal.methods.sr import blind, jumps
from deepinternal.methods.sr.enlarge import tile_of
from deepinternal.methods.sr.task import TEST_SIDE, Task, build
from deepinternal.ops.kernels import sample_positions, whole_positions
from deepinternal.ops.resize import output_size
from deepinternal.types import InputError, Inputs


def canvas_group(config: ml_collections.ConfigDict, spec: Inputs) -> Hashable | None:
    """What images must have in common in order to share a canvas.

    Args:
        config: as `zssr.defaults()`.
        spec: `input_spec` of what `zssr.prepare` made of one image.

    Returns:
        A value that is equal for images which may share one, with the greatest height and width
        among them; None for an image that can share none: where `output_shape` makes the factor
        depend on the size, where it would be enlarged in tiles, and where `zssr.make` refuses it.
    """
    if config.output_shape:
        return None
    try:
        tasks = build(ml_collections.FrozenConfigDict(config), spec)
        if any(tile_of(task) or not _regular(task) for task in tasks):
            return None
    except InputError:
        return None
    kernel = spec["kernel"].shape if "kernel" in spec else None
    path = tuple((t.jump.scale, t.crop, t.jump.back_projection) for t in tasks)
    own = blind.shared(config, spec) if config.blind else None
    return spec["image"].shape[-1], kernel, path, own


def _regular(task: Task) -> bool:
    """Whether downscaling with a kernel samples at the same places on a canvas."""
    return not task.has_kernel or all(
        np.array_equal(whole_positions(n, s, m, m), sample_positions(n, s, m))
        for n, s, m in _downscalings(task)
    )


def _downscalings(task: Task) -> Iterator[tuple[int, float, int]]:
    """(length, factor, length of the result) of each axis in back-projection and self-test."""
    for base, large, scale in zip(task.jump.base, task.jump.shape, task.jump.scale):
        tested = min(base, TEST_SIDE)
        yield large, scale, base
        yield tested, scale, output_size((tested, tested), (1 / scale, 1 / scale))[0]


def pad(config: ml_collections.ConfigDict, inputs: Inputs, canvas: tuple[int, int]) -> Inputs:
    """Puts an image on a canvas; on the host.

    Args:
        config: as `zssr.defaults()`.
        inputs: what `zssr.prepare` returned.
        canvas: (H, W), at least the image's in both axes.

    Returns:
        The inputs with a larger `image`, zero beyond the given one, and `sizes`, int32 (jumps, 2, 2):
        for each jump (H, W) of its base image and of its result.
    """
    image = np.asarray(inputs["image"])
    size = image.shape[:2]
    path = jumps.plan(config, size, back_projection=0)
    room = [(0, c - n) for c, n in zip(canvas, size)]
    return {
        **inputs,
        "image": jnp.asarray(np.pad(image, [*room, (0, 0)])),
        "sizes": jnp.asarray([(jump.base, jump.shape) for jump in path], jnp.int32),
    }
