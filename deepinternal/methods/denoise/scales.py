"""An image beside itself at a half and a quarter of its size, from which low frequencies are taken.

Small patches cannot tell broad spots of noise from the image. At smaller sizes they can, because the
noise is weaker there and the patches cover more. So all sizes are denoised together, as one picture
(a mosaic), and the lowest frequencies of each size replace those of the next larger one.

References:
    Facciolo, Pierazzo, Morel: Conservative scale recomposition for multiscale denoising. SIAM Journal
    on Imaging Sciences 2017.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.ops import filters
from deepinternal.types import Array

LEAST = 48  # least side of an image that is also denoised at smaller sizes, in pixels
_BETWEEN = 8  # rows between the image and its half, in which its last rows are mirrored
_BROAD = 2  # radius of the windows, applied twice, whose means are taken from a smaller size


def mosaic_size(height: int, width: int) -> tuple[int, int]:
    """Returns the size of the mosaic of an image of a size; traced numbers are possible."""
    return height + _BETWEEN + (height + 1) // 2, width


def mosaic(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Puts an image and its halves into one picture, on the host.

    Args:
        image: (H, W, C), of at least `LEAST` pixels a side.

    Returns:
        The mosaic, see `mosaic_size`, with the image above, its half below it and its quarter right of
        the half, zeros elsewhere; and the variance of independent noise there relative to that in the
        image, with one channel.
    """
    height, width, channels = image.shape
    made = np.zeros((*mosaic_size(height, width), channels), np.float32)
    share = np.ones((*made.shape[:2], 1), np.float32)
    made[:height], made[height : height + _BETWEEN] = image, image[: -_BETWEEN - 1 : -1]
    top = height + _BETWEEN
    part, noise, left = image, np.ones((height, width, 1)), 0
    for _ in range(2):
        part, noise = _halved(part), _halved(noise) / (4 * _halved(np.ones_like(noise), filled=0))
        here = np.s_[top : top + part.shape[0], left : left + part.shape[1]]
        made[here], share[here] = part, noise
        left += part.shape[1]
    return made, share


def _halved(image: np.ndarray, filled: float | None = None) -> np.ndarray:
    """Means of 2x2 pixels; what an odd side lacks is repeated, or `filled`."""
    odd = [(0, n % 2) for n in image.shape[:2]] + [(0, 0)]
    if filled is None:
        image = np.pad(image, odd, mode="edge")
    else:
        image = np.pad(image, odd, constant_values=filled)
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4


def fused(made: Array, size: tuple[Array | int, Array | int], shape: tuple[int, int, int]) -> Array:
    """Returns the image (H, W, C) of a denoised mosaic, with the low frequencies of its halves.

    Args:
        made: The mosaic of an image, which may be the upper left of a larger array.
        size: (h, w) of the image.
        shape: (H, W, C), that of the array for the image.
    """
    half = tuple((n + 1) // 2 for n in shape[:2])
    quarter = tuple((n + 1) // 2 for n in half)
    height, width = size
    part = lambda corner, sides: lax.dynamic_slice(made, (*corner, 0), (*sides, shape[2]))
    top = height + _BETWEEN
    first, second = part((top, 0), half), part((top, (width + 1) // 2), quarter)
    size_half = tuple((n + 1) // 2 for n in size)
    first = _corrected(first, second, size_half)
    return _corrected(made[: shape[0]], first, size)


def _corrected(fine: Array, coarse: Array, size: tuple[Array | int, Array | int]) -> Array:
    """Gives an image (H, W, C), in the upper left of its array, the low frequencies of its half."""
    rows, columns = (jnp.arange(n) < m for n, m in zip(fine.shape[:2], size))
    inside = (rows[:, None] & columns)[..., None].astype(fine.dtype)
    odd = [(0, n % 2) for n in fine.shape[:2]] + [(0, 0)]
    four = lambda x: sum(jnp.pad(x, odd)[i::2, j::2] for i in (0, 1) for j in (0, 1))
    count = four(inside)
    known = (count > 0).astype(fine.dtype)
    change = known * (coarse - four(fine * inside) / jnp.maximum(count, 1))
    for _ in range(2):
        share = filters.box(known, _BROAD)
        change = known * filters.box(change, _BROAD) / jnp.where(share > 1e-4, share, 1)
    enlarged = jnp.repeat(jnp.repeat(change, 2, axis=0), 2, axis=1)
    enlarged = enlarged[: fine.shape[0], : fine.shape[1]] * inside
    share = filters.box(inside, 1)
    return fine + inside * filters.box(enlarged, 1) / jnp.where(share > 1e-4, share, 1)
