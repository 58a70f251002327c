"""The exclusion loss: two layers of an image should have no edges in the same places."""

import jax.numpy as jnp

from deepinternal.types import Array

_GUARD = 1e-12  # added under the fourth root, whose slope at 0 is infinite


def exclusion(first: Array, second: Array, *, levels: int = 3) -> Array:
    """Mean agreement of the gradients of two layers, at several scales.

    Forward differences g are squashed to 2 * sigmoid(g) - 1; for each pair of channels the squared
    product of those of both layers is averaged over the image, and its fourth root taken; then the mean
    over pairs, over both directions, and over `levels` levels of 2x2 average pooling.

    Args:
        first: (..., H, W, C).
        second: (..., H, W, D).
        levels: of the pyramid; those under 2 pixels are left out.

    Returns:
        A scalar in [0, 1); of layers without common edges 0.001 rather than 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from deepinternal.losses.exclusion import exclusion
        >>> step = jnp.zeros((8, 8, 1)).at[:, 4:].set(1.0)  # edges across, and none down
        >>> bool(exclusion(step, step.swapaxes(0, 1)) < exclusion(step, step))
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
    mean = jnp.einsum("...hwc,...hwd->...cd", a, b) / (a.shape[-3] * a.shape[-2])
    return jnp.mean((mean + _GUARD) ** 0.25)


def _pooled(x: Array) -> Array:
    """Means of 2x2 pixels; an odd last row or column is left out."""
    h, w = (n // 2 * 2 for n in x.shape[-3:-1])
    corners = [x[..., i:h:2, j:w:2, :] for i in (0, 1) for j in (0, 1)]
    return sum(corners) / 4
