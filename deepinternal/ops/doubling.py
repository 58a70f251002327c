"""Doubling of height and width, together with the mirrored borders for the following convolution.

Rows of the result are computed in pairs, each from two or three neighbouring rows of the input
(mirrored beyond its borders). Thus the forward and the backward pass are sums of shifted copies times
constants, with one loop over the pixels for each axis.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.ops.layers import reflect
from deepinternal.ops.precision import widened
from deepinternal.types import Array

UPSAMPLING = ("bilinear", "nearest", "corners")


def double(x: Array, how: str, *, size: tuple[int, int] | None = None, frame: int = 0) -> Array:
    """Doubles height and width; bfloat16 arrays are interpolated in float32.

    Args:
        x: (N, H, W, C).
        how: 'bilinear' (pixels are areas), 'corners' (bilinear, corner pixels stay corner pixels) or
            'nearest'.
        size: (H', W') of the result that is kept, from the upper left, 2 H or 2 H - 1 along each axis;
            None: all.
        frame: Number of pixels that are mirrored at all its borders, without repeating the border.

    Returns:
        (N, H' + 2 frame, W' + 2 frame, C), of the dtype of `x`.

    References:
        'bilinear' and 'corners' are PyTorch's bilinear interpolation without and with `align_corners`.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import doubling
        >>> x = np.float32([0, 1]).reshape(1, 1, 2, 1)
        >>> doubling.double(x, "nearest")[0, :, :, 0].tolist()
        [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]
    """
    size = size or (2 * x.shape[1], 2 * x.shape[2])
    if frame % 2 and frame > 1:
        # Beyond the border even rows are interpolated with the other neighbour, which pairs lack.
        return double(x, how, size=size, frame=frame + 1)[:, 1:-1, 1:-1]
    # Mirrored rows of both borders may meet.
    doubled = _small if min(x.shape[1:3]) < 2 * _reach(frame) + 2 else _double
    return doubled(widened(x), how, size, frame).astype(x.dtype)


def _reach(frame: int) -> int:
    """The number of rows of the mirrored input that lie beyond its border."""
    return 1 if frame == 1 else frame // 2 + 1


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _double(x: Array, how: str, size: tuple[int, int], frame: int) -> Array:
    n = x.shape[1:3]
    x = reflect(x, _reach(frame))
    for axis in (1, 2):
        x = _along(x, axis, _taps(n[axis - 1], how, size[axis - 1], frame))
        x = lax.slice_in_dim(x, 0, size[axis - 1] + 2 * frame, axis=axis)
    return x


def _double_bwd(how, size, frame, _, g):
    for axis in (2, 1):
        n = (size[axis - 1] + 1) // 2
        g = _back_along(g, axis, _taps(n, how, size[axis - 1], frame), n, _reach(frame))
    return (g,)


_double.defvjp(lambda x, *how: (_double(x, *how), None), _double_bwd)


def _small(x: Array, how: str, size: tuple[int, int], frame: int) -> Array:
    """Doubles small arrays with matrices."""
    rows, columns = (
        jnp.asarray(_matrix(n, how, s, frame), x.dtype)
        for n, s in zip(x.shape[1:3], size, strict=True)
    )
    exact = lax.Precision.HIGHEST
    return jnp.einsum("yh,xw,nhwc->nyxc", rows, columns, x, precision=exact)


def _matrix(n: int, how: str, size: int, frame: int) -> np.ndarray:
    """The weights (size + 2 frame, n) of the input's rows in each row of the result."""
    i = np.arange(n)
    to_last, to_next = np.full(n, 0.25), np.full(n, 0.25)
    if how == "nearest":
        to_last, to_next = np.zeros((2, n))
    elif how == "corners":
        to_last, to_next = i / (2 * n - 1), (n - 1 - i) / (2 * n - 1)
    doubled = np.zeros((2 * n, n))
    # Pixel i becomes 2i, interpolated with i - 1, and 2i + 1, interpolated with i + 1.
    for offset, weight, towards in ((0, to_last, i - 1), (1, to_next, i + 1)):
        np.add.at(doubled, (2 * i + offset, i), 1 - weight)
        np.add.at(doubled, (2 * i + offset, np.clip(towards, 0, n - 1)), weight)
    return np.pad(doubled[:size], ((frame, frame), (0, 0)), "reflect")


