"""Random views of an image: the dihedral group, and ZSSR's random fathers."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.ops import warp as warps
from deepinternal.types import Array

# Linear parts (a, b, c, d) of the 8 maps of the square, output -> input; the first is the identity.
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
    """One of the 8 rotations and mirrorings of the square.

    Args:
        x: any array; `axes` are its vertical and horizontal axis.
        index: 0 to 7: `index % 4` quarter turns, then a mirroring of the columns if index >= 4.
        axes: which axes to act on.

    Returns:
        The transformed array; the two axes are swapped for odd `index`.
    """
    x = jnp.rot90(x, index % 4, axes)
    return jnp.flip(x, axes[1]) if index >= 4 else x


def _integer_crop(drawn: Array, size: Array, crop: tuple[int, int]) -> tuple[Array, Array]:
    """Whole-pixel crop origin (y, x) from two numbers in [0, 1); centred if the crop is larger."""
    room = size - jnp.asarray(crop, jnp.float32)
    drawn = jnp.floor(drawn * (room + 1))
    origin = jnp.where(room >= 0, jnp.minimum(drawn, room), jnp.floor(room / 2))
    return origin[0], origin[1]


def _dihedral(drawn, size, crop, keep) -> Array:
    """A random element of the group (or none, with `keep`) and a whole-pixel crop: the 3x3 matrix.

    `drawn` are three numbers in [0, 1).
    """
    element = jnp.where(keep, 0, jnp.floor(8 * drawn[0]).astype(jnp.int32))
    a, b, c, d = jnp.asarray(_DIHEDRAL)[element]
    h, w = jnp.asarray(size, jnp.float32)
    turned = jnp.stack([jnp.where(b != 0, w, h), jnp.where(b != 0, h, w)])
    y, x = _integer_crop(drawn[1:], turned, crop)
    to_centre = warps.translation(x - (turned[1] - 1) / 2, y - (turned[0] - 1) / 2)
    back = warps.translation((w - 1) / 2, (h - 1) / 2)
    return warps.compose(back, warps.linear_map(a, b, c, d), to_centre)


def _affine(
    uniform, normal, size, crop, scale, scale_difference, shear, turn
) -> tuple[Array, Array]:
    """ZSSR's random affine father (Shocher et al. 2018, section 3.1): the matrix, the global scale.

    The image is scaled (and mirrored) about its centre, rotated, sheared, and a crop is taken at a
    random position of the scaled image's frame. 5 uniform and 3 normal numbers decide.
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
    # The inverses in reverse order: shift, shear, rotation, scale and mirror. Centres are of pixel
    # areas, hence the halves.
    frame = warps.translation(
        shift[1] + 0.5 - factor * w / 2,
        shift[0] + 0.5 - factor * h / 2,
    )
    det = 1 - shear_x * shear_y
    unshear = warps.linear_map(1 / det, -shear_x / det, -shear_y / det, 1 / det)
    unscale = warps.linear_map(mirror / sx, 0.0, 0.0, 1 / sy)
    back = warps.translation(w / 2 - 0.5, h / 2 - 0.5)
    return warps.compose(back, unscale, warps.rotation(-angle), unshear, frame), factor


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
    """Draws from which image of a pool one of ZSSR's HR fathers is cut, and how.

    A father as is comes from the first image, a dihedral one from any, an affine one from the first
    that is at least as large as the scale drawn for it.

    Args:
        key: PRNG key.
        size: (H, W) of the first image, maybe traced.
        crop: (h, w) of the father.
        factors: (vertical, horizontal) size of each image of the pool in units of the first.
        sizes: (H, W) of each image of the pool, maybe traced; default: size * factors, rounded up.
        p_as_is: probability of a mere whole-pixel crop.
        p_dihedral: probability of a dihedral transform and a whole-pixel crop; the rest is affine.
        turn: whether rotations, by U(0, 2 pi), and mirrorings are allowed (off for asymmetric blur
            kernels), maybe traced.
        scale: range of affine fathers' global scale in units of the first image; the upper end is
            multiplied by the last image's smaller factor.
        scale_difference: standard deviation of the difference between affine fathers' x and y scale.
        shear: standard deviation of affine fathers' x and of their y shear.

    Returns:
        The image's index, and the 3x3 matrix, father coordinates -> that image's coordinates, for
        `warp.warp`.

    References:
        Shocher, Cohen, Irani: "Zero-Shot" Super-Resolution using Deep Internal Learning. CVPR 2018,
        section 3.1.
    """
    factors = jnp.asarray(factors, jnp.float32)
    if sizes is None:
        sizes = jnp.ceil(jnp.asarray(size, jnp.float32) * factors - 1e-3)
    # Few draws of vectors, for each draw adds 0.1 to 0.3 s of compile time on CPU.
    key_uniform, key_normal = jax.random.split(key)
    uniform, normal = jax.random.uniform(key_uniform, (10,)), jax.random.normal(key_normal, (3,))
    kind, any_image = uniform[:2]
    as_is, affine = kind < p_as_is, kind >= p_as_is + p_dihedral
    source = jnp.where(as_is, 0, jnp.floor(any_image * len(factors)).astype(jnp.int32))
    whole = _dihedral(uniform[2:5], jnp.asarray(sizes)[source], crop, as_is | jnp.logical_not(turn))
    span = scale[0], jnp.maximum(scale[1] * factors[-1].min(), scale[0])
    free, drawn = _affine(uniform[5:], normal, size, crop, span, scale_difference, shear, turn)
    enough = (factors.min(1) >= drawn - 1e-6).at[-1].set(True)
    large = jnp.argmax(enough)
    vertical, horizontal = factors[large]
    to_source = warps.compose(
        warps.translation(-0.5, -0.5),
        warps.linear_map(horizontal, 0.0, 0.0, vertical),
        warps.translation(0.5, 0.5),
    )
    free = warps.compose(to_source, free)
    return jnp.where(affine, large, source), jnp.where(affine, free, whole)
