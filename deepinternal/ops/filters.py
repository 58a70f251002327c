"""Box, minimum and guided filters of images."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.types import Array

# Side in pixels up to which means are products with a band matrix. They compile in a fifth of the
# time of differences of running sums, and take as long at 481 pixels and 1.4 times as long at 1024 (on
# a CPU).
_SHORT = 1024


def box(image: Array, radius: int) -> Array:
    """Returns the mean over the part of a square window that lies inside the image.

    The time hardly depends on the radius.

    Args:
        image: (H, W) or (H, W, C).
        radius: In pixels; the window has sides of 2 * radius + 1.

    Returns:
        An array of the shape of `image`.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import filters
        >>> filters.box(np.float32([[0, 3, 6]]), 1).tolist()
        [[1.5, 3.0, 4.5]]
    """
    # The mean is subtracted first, because sums of small values lose fewer of float32's digits.
    mean = jnp.mean(image, axis=(0, 1))
    return mean + _box_axis(_box_axis(image - mean, radius, 0), radius, 1)


def _box_axis(x: Array, radius: int, axis: int) -> Array:
    size = x.shape[axis]
    radius = min(radius, size - 1)
    places = np.arange(size)
    end, start = np.minimum(places + radius + 1, size), np.maximum(places - radius, 0)
    if size <= _SHORT:
        band = (places >= start[:, None]) & (places < end[:, None])
        means = np.float32(band / (end - start)[:, None])
        made = jnp.tensordot(means, x, (1, axis), precision="highest")
        return jnp.moveaxis(made, 0, axis)
    sums = jnp.cumsum(x, axis)
    first = jnp.zeros_like(lax.slice_in_dim(sums, 0, 1, axis=axis))
    sums = jnp.concatenate([first, sums], axis)
    count = (end - start).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return (jnp.take(sums, end, axis) - jnp.take(sums, start, axis)) / count


def minimum(image: Array, size: int) -> Array:
    """Returns the least value in the part of a square window that lies inside the image.

    Args:
        image: (H, W).
        size: Side of the window in pixels, odd.

    Returns:
        (H, W).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import filters
        >>> filters.minimum(np.float32([[3, 1, 2, 4]]), 3).tolist()
        [[1.0, 1.0, 1.0, 2.0]]
    """
    for window in ((size, 1), (1, size)):
        image = lax.reduce_window(image, jnp.inf, lax.min, window, (1, 1), "SAME")
    return image


def guided_filter(guide: Array, target: Array, *, radius: int = 50, epsilon: float = 1e-4) -> Array:
    """Smooths an image except for the edges that it shares with a guide.

    In each window, an affine function of the guide's colours is fitted to the target. A pixel is the
    mean of the functions of all windows that contain it.

    Args:
        guide: (H, W), (H, W, 1) or (H, W, 3) in [0, 1].
        target: (H, W).
        radius: Radius of the windows in pixels.
        epsilon: Penalty on the function's slope, in squared units of the guide.

    Returns:
        (H, W).

    References:
        He, Sun, Tang: Guided Image Filtering. TPAMI 2013, equations 5-8 and 14-16.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import filters
        >>> guide, target = np.ones((3, 3, 1), np.float32), np.ones((3, 3), np.float32)
        >>> smooth = lambda guide, target: filters.guided_filter(guide, target, radius=1)
        >>> jax.jit(smooth)(guide, target).shape
        (3, 3)
    """
    guide = guide[..., None] if guide.ndim == 2 else guide
    slope, offset = guided_functions(guide, target, radius=radius, epsilon=epsilon)
    return jnp.sum(slope * guide, axis=-1) + offset


def guided_functions(
    guide: Array, target: Array, *, radius: int, epsilon: float
) -> tuple[Array, Array]:
    """Returns the affine functions of a guide's colours that `guided_filter` applies to it.

    The functions vary slowly, so that those of a reduced image can be enlarged and applied to the full
    image.

    Args:
        guide: (H, W, C), C = 1 or 3.
        target: (H, W).
        radius: See `guided_filter`.
        epsilon: See `guided_filter`.

    Returns:
        The slope (H, W, C) and the offset (H, W): a pixel is `sum(slope * guide) + offset`.

    References:
        He, Sun: Fast Guided Filter. arXiv 1505.00996, 2015.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import filters
        >>> guide, target = np.ones((3, 3, 1), np.float32), np.ones((3, 3), np.float32)
        >>> fit = lambda guide, target: filters.guided_functions(guide, target, radius=1, epsilon=1e-4)
        >>> [x.shape for x in jax.eval_shape(fit, guide, target)]
        [(3, 3, 1), (3, 3)]
    """
    channels = guide.shape[-1]
    pairs = [(i, j) for i in range(channels) for j in range(i, channels)]
    products = [guide[..., i] * guide[..., j] for i, j in pairs]
    joined = [guide, target[..., None], guide * target[..., None], jnp.stack(products, axis=-1)]
    sizes = (channels, channels + 1, 2 * channels + 1)
    means = box(jnp.concatenate(joined, axis=-1), radius)  # one call, since boxes compile slowly
    mean, level, covariance, products = jnp.split(means, sizes, axis=-1)
    covariance = covariance - mean * level
    which = np.zeros((channels, channels), int)
    for number, (i, j) in enumerate(pairs):
        which[i, j] = which[j, i] = number
    ridge = epsilon * jnp.eye(channels, dtype=products.dtype)
    spread = products[..., which] - mean[..., :, None] * mean[..., None, :] + ridge
    slope = _solve(spread, covariance)
    offset = level - jnp.sum(slope * mean, axis=-1, keepdims=True)
    made = box(jnp.concatenate([slope, offset], axis=-1), radius)
    return made[..., :-1], made[..., -1]


def _solve(matrices: Array, right: Array) -> Array:
    """Solves (..., n, n) x = (..., n), n = 1 or 3, by cofactors, since calls of LAPACK are slow."""
    if right.shape[-1] == 1:
        return right / matrices[..., 0]
    a, b, c = (matrices[..., i] for i in range(3))  # columns
    ab, bc, ca = jnp.cross(a, b), jnp.cross(b, c), jnp.cross(c, a)
    dots = [jnp.sum(right * x, axis=-1) for x in (bc, ca, ab)]
    return jnp.stack(dots, axis=-1) / jnp.sum(a * bc, axis=-1, keepdims=True)
