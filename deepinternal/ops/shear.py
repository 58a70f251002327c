"""InGAN's non-rectangular shapes: homographies that move two corners of an image sideways.

Coordinates are (x, y), from -1 to 1 between the borders of an image. Two shifts (s0, s1) define the
homography from output to input: it maps the upper left corner of the output to (-1 + s0, -1) and the
lower right corner to (1 + s1, 1), and it keeps the middles of the left and the right border. s1 = -s0
is a shear along x.

References:
    Shocher, Bagon, Isola, Irani: InGAN. ICCV 2019, section 4.1.
"""

from collections.abc import Sequence

import jax.numpy as jnp

from deepinternal.ops.warping import compose, linear_map, translation
from deepinternal.types import Array


def homography(shifts: Array) -> Array:
    """Returns the homography for the shifts of two corners.

    Args:
        shifts: (2,) s0, s1, |s0 + s1| < 1.

    Returns:
        3x3 matrix from output to input coordinates.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import shear
        >>> shear.homography(np.float32([0.5, -0.5])).tolist()
        [[1.0, -0.5, 0.0], [0.0, 1.0, 0.0], [0.0, -0.0, 1.0]]
    """
    s0, s1 = shifts[0], shifts[1]
    g, b = (s0 + s1) / 2, (s1 - s0) / 2
    one, zero = jnp.ones_like(g), jnp.zeros_like(g)
    rows = [[one, b, g], [zero, one, zero], [g, -g, one]]
    return jnp.stack([jnp.stack(row) for row in rows])


def inverse(matrix: Array) -> Array:
    """Returns the inverse of a homography up to a factor, by cofactors.

    Args:
        matrix: 3x3, from `homography`.

    Returns:
        3x3.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import shear
        >>> matrix = shear.homography(np.float32([0.5, -0.5]))
        >>> print(np.asarray(matrix @ shear.inverse(matrix)).round(3) + 0)
        [[1. 0. 0.]
         [0. 1. 0.]
         [0. 0. 1.]]
    """
    a, b, c = matrix
    return jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], axis=1)


def in_pixels(matrix: Array, output: tuple[int, int], image: tuple[int, int]) -> Array:
    """Converts a homography of coordinates to one of pixels, for `ops.warping.warp`.

    Args:
        matrix: 3x3, from output to input coordinates.
        output: (H', W').
        image: (H, W).

    Returns:
        3x3, from output pixels to input pixels.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import shear
        >>> shear.in_pixels(np.eye(3, dtype=np.float32), (2, 2), (4, 4)).tolist()
        [[2.0, 0.0, 0.5], [0.0, 2.0, 0.5], [0.0, 0.0, 1.0]]
    """
    (height, width), (h, w) = output, image
    to_unit = compose(translation(-1, -1), linear_map(2 / width, 0, 0, 2 / height))
    from_unit = compose(translation(-0.5, -0.5), linear_map(w / 2, 0, 0, h / 2))
    return compose(from_unit, translation(1, 1), matrix, to_unit, translation(0.5, 0.5))


def inside(matrix: Array, output: tuple[int, int], *, size: Sequence[Array] | None = None) -> Array:
    """Returns which pixels of the output lie inside the borders of the input.

    Args:
        matrix: 3x3, from output to input coordinates.
        output: (H', W').
        size: (h, w) of the output, possibly traced, if it lies in the upper left of a canvas of
            (H', W'). Default: (H', W').

    Returns:
        (H', W') booleans.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import shear
        >>> shrink = np.diag(np.float32([1, 1, 0.5]))  # the input is half as large as the output
        >>> jax.jit(shear.inside, static_argnums=1)(shrink, (1, 4)).tolist()
        [[False, True, True, False]]
    """
    y, x = (
        (jnp.arange(n) + 0.5) * 2 / m - 1 for n, m in zip(output, output if size is None else size)
    )
    y, x = jnp.broadcast_to(y[:, None], output), jnp.broadcast_to(x, output)
    u, v, depth = (m[0] * x + m[1] * y + m[2] for m in matrix)
    return (jnp.abs(u) <= depth * (1 + 1e-6)) & (jnp.abs(v) <= depth * (1 + 1e-6))
