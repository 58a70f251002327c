"""The detail of InGAN's results: patches of the full image, matched from coarse to fine.

The net's picture is the first guess at a middle scale of the image's pyramid. Sizes may be traced: then
results lie in the upper left of a canvas, and one program makes results of many sizes.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from deepinternal.methods.ingan.config import Config
from deepinternal.ops import fitting, shear
from deepinternal.ops.patches import synthesis
from deepinternal.ops.resizing import resize_within
from deepinternal.types import Array

PATCH = 7  # side of the patches of results, in pixels
_COARSEST = 34  # least side of the image at the coarsest scale, in pixels


def factors(config: Config, full: tuple[int, int], small: tuple[int, int]) -> tuple[float, ...]:
    """Returns the factors of the scales at which results are made of patches, from coarse to 1.

    At the coarsest scale, the image's shorter side is 34 pixels, or more if `detail` scales, each half
    as large as the next one, do not reach so far; but the scale is at most that of the net.

    Args:
        config: The settings.
        full: (H, W) of the full image.
        small: (h, w) of the image from which the net learned.

    Returns:
        The factors; none without `detail`.
    """
    if not config.detail:
        return ()
    coarsest = max(_COARSEST / min(full), 0.5 ** (config.detail - 1))
    return synthesis.scale_factors(config.detail, min(max(small) / max(full), coarsest))


def scale_sizes(found: Sequence[float], size: tuple[int, int]) -> list[tuple[int, int]]:
    """Returns the sizes (H, W) at scales with these factors, at least those of a patch."""
    return [tuple(max(round(n * f), PATCH) for n in size) for f in found]


def no_places(found: Sequence[float], canvas: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Returns fields of zeros with the shapes of those that `sharp` returns."""
    shapes = [[n - PATCH + 1 for n in size] for size in scale_sizes(found, canvas)]
    return tuple(np.zeros((*shape, 2), np.int32) for shape in shapes)


def sharp(
    made: Array,
    full: Array,
    found: Sequence[float],
    canvas: tuple[int, int],
    *,
    size: Array | Sequence[Array | int] | None = None,
    sizes: Array | Sequence[Sequence[Array | int]] | None = None,
    shifts: Array | None = None,
    before: synthesis.Before | None = None,
) -> tuple[Array, tuple[Array, ...]]:
    """Makes the net's picture sharp with patches of the full image, and brings it to the result's size.

    Args:
        made: (h, w, C) in [0, 1], the net's picture.
        full: (H, W, C), the full image.
        found: The factors of the scales, see `factors`; none: cubic interpolation.
        canvas: (H', W') of the result.
        size: The size, possibly traced, of the picture in `made`. Default: (h, w).
        sizes: The size, possibly traced, of the result at each scale, see `scale_sizes`; without
            `found` only its own. Default: those of `canvas`.
        shifts: (2,), the shifts with which `made` was made; the result is white outside of the shape.
        before: See `synthesis.sharpened`.

    Returns:
        The result (H', W', C) in [0, 1], and the fields of its matches, one for each scale.
    """
    found, full = (found if min(canvas) >= PATCH else ()), jnp.asarray(full)
    canvases = scale_sizes(found, canvas) if found else [canvas]
    matrix = None if shifts is None else shear.homography(shifts)
    wanted = canvases if sizes is None else sizes
    if size is not None or sizes is not None or made.shape[:2] != canvases[0]:
        size = made.shape[:2] if size is None else size
        made = resize_within(made, size, wanted[0], output_shape=canvases[0])
    inside = lambda shape, size: None if matrix is None else shear.inside(matrix, shape, size=size)
    insides = [inside(shape, size) for shape, size in zip(canvases, wanted)]
    made, places = jnp.clip(made, 0, 1), ()
    if found:
        shapes = scale_sizes(found, full.shape[:2])
        sources = [fitting.enlarged(full, shape) for shape in shapes]
        scales = map(synthesis.Scale, sources, canvases, wanted, insides)
        made, places = synthesis.sharpened(made, tuple(scales), patch=PATCH, before=before)
    if shifts is not None:
        made = jnp.where(insides[-1][..., None], made, 1.0)
    return made, places
