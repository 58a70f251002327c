"""The layers of two mixtures with known weights, and the order and means of the layers of a sum."""

import jax.numpy as jnp

from deepinternal.types import Array


def solve(
    first: Array,
    second: Array,
    alphas: Array,
    *,
    near: tuple[Array, Array] | None = None,
    trust: float = 0.0,
) -> tuple[Array, Array]:
    """Solves two mixtures for their layers by least squares.

    Args:
        first: (H, W, C), `a_1 * y1 + (1 - a_1) * y2`.
        second: (H, W, C), `a_2 * y1 + (1 - a_2) * y2`.
        alphas: (2,), a_1 and a_2, which must differ unless `trust` is positive.
        near: Two layers (H, W, C) near which the solution lies; None: zeros.
        trust: Weight of the squared distance to `near`, relative to the mixtures' squared errors.

    Returns:
        y1, y2, not clipped.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import mixtures
        >>> first, second = np.full((1, 1, 1), 0.75), np.full((1, 1, 1), 0.25)
        >>> y1, y2 = mixtures.solve(first, second, np.array([1.0, 0.0]))
        >>> y1.tolist(), y2.tolist()
        ([[[0.75]]], [[[0.25]]])
    """
    a, b = alphas, 1 - alphas
    near = near or (jnp.zeros_like(first),) * 2
    right1 = a[0] * first + a[1] * second + trust * near[0]
    right2 = b[0] * first + b[1] * second + trust * near[1]
    p, q, r = jnp.sum(a * a) + trust, jnp.sum(a * b), jnp.sum(b * b) + trust
    determinant = p * r - q * q
    return (r * right1 - q * right2) / determinant, (p * right2 - q * right1) / determinant


def balanced(first: Array, second: Array, image: Array) -> tuple[Array, Array]:
    """Chooses the order and the means of two layers, which their sum does not determine.

    The first layer is the one with more contrast. The difference between the image and the sum of the
    layers is divided equally between them. The means are those for which the first layer differs least
    from the image: in each channel, the darkest hundredth of the second layer becomes black.

    Args:
        first: (H, W, C).
        second: (H, W, C).
        image: (H, W, C) in [0, 1], about the sum of the layers up to a constant.

    Returns:
        Two layers (H, W, C) between 0 and the image, which add up to it.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import mixtures
        >>> image = np.float32([[[0.0], [0.5], [1.0]]])
        >>> first, second = jax.jit(mixtures.balanced)(0.5 * image, 0.25 * image, image)
        >>> bool(np.allclose(first + second, image))
        True
    """
    contrasts = [jnp.mean(jnp.var(x, axis=(0, 1))) for x in (first, second)]
    swap = contrasts[1] > contrasts[0]
    first, second = jnp.where(swap, second, first), jnp.where(swap, first, second)
    second = (image - first + second) / 2
    second = jnp.clip(second - jnp.percentile(second, 1.0, axis=(0, 1)), 0, image)
    return image - second, second
