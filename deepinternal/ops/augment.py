"""Random transformations of an image: the dihedral group, and ZSSR's random fathers.

A *father* is a high-resolution crop of the image that is to be enlarged, or of a resized version of it.
Its downscaled version, the *son*, is the input from which ZSSR's net learns to restore the father.

References:
    Shocher, Cohen, Irani: "Zero-Shot" Super-Resolution using Deep Internal Learning. CVPR 2018,
    section 3.1.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.ops import warping
from deepinternal.types import Array

# Linear parts (a, b, c, d) of the 8 dihedral maps, output -> input; the first one is the identity.
_DIHEDRAL = np.array(
    [
        [1, 0, 0, 1],
        [0, 1, -1, 0],
        [-1, 0, 0, -1],
        [0, -1, 1, 0],
        [-1, 0, 0, 1],
        [0, -1, -1, 0],
        [1, 0, 0, -1],
        [0, 1, 1, 0],
    ],
    np.float32,
)


def dihedral(x: Array, index: int, *, axes: tuple[int, int] = (0, 1)) -> Array:
    """Applies one of the 8 rotations and mirrorings of the square.

    Args:
        x: An array of any shape with the two `axes`.
        index: 0 to 7: `index % 4` quarter turns, then a mirroring of the columns if index >= 4.
        axes: The vertical and the horizontal axis.

    Returns:
        The transformed array; for odd `index` the two axes are swapped.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import augment
        >>> augment.dihedral(np.array([[1, 2], [3, 4]]), 4).tolist()
        [[2, 1], [4, 3]]
    """
    x = jnp.rot90(x, index % 4, axes)
    return jnp.flip(x, axes[1]) if index >= 4 else x


def _integer_crop(drawn: Array, size: Array, crop: tuple[int, int]) -> tuple[Array, Array]:
    """The whole-pixel origin (y, x) of a crop from two numbers in [0, 1); centred if it is larger."""
    room = size - jnp.asarray(crop, jnp.float32)
    drawn = jnp.floor(drawn * (room + 1))
    origin = jnp.where(room >= 0, jnp.minimum(drawn, room), jnp.floor(room / 2))
    return origin[0], origin[1]


def _dihedral(drawn, size, crop, keep) -> Array:
    """The 3x3 matrix of a random element (with `keep`, the identity) and a random whole-pixel crop.

    `drawn` are three numbers in [0, 1).
    """
    element = jnp.where(keep, 0, jnp.floor(8 * drawn[0]).astype(jnp.int32))
    a, b, c, d = jnp.asarray(_DIHEDRAL)[element]
    h, w = jnp.asarray(size, jnp.float32)
    turned = jnp.stack([jnp.where(b != 0, w, h), jnp.where(b != 0, h, w)])
    y, x = _integer_crop(drawn[1:], turned, crop)
    to_centre = warping.translation(x - (turned[1] - 1) / 2, y - (turned[0] - 1) / 2)
    back = warping.translation((w - 1) / 2, (h - 1) / 2)
    return warping.compose(back, warping.linear_map(a, b, c, d), to_centre)


def _affine(
    uniform, normal, size, crop, scale, scale_difference, shear, turn
) -> tuple[Array, Array]:
    """The matrix and the global scale of a random affine father (Shocher et al. 2018, section 3.1).

    The image is scaled (and mirrored) about its centre, rotated and sheared, and a crop is taken at a
    random position of the scaled image's frame. The random numbers are 5 uniform and 3 normal ones.
    """
    h, w = jnp.asarray(size, jnp.float32)
    factor = scale[0] + (scale[1] - scale[0]) * uniform[0]
    half = scale_difference * normal[0] / 2
    sx, sy = (jnp.maximum(factor + d, 0.1) for d in (half, -half))
    shear_x, shear_y = shear * normal[1:]
    angle = 2 * jnp.pi * uniform[1] * turn
    mirror = jnp.where(turn & (uniform[2] < 0.5), -1.0, 1.0)
    room = jnp.maximum(factor * jnp.stack([h, w]) - jnp.asarray(crop, jnp.float32), 0)
    shift = room * uniform[3:]
    # The inverses in reverse order: shift, shear, rotation, scale and mirror. The halves are needed
    # because centres refer to pixel areas.
    frame = warping.translation(
        shift[1] + 0.5 - factor * w / 2,
        shift[0] + 0.5 - factor * h / 2,
    )
    det = 1 - shear_x * shear_y
    unshear = warping.linear_map(1 / det, -shear_x / det, -shear_y / det, 1 / det)
    unscale = warping.linear_map(mirror / sx, 0.0, 0.0, 1 / sy)
    back = warping.translation(w / 2 - 0.5, h / 2 - 0.5)
    return warping.compose(back, unscale, warping.rotation(-angle), unshear, frame), factor


def draw_father(
    key: Array,
    size: tuple[int, int],
    crop: tuple[int, int],
    *,
    factors: Sequence[tuple[float, float]] = ((1.0, 1.0),),
    sizes: Array | Sequence[tuple[int, int]] | None = None,
    p_as_is: float = 0.05,
    p_dihedral: float = 0.45,
    turn: bool | Array = True,
    scale: tuple[float, float] = (0.5, 1.0),
    scale_difference: float = 0.25,
    shear: float = 0.1,
) -> tuple[Array, Array]:
    """Draws a father of ZSSR: the image of a pool from which it is cut, and its transform.

    An untransformed father comes from the first image, a dihedral one from any image, and an affine one
    from the first image that is at least as large as the scale drawn for it.

    Args:
        key: PRNG key.
        size: (H, W) of the first image, possibly traced.
        crop: (h, w) of the father.
        factors: (vertical, horizontal) size of each image of the pool relative to the first.
        sizes: (H, W) of each image of the pool, possibly traced. Default: size * factors, rounded up.
        p_as_is: Probability of a whole-pixel crop without a transformation.
        p_dihedral: Probability of a dihedral transform and a whole-pixel crop. All others are affine.
        turn: Whether rotations (affine ones by U(0, 2 pi)) and mirrorings are allowed, possibly traced;
            False for asymmetric blur kernels.
        scale: Range of the global scale of affine fathers, relative to the first image. The upper end
            is multiplied by the smaller factor of the last image.
        scale_difference: Standard deviation of the difference between the x and y scales.
        shear: Standard deviation of the x shear and of the y shear.

    Returns:
        The index of the image, and the 3x3 matrix from coordinates in the father to coordinates in
        that image, for `warping.warp`.

    Example:
        >>> import jax
        >>> from deepinternal.ops import augment
        >>> draw = lambda key: augment.draw_father(key, (60, 80), (20, 24))
        >>> index, matrix = jax.eval_shape(draw, jax.random.key(0))
        >>> index.shape, matrix.shape
        ((), (3, 3))
    """
    factors = jnp.asarray(factors, jnp.float32)
    if sizes is None:
        sizes = jnp.ceil(jnp.asarray(size, jnp.float32) * factors - 1e-3)
    # Few draws of vectors, because each draw adds 0.1 to 0.3 s of compile time on CPU.
    key_uniform, key_normal = jax.random.split(key)
    uniform = jax.random.uniform(key_uniform, (10,), jnp.float32)
    normal = jax.random.normal(key_normal, (3,), jnp.float32)
    kind, any_image = uniform[:2]
    as_is, affine = kind < p_as_is, kind >= p_as_is + p_dihedral
    source = jnp.where(as_is, 0, jnp.floor(any_image * len(factors)).astype(jnp.int32))
    whole = _dihedral(uniform[2:5], jnp.asarray(sizes)[source], crop, as_is | jnp.logical_not(turn))
    span = scale[0], jnp.maximum(scale[1] * factors[-1].min(), scale[0])
    free, drawn = _affine(uniform[5:], normal, size, crop, span, scale_difference, shear, turn)
    enough = (factors.min(1) >= drawn - 1e-6).at[-1].set(True)
    large = jnp.argmax(enough).astype(jnp.int32)
    free = warping.compose(_enlargement(*factors[large]), free)
    return jnp.where(affine, large, source), jnp.where(affine, free, whole)


def _enlargement(vertical: Array, horizontal: Array) -> Array:
    """The 3x3 matrix from pixels of the first image to those of an image that is larger by factors."""
    return warping.compose(
        warping.translation(-0.5, -0.5),
        warping.linear_map(horizontal, 0.0, 0.0, vertical),
        warping.translation(0.5, 0.5),
    )
