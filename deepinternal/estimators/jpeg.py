"""Traces of JPEG compression in the pixels of an image: grid, quality and error."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.ops.color import rgb_to_y
from deepinternal.ops.dct import dct_matrix, dct_orders, dct_windows
from deepinternal.types import Array

THRESHOLD = 7.0  # score above which an image counts as a JPEG, see `jpeg_blocking`

_BLOCK = 8
_SIDE = 512  # side in pixels of the middle of larger images that is used
_BLOCKS = 32  # number of blocks along each side from which the quality is estimated
_ROUNDING = 0.35  # standard deviation of coefficients after rounding to 8-bit RGB, in levels
_STRAY = 0.1  # fraction of the coefficients that no table explains
# ITU-T T.81, Table K.1: quantisation steps of the luminance coefficients, in levels.
_STEPS = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


class Blocking(NamedTuple):
    """The grid of JPEG blocks in an image.

    Attributes:
        score: A scalar that measures how distinct the grid is, see `jpeg_blocking`.
        phase: int32 (2,) from 0 to 7, the row and the column of the first whole block in the image; (0,
            0) if the image was not cropped. It has no meaning if the score is low.
    """

    score: Array
    phase: Array


def jpeg_blocking(image: Array) -> Blocking:
    """Detects the 8x8 grid of JPEG compression in an image.

    In windows that coincide with the blocks of a JPEG, many coefficients were quantised to zero, and
    are zero except for the rounding of the pixels. In other windows they are not. The fraction of
    zeros in a window (luma coefficients below one 8-bit level) is compared with the mean fraction of
    the 64 windows that begin in the same 8x8 cell. For each of the 64 phases, these differences are
    averaged over the image. The average divided by the standard error that it would have if all
    phases were alike is a z-score, and the score is the greatest of them.

    With `THRESHOLD`, JPEGs of qualities 10 to 90 are detected from 48x48 pixels on; some smaller ones
    are missed. Uncompressed photographs score 2 to 6 at any size. Scaling, blurring or noise after the
    compression hides the grid. An image that was compressed twice shows the later grid.

    Args:
        image: (H, W, C) in [0, 1], C = 1 or 3, as decoded, with sides of at least 24 pixels. Of sides
            over 512 pixels, the middle is used.

    Returns:
        The score and the phase; for a flat image the score is 0 up to rounding.

    Raises:
        ValueError: A side is shorter than 24 pixels.

    Example:
        >>> import imageio.v3 as iio, jax, numpy as np, deepinternal as di
        >>> pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3)).astype(np.uint8)
        >>> image = iio.imread(iio.imwrite("<bytes>", pixels, extension=".jpg", quality=50)) / 255
        >>> found = jax.jit(di.estimators.jpeg_blocking)(image[3:, 5:])
        >>> bool(found.score > di.estimators.jpeg.THRESHOLD), found.phase.tolist()
        (True, [5, 3])

    References:
        Fan, de Queiroz: Identification of Bitmap Compression History: JPEG Detection and Quantizer
        Estimation. TIP 2003, section II (what a grid does to its pixels; other statistics).
    """
    luma, start = _luma(image)
    found = jnp.abs(dct_windows(luma[None], _BLOCK)[0]) < 1
    zeros = jnp.mean(found[dct_orders(_BLOCK) > 0], axis=0)
    rows, columns = (n // _BLOCK for n in zeros.shape)
    zeros = zeros[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    more = zeros - jnp.mean(zeros, axis=(1, 3), keepdims=True)
    scores = jnp.mean(more, axis=(0, 2)) * math.sqrt(rows * columns) / (jnp.std(more) + 1e-3)
    best = jnp.stack(jnp.divmod(jnp.argmax(scores), _BLOCK))
    return Blocking(jnp.max(scores), ((best + start) % _BLOCK).astype(jnp.int32))


def jpeg_quality(image: Array, phase: Array) -> Array:
    """Estimates the quality with which a JPEG was saved from its pixels.

    Of the 100 scaled standard tables, the most likely one is chosen: coefficients are multiples of the
    table's steps plus a rounding error, and the probability of each multiple is proportional to its
    step. Blocks with clipped pixels and coefficients that may be zeros are ignored.

    Args:
        image: As for `jpeg_blocking`.
        phase: As returned by `jpeg_blocking`.

    Returns:
        An int32 scalar from 1 to 100 on the IJG library's scale; 100 if no table explains the image.

    Raises:
        ValueError: A side is shorter than 24 pixels.

    Example:
        >>> import imageio.v3 as iio, jax, numpy as np, deepinternal as di
        >>> pixels = np.random.default_rng(0).integers(96, 160, (64, 64, 3)).astype(np.uint8)
        >>> image = iio.imread(iio.imwrite("<bytes>", pixels, extension=".jpg", quality=80)) / 255
        >>> print(jax.jit(di.estimators.jpeg_quality)(image, np.array([0, 0])))
        80

    References:
        Fan, de Queiroz 2003, section III (likelihood of a step; here of a whole table).
    """
    return _quality(*_blocks(image, phase))


def jpeg_noise_std(image: Array, *, threshold: float = THRESHOLD) -> Array:
    """Estimates the root mean square error of JPEG compression in the luma of an image.

    The quality determines the quantisation steps. A coefficient that is not zero has the error of its
    step. The coefficients that became zero are assumed to have followed a Laplacian distribution,
    whose tail beyond half a step is the fraction of coefficients that are not zero, over all
    frequencies of one order. On photographs the estimate is within a factor of two of the true error:
    somewhat too large on clean ones and slightly too small on noisy ones. It excludes the chroma:
    over R, G and B the error is 1.3 to 1.6 times as large at middle qualities.

    Args:
        image: As for `jpeg_blocking`.
        threshold: Score below which an image counts as not compressed.

    Returns:
        A scalar, for images in [0, 1]; 0 if the image is not compressed.

    Raises:
        ValueError: A side is shorter than 24 pixels.

    Example:
        >>> import imageio.v3 as iio, jax, numpy as np, deepinternal as di
        >>> pixels = np.random.default_rng(0).integers(96, 160, (64, 64)).astype(np.uint8)
        >>> image = iio.imread(iio.imwrite("<bytes>", pixels, extension=".jpg", quality=50)) / 255
        >>> error = np.sqrt(np.mean((image - pixels / 255) ** 2))
        >>> estimate = jax.jit(di.estimators.jpeg_noise_std)(image[..., None])
        >>> round(float(estimate), 2), round(float(error), 2)
        (0.05, 0.06)
    """
    blocking = jpeg_blocking(image)
    coefficients, usable = _blocks(image, blocking.phase)
    steps = _tables()[_quality(coefficients, usable) - 1]
    orders = dct_orders(_BLOCK)
    alike = np.equal.outer(orders.ravel(), orders.ravel()).astype(np.float32)
    kept = jnp.mean(jnp.abs(coefficients) > steps / 2, axis=0).ravel()
    kept = jnp.dot(alike / alike.sum(1), kept, precision=lax.Precision.HIGHEST)
    # These limits keep the logarithm and the quotient finite without an effect on the error.
    kept = jnp.clip(kept, 1e-6, 0.99).reshape(orders.shape)
    half = steps / 2
    width = -half / jnp.log(kept)
    beyond = kept * (half**2 + 2 * half * width + 2 * width**2)
    squared = kept * steps**2 / 12 + 2 * width**2 - beyond
    squared = jnp.where(orders == 0, steps**2 / 12, squared)
    return jnp.where(blocking.score > threshold, jnp.sqrt(jnp.mean(squared)) / 255, 0.0)


def _tables() -> Array:
    """Quantisation steps of qualities 1 to 100 as scaled by the IJG library, (100, 8, 8)."""
    quality = np.arange(1, 101)
    percent = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    tables = (_STEPS * percent[:, None, None] + 50) // 100
    return jnp.asarray(np.clip(tables, 1, 255), jnp.float32)


def _luma(image: Array) -> tuple[Array, np.ndarray]:
    """Returns the luma of the middle of an image in levels from -128 to 127, and where that begins."""
    size = np.array(image.shape[:2])
    if size.min() < 3 * _BLOCK:
        raise ValueError(
            f"JPEG traces need sides of at least 24 pixels, not {tuple(size.tolist())}"
        )
    start = np.maximum(size - _SIDE, 0) // 2
    y, x = start
    image = image[y : y + _SIDE, x : x + _SIDE]
    # JPEG's luma has the full range of 8 bits, not the studio range.
    return (rgb_to_y(image) - 16) * (255 / 219) - 128, start


def _blocks(image: Array, phase: Array) -> tuple[Array, Array]:
    """Returns the coefficients (N, 8, 8) of blocks all over the image, and which are not clipped."""
    luma, start = _luma(image)
    h, w = luma.shape
    image = image[start[0] : start[0] + h, start[1] : start[1] + w]
    clipped = jnp.any((image <= 0) | (image >= 1), axis=-1)
    counts = [(n - _BLOCK + 1) // _BLOCK for n in (h, w)]
    pitch = [-(-n // _BLOCKS) for n in counts]

    def cut(x: Array) -> Array:
        x = lax.dynamic_slice(x, (phase - start) % _BLOCK, [n * _BLOCK for n in counts])
        x = x.reshape(counts[0], _BLOCK, counts[1], _BLOCK)[:: pitch[0], :, :: pitch[1]]
        return x.swapaxes(1, 2).reshape(-1, _BLOCK, _BLOCK)

    dct = dct_matrix(_BLOCK)
    precision = lax.Precision.HIGHEST
    found = jnp.einsum("iy,nyx,jx->nij", dct, cut(luma), dct, precision=precision)
    return found, ~jnp.any(cut(clipped), axis=(1, 2))


def _quality(coefficients: Array, usable: Array) -> Array:
    """Computes `jpeg_quality` from the blocks of `_blocks`."""
    sure = usable[:, None, None] & (jnp.abs(coefficients) > 1) & (dct_orders(_BLOCK) > 0)

    def likelihood(steps: Array) -> Array:
        multiple = jnp.round(coefficients / steps)
        z = (coefficients - multiple * steps) / _ROUNDING
        peak = steps * jnp.exp(-0.5 * z**2) / (_ROUNDING * math.sqrt(2 * math.pi))
        density = jnp.where(multiple == 0, 0, (1 - _STRAY) * peak) + _STRAY
        return jnp.sum(jnp.where(sure, jnp.log(density), 0))

    return 1 + jnp.argmax(lax.map(likelihood, _tables())).astype(jnp.int32)
