"""The rows and columns of an image that a downscaling by any factor keeps."""

from fractions import Fraction

import numpy as np

from deepinternal.types import Array


def sample_positions(length: int, scale: float, n: int) -> np.ndarray:
    """Returns the rows (columns) that a downscaling keeps: round(linspace(0, length - scale, n)).

    Args:
        length: Number of samples of the input axis.
        scale: Factor >= 1.
        n: Number of samples of the output axis.

    Returns:
        int64 (n,).

    Example:
        >>> from deepinternal.ops import sampling
        >>> sampling.sample_positions(7, 2, 4).tolist()
        [0, 2, 3, 5]
    """
    return np.round(np.linspace(0, max(length - scale, 0), n)).astype(np.int64)


def whole_positions(
    length: int | Array, scale: float, n: int | Array, out_length: int
) -> np.ndarray | Array:
    """Returns the positions of `sample_positions(length, scale, n)` in int32, also for traced lengths.

    They are exact, with halves rounded to even, if `scale` is a fraction of small numbers. The floats
    of `sample_positions` may round a half the other way.

    Args:
        length: Number of samples of the input axis.
        scale: A fraction with a denominator of at most 64.
        n: Number of samples of the output axis.
        out_length: Number of positions to return; those from `n` on have no meaning.

    Returns:
        int32 (out_length,).

    Example:
        >>> from deepinternal.ops import sampling
        >>> sampling.whole_positions(7, 2, 4, 4).tolist()
        [0, 2, 3, 5]
    """
    ratio = Fraction(scale).limit_denominator(64)
    step = length * ratio.denominator - ratio.numerator
    among = (n - 1) * ratio.denominator
    among = among + (among == 0)
    products = np.arange(out_length, dtype=np.int32) * step
    whole, rest = products // among, products % among
    up = (2 * rest > among) | ((2 * rest == among) & (whole % 2 == 1))
    return whole + up
