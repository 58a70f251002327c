"""Alignment of images by a projective transform that most of their pixels follow."""

import functools

import jax.numpy as jnp
from jax import lax

from deepinternal.ops.resizing import resize
from deepinternal.ops.warping import compose, warp
from deepinternal.types import Array

_LEAST = 16  # shorter side in pixels of the coarsest level of the pyramid
_NOISE = 0.01  # least standard deviation of the differences of aligned pixels


def _pixel_to_unit(shape: tuple[int, int]) -> Array:
    """The 3x3 matrix from (x, y) in pixels to coordinates from -1 to 1 along the longer side."""
    h, w = shape
    half = max(h, w) / 2
    return jnp.array([[1, 0, 0.5 - w / 2], [0, 1, 0.5 - h / 2], [0, 0, half]], jnp.float32) / half


def _in_pixels(matrix: Array, shape: tuple[int, int]) -> Array:
    unit = _pixel_to_unit(shape)
    made = compose(jnp.linalg.inv(unit), matrix, unit)
    return made / made[2, 2]


def _improved(matrix: Array, moving: Array, fixed: Array, noise: float) -> Array:
    """One robust Gauss-Newton step for the matrix in unit coordinates."""
    h, w = fixed.shape
    down, across = (g * max(h, w) / 2 for g in jnp.gradient(moving))
    stacked = jnp.stack([moving, across, down, jnp.ones_like(moving)], axis=-1)
    at = _in_pixels(matrix, (h, w))
    value, across, down, inside = jnp.moveaxis(
        warp(stacked, at, (h, w), method="linear", boundary="zero"), -1, 0
    )
    y, x = jnp.meshgrid(jnp.arange(h), jnp.arange(w), indexing="ij")
    pixels = jnp.stack([x, y, jnp.ones_like(x)], axis=-1).astype(jnp.float32)
    product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    unit = product(pixels, _pixel_to_unit((h, w)).T)
    moved = product(unit, matrix.T)
    depth = moved[..., 2:]
    moved = moved[..., :2] / depth
    radial = -(across * moved[..., 0] + down * moved[..., 1])
    parts = [across[..., None] * unit, down[..., None] * unit, radial[..., None] * unit[..., :2]]
    slopes = (jnp.concatenate(parts, axis=-1) / depth).reshape(-1, 8)
    inside = inside > 0.99
    error = jnp.where(inside, value - fixed, 0)
    usual = jnp.nanmedian(jnp.where(inside, jnp.abs(error), jnp.nan))
    scale = jnp.square(1.5 * jnp.where(jnp.isnan(usual), 0, usual) + noise)
    trust = (jnp.where(inside, jnp.square(scale / (scale + error**2)), 0)).reshape(-1, 1)
    normal = product((trust * slopes).T, slopes)
    normal += (1e-3 * jnp.trace(normal) / 8 + 1e-6) * jnp.eye(8)
    change = jnp.linalg.solve(normal, product((trust * slopes).T, error.reshape(-1)))
    return matrix - jnp.append(change, 0.0).reshape(3, 3)


def projective_alignment(
    moving: Array, fixed: Array, *, start: Array | None = None, steps: int = 12
) -> Array:
    """Finds the projective transform that brings one image onto another.

    The steps minimise the squared differences of the pixels from coarse to fine. Pixels whose
    differences are much greater than the median have little weight, so that an object that moves
    differently does not disturb the alignment of the rest.

    Args:
        moving: (H, W), the image to be moved.
        fixed: (H, W).
        start: The 3x3 matrix to start from, of the same form as the result; None: the identity.
        steps: Number of steps at each level of the pyramid.

    Returns:
        The 3x3 matrix that maps (x, y) in `fixed` to (x, y) in `moving`, in pixels: with it,
        `warping.warp` brings `moving` onto `fixed`.

    Example:
        >>> import jax
        >>> from deepinternal.ops import alignment
        >>> image = jax.ShapeDtypeStruct((20, 30), "float32")
        >>> jax.eval_shape(alignment.projective_alignment, image, image).shape
        (3, 3)
    """
    sizes = [fixed.shape]
    while min(sizes[-1]) >= 2 * _LEAST:
        sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
    matrix = jnp.eye(3, dtype=jnp.float32)
    if start is not None:
        unit = _pixel_to_unit(fixed.shape)
        matrix = compose(unit, start, jnp.linalg.inv(unit))
        matrix = matrix / matrix[2, 2]
    for level, size in list(enumerate(sizes))[::-1]:
        pair = [
            resize(x[..., None], output_shape=size, method="box")[..., 0] for x in (moving, fixed)
        ]
        noise = _NOISE * (1 + level)
        step = lambda _, m, pair=pair, noise=noise: _improved(m, *pair, noise)
        matrix = lax.fori_loop(0, steps, step, matrix)
    return _in_pixels(matrix, fixed.shape)
