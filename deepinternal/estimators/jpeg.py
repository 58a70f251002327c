"""Traces of JPEG compression in the pixels of an image: its grid, its quality, its error."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.ops.color import rgb_to_y
from deepinternal.ops.dct import dct_matrix, dct_orders, dct_windows
from deepinternal.types import Array

THRESHOLD = 7.0  # of the score, above which an image was a JPEG: see `jpeg_blocking`

_BLOCK = 8
_SIDE = 512  # pixels, of the middle of larger images, that are looked at
_BLOCKS = 32  # a side, that the quality is told from
_ROUNDING = 0.35  # standard deviation of coefficients that were rounded as 8-bit RGB, in levels
_STRAY = 0.1  # share of the coefficients that no table explains
# ITU-T T.81, Table K.1: steps of the luminance coefficients, in levels.
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
    """The grid of blocks that an image shows.

    Attributes:
        score: scalar, how distinct it is, see `jpeg_blocking`.
        phase: (2,) int32 from 0 to 7, row and column of the first block that lies in the image;
            (0, 0) if it was not cropped. Means nothing where the score is low.
    """

    score: Array
    phase: Array


def jpeg_blocking(image: Array) -> Blocking:
    """Whether, and where, an image has the 8x8 grid of JPEG compression.

    A JPEG's blocks, and only windows that lie right on them, have coefficients that are zero but for
    the rounding of the pixels: those quantised to zero. A window's share of zeros (luma coefficients
    under one 8-bit level) is compared with the mean share of the 64 windows that begin in the same
    8x8 cell. For each of the 64 phases these differences are averaged over the image; their mean,
    divided by its standard error if all phases were alike, is a z-score. The score is the largest.

    With `THRESHOLD`, JPEGs of the qualities 10 to 90 are found from 48x48 pixels on; of smaller ones
    some are missed. Uncompressed photographs score 2 to 6, at any size. Scaling, blurring, or noise
    after the compression hide the grid. An image that was compressed twice shows the later grid.

    Args:
        image: (H, W, C) in [0, 1], C = 1 or 3, as it was decoded; both sides at least 24. Of sides
            over 512 the middle is looked at.

    Returns:
        Score and phase; score 0, but for rounding, for a flat image.

    Raises:
        ValueError: a side under 24 pixels.

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
    scores = jnp.mean(more, axis=(0, 2)) * np.sqrt(rows * columns) / (jnp.std(more) + 1e-3)
    best = jnp.stack(jnp.divmod(jnp.argmax(scores), _BLOCK))
    return Blocking(jnp.max(scores), ((best + start) % _BLOCK).astype(jnp.int32))


def jpeg_quality(image: Array, phase: Array) -> Array:
    """The quality a JPEG was saved with, told from its pixels.

    Of the 100 scaled standard tables, the one that makes the coefficients most likely: at multiples
    of the steps with a rounding error, each multiple as probable as its step is wide. Blocks with
    clipped pixels and coefficients that may be zeros are left out.

    Args:
        image: as for `jpeg_blocking`.
        phase: as found by `jpeg_blocking`.

    Returns:
        int32 scalar from 1 to 100, the IJG library's scale; 100 if no table explains the image.

    Raises:
        ValueError: a side under 24 pixels.

    References:
        Fan, de Queiroz 2003, section III (likelihood of a step; here of a whole table).
    """
    return _quality(*_blocks(image, phase))


def jpeg_noise_std(image: Array, *, threshold: float = THRESHOLD) -> Array:
    """Root mean square error that JPEG compression has made in the luma of an image.

    The quality tells the steps. A coefficient that is not zero has the error of its step; those that
    are zero had the variance of a Laplacian whose tail beyond half a step is the share of the others.
    Shares are those of all frequencies of one order. On photographs it is within a factor of two of
    the true error, rather too much on clean ones and a little less on noisy ones. The error of the
    chroma is not in it: over all of R, G and B it is 1.3 to 1.6 times as large at middle qualities.

    Args:
        image: as for `jpeg_blocking`.
        threshold: of the score; an image under it counts as not compressed.

    Returns:
        Scalar, in units of [0, 1]; 0 if not compressed.

    Raises:
        ValueError: a side under 24 pixels.
    """
    blocking = jpeg_blocking(image)
    coefficients, usable = _blocks(image, blocking.phase)
    steps = _tables()[_quality(coefficients, usable) - 1]
    orders = dct_orders(_BLOCK)
    alike = np.equal.outer(orders.ravel(), orders.ravel()).astype(np.float32)
    kept = jnp.mean(jnp.abs(coefficients) > steps / 2, axis=0).ravel()
    kept = jnp.dot(alike / alike.sum(1), kept, precision=lax.Precision.HIGHEST)
    # Limits that keep the logarithm and the quotient finite; the error does not feel them.
    kept = jnp.clip(kept, 1e-6, 0.99).reshape(orders.shape)
    half = steps / 2
    width = -half / jnp.log(kept)
    beyond = kept * (half**2 + 2 * half * width + 2 * width**2)
    squared = kept * steps**2 / 12 + 2 * width**2 - beyond
    squared = jnp.where(orders == 0, steps**2 / 12, squared)
    return jnp.where(blocking.score > threshold, jnp.sqrt(jnp.mean(squared)) / 255, 0.0)


def _tables() -> Array:
    """Steps of the qualities 1 to 100 as the IJG library scales them, (100, 8, 8)."""
    quality = np.arange(1, 101)
    percent = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    tables = (_STEPS * percent[:, None, None] + 50) // 100
    return jnp.asarray(np.clip(tables, 1, 255), jnp.float32)


def _luma(image: Array) -> tuple[Array, np.ndarray]:
    """Luma in levels from -128 to 127, of the middle of a large image; where that begins."""
    size = np.array(image.shape[:2])
    if size.min() < 3 * _BLOCK:
        raise ValueError(
            f"JPEG traces need sides of at least 24 pixels, not {tuple(size.tolist())}"
        )
    start = np.maximum(size - _SIDE, 0) // 2
    y, x = start
    image = image[y : y + _SIDE, x : x + _SIDE]
    # JPEG's luma has the full range of 8 bits, not the studio's.
    return (rgb_to_y(image) - 16) * (255 / 219) - 128, start


def _blocks(image: Array, phase: Array) -> tuple[Array, Array]:
    """Coefficients (N, 8, 8) of blocks all over the image, and which have no clipped pixel (N,)."""
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
    """As `jpeg_quality`, of blocks as `_blocks` cuts them."""
    sure = usable[:, None, None] & (jnp.abs(coefficients) > 1) & (dct_orders(_BLOCK) > 0)

    def likelihood(steps: Array) -> Array:
        multiple = jnp.round(coefficients / steps)
        z = (coefficients - multiple * steps) / _ROUNDING
        peak = steps * jnp.exp(-0.5 * z**2) / (_ROUNDING * np.sqrt(2 * np.pi))
        density = jnp.where(multiple == 0, 0, (1 - _STRAY) * peak) + _STRAY
        return jnp.sum(jnp.where(sure, jnp.log(density), 0))

    return 1 + jnp.argmax(lax.map(likelihood, _tables())).astype(jnp.int32)
