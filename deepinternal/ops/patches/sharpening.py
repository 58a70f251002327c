"""Small or blurred pictures made sharp by the patches of an image, at another size or shape.

The picture, such as that of a generator, is the first guess at a middle scale of the image's pyramid.
Sizes may be traced: a result then lies in the upper left of a canvas, and one program makes results of
many sizes.
"""

from collections.abc import Sequence

import jax.numpy as jnp

from deepinternal.ops import fitting, shear
from deepinternal.ops.patches import synthesis
from deepinternal.ops.resizing import resize_within
from deepinternal.types import Array

PATCH = 7  # side of the patches of results, in pixels


def scale_sizes(found: Sequence[float], size: tuple[int, int]) -> list[tuple[int, int]]:
    """Returns the sizes of a result at its scales.

    Args:
        found: The factors of the scales, see `synthesis.scale_factors`.
        size: (H, W) of the result.

    Returns:
        A size for each factor, at least that of a patch; without factors, the size itself.

    Example:
        >>> from deepinternal.ops.patches import sharpening
        >>> sharpening.scale_sizes((0.5, 1.0), (20, 30))
        [(10, 15), (20, 30)]
    """
    height, width = size
    at = lambda n, f: max(round(n * f), PATCH)
    return [(at(height, f), at(width, f)) for f in found] or [(height, width)]


def none_before(found: Sequence[float], canvas: tuple[int, int]) -> synthesis.Before:
    """Returns the argument `before` of `sharp` for a first result, which has no predecessor.

    Args:
        found: The factors of the scales.
        canvas: (H, W) of the results.

    Returns:
        Arrays of the right shapes, which are not used.

    Example:
        >>> from deepinternal.ops.patches import sharpening
        >>> before = sharpening.none_before((0.5, 1.0), (20, 30))
        >>> [x.shape for x in before.places]
        [(4, 9, 2), (14, 24, 2)]
    """
    sizes = scale_sizes(found, canvas)
    shapes = [[n - PATCH + 1 for n in size] for size in sizes] if found else []
    places = tuple(jnp.zeros((*shape, 2), jnp.int32) for shape in shapes)
    return synthesis.Before(
        places, jnp.array(sizes, jnp.int32), jnp.eye(3, dtype=jnp.float32), jnp.asarray(False)
    )


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
    """Makes a picture sharp by patches of an image, and brings it to the size of the result.

    Args:
        made: (h, w, C) in [0, 1], the picture.
        full: (H, W, C), the image from which the patches are taken.
        found: The factors of the scales, see `synthesis.scale_factors`; none: the picture is only
            resized, by cubic interpolation.
        canvas: (H', W') of the result.
        size: The size, possibly traced, of the picture in `made`. Default: (h, w).
        sizes: The sizes, possibly traced, of the result at its scales, see `scale_sizes`. Default:
            those of `canvas`.
        shifts: (2,), the shifts of the shape in which `made` was generated, see `shear.homography`; the
            result is white outside of the shape.
        before: See `synthesis.sharpened`.

    Returns:
        The result (H', W', C) in [0, 1], and the fields of its matches, one for each scale.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import sharpening
        >>> full, made = np.ones((20, 30, 3), np.float32), np.ones((10, 20, 3), np.float32)
        >>> make = lambda made: sharpening.sharp(made, full, (1.0,), (20, 40))
        >>> image, places = jax.eval_shape(make, made)
        >>> image.shape, [x.shape for x in places]
        ((20, 40, 3), [(14, 34, 2)])
    """
    found, full = (found if min(canvas) >= PATCH else ()), jnp.asarray(full)
    canvases = scale_sizes(found, canvas)
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