@functools.lru_cache(maxsize=256)
def _taps(n: int, how: str, size: int, frame: int) -> np.ndarray:
    """The weights (taps, pairs, 2) of the input's rows in the two rows of each pair.

    Pair k uses rows k, k + 1, ... of the input that is mirrored by `_reach(frame)`.
    """
    matrix, reach = _matrix(n, how, size, frame), _reach(frame)
    taps = 2 if frame == 1 else 3
    pairs = n + 2 * reach - taps + 1
    mirrored = np.pad(np.arange(n), reach, "reflect")
    weights = np.zeros((taps, pairs, 2))
    for row, (values, pair) in enumerate(zip(matrix, np.repeat(np.arange(pairs), 2), strict=False)):
        seen = list(mirrored[pair : pair + taps])
        for source in np.flatnonzero(values):
            weights[seen.index(source), pair, row % 2] = values[source]
    return weights


def _along(x: Array, axis: int, taps: np.ndarray) -> Array:
    """Computes the pairs of rows from the mirrored input, one pair after the other."""
    pairs = taps.shape[1]
    shape = [1] * (x.ndim + 1)
    shape[axis : axis + 2] = pairs, 2
    y = sum(
        jnp.asarray(weights.reshape(shape), x.dtype)
        * jnp.expand_dims(lax.slice_in_dim(x, k, k + pairs, axis=axis), axis + 1)
        for k, weights in enumerate(taps)
    )
    return y.reshape(*x.shape[:axis], 2 * pairs, *x.shape[axis + 1 :])


def _back_along(g: Array, axis: int, taps: np.ndarray, n: int, reach: int) -> Array:
    """The transpose of mirroring and `_along`, with n rows."""
    count, pairs, _ = taps.shape
    none = [(0, 0)] * g.ndim
    none[axis] = (0, 2 * pairs - g.shape[axis])  # rows that were not kept
    g = jnp.pad(g, none)
    short = max(0, count - 1 - reach)  # pairs that the outermost taps miss
    if short:
        none[axis] = (2 * short, 2 * short)
        g, taps = jnp.pad(g, none), np.pad(taps, ((0, 0), (short, short), (0, 0)))
    halves = g.reshape(*g.shape[:axis], -1, 2, *g.shape[axis + 1 :])
    halves = [lax.index_in_dim(halves, p, axis + 1, keepdims=False) for p in (0, 1)]
    last = taps.shape[1]

    def rows(begin: int, end: int) -> Array:
        """The gradient of rows `begin` to `end` of the mirrored input."""
        terms = []
        for k, p in itertools.product(range(count), (0, 1)):
            low, high = begin + short - k, end + short - k
            if low < 0 or high > last:
                continue  # a single row that this tap does not see
            shape = [1] * g.ndim
            shape[axis] = high - low
            weights = jnp.asarray(taps[k, low:high, p].reshape(shape), g.dtype)
            terms.append(weights * lax.slice_in_dim(halves[p], low, high, axis=axis))
        return sum(terms)

    middle = rows(reach, reach + n)
    cut = functools.partial(lax.slice_in_dim, middle, axis=axis)
    low = [cut(i, i + 1) + rows(reach - i, reach - i + 1) for i in range(1, reach + 1)]
    far = n - 1
    high = [
        cut(far - i, far - i + 1) + rows(reach + far + i, reach + far + i + 1)
        for i in range(reach, 0, -1)
    ]
    parts = [cut(0, 1), *low, cut(reach + 1, far - reach), *high, cut(far, n)]
    return jnp.concatenate(parts, axis)
