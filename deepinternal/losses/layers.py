"""The exclusion loss, which penalises edges that two layers of an image have in common."""

import jax.numpy as jnp

from deepinternal.types import Array

_GUARD = 1e-12  # added before the fourth root, whose slope at 0 is infinite


def exclusion(first: Array, second: Array, *, levels: int = 3) -> Array:
    """Returns the mean agreement of the gradients of two layers at several scales.

    Forward differences g are mapped to 2 * sigmoid(g) - 1. For each pair of channels, one from each
    layer, the squared product of the mapped differences is averaged over the image, and the fourth root
    is taken. The loss is the mean over the pairs, both directions, and `levels` levels of 2x2 average
    pooling.

    Args:
        first: (..., H, W, C).
        second: (..., H, W, D).
        levels: Number of levels; levels with a side of less than 2 pixels are omitted.

    Returns:
        A scalar in [0, 1). For layers without common edges it is 0.001 instead of 0.

    Example:
        >>> import jax, numpy as np, deepinternal as di
        >>> edge = np.tile(np.repeat([[0.0], [1.0]], 4, axis=0), (8, 1, 1))  # vertical
        >>> exclusion = jax.jit(di.losses.exclusion)
        >>> bool(exclusion(edge, edge.swapaxes(0, 1)) < exclusion(edge, edge))
        True

    References:
        Zhang, Ng, Chen: Single Image Reflection Separation with Perceptual Losses. CVPR 2018, section
        3.3. Gandelsman, Shocher, Irani: "Double-DIP", CVPR 2019, public code.
    """
    found = []
    for _ in range(levels):
        if min(first.shape[-3:-1]) < 2:
            break
        found += [_agreement(first, second, axis) for axis in (-3, -2)]
        first, second = _pooled(first), _pooled(second)
    return sum(found) / max(len(found), 1)


def _agreement(first: Array, second: Array, axis: int) -> Array:
    a, b = (jnp.square(jnp.tanh(jnp.diff(x, axis=axis) / 2)) for x in (first, second))
    products = jnp.einsum("...hwc,...hwd->...cd", a, b, precision="highest")
    mean = products / (a.shape[-3] * a.shape[-2])
    return jnp.mean((mean + _GUARD) ** 0.25)


def _pooled(x: Array) -> Array:
    """Returns the means of 2x2 pixels; an odd last row or column is dropped."""
    h, w = (n // 2 * 2 for n in x.shape[-3:-1])
    corners = [x[..., i:h:2, j:w:2, :] for i in (0, 1) for j in (0, 1)]
    return sum(corners) / 4
