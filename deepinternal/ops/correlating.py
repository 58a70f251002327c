"""Correlation with small kernels as matrix products: patches, strides, and composed kernels."""

import jax.numpy as jnp
import numpy as np

from deepinternal.types import Array


def all_patches(x: Array, size: int, *, stride: int = 1) -> tuple[Array, tuple[int, int]]:
    """Cuts all patches out of an image.

    Args:
        x: (H, W, C).
        size: Side K of a patch in pixels.
        stride: Distance in pixels from one patch to the next.

    Returns:
        The N patches (N, K * K, C), row by row, and the numbers (rows, columns) of their grid.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import correlating
        >>> patches, shape = correlating.all_patches(np.zeros((3, 4, 1)), 2)
        >>> patches.shape, shape
        ((6, 4, 1), (2, 3))
    """
    h, w = x.shape[:2]
    starts = [np.arange(0, n - size + 1, stride) for n in (h, w)]
    rows, columns = (s[:, None] + np.arange(size) for s in starts)
    index = rows[:, None, :, None] * w + columns[None, :, None, :]
    index = index.reshape(-1, size * size)
    return x.reshape(h * w, -1)[index], (len(rows), len(columns))


def correlate(x: Array, kernel: Array, stride: int) -> Array:
    """Correlates an image with a kernel, without padding.

    Args:
        x: (H, W, C).
        kernel: (K, K), the same for all channels.
        stride: Distance in pixels from one position to the next.

    Returns:
        ((H - K) // stride + 1, (W - K) // stride + 1, C).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import correlating
        >>> image = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
        >>> correlating.correlate(image, np.ones((2, 2), np.float32), 1).tolist()
        [[[8.0], [12.0]]]
    """
    cut, shape = all_patches(x, kernel.shape[0], stride=stride)
    made = jnp.einsum("nkc,k->nc", cut, kernel.reshape(-1), precision="highest")
    return made.reshape(*shape, -1)


def composed(weights: Array, after: Array) -> Array:
    """Composes a layer with the kernel that follows it into one kernel.

    Args:
        weights: (k, k, A, B), the weights of the layer.
        after: (m, m, B), a kernel from the layer's outputs to one value.

    Returns:
        (k + m - 1, k + m - 1, A).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import correlating
        >>> weights, after = np.ones((2, 2, 1, 1), np.float32), np.ones((2, 2, 1), np.float32)
        >>> print(correlating.composed(weights, after)[..., 0])
        [[1. 2. 1.]
         [2. 4. 2.]
         [1. 2. 1.]]
    """
    k, m = weights.shape[0], after.shape[0]
    products = jnp.einsum("abij,cdj->acbdi", weights, after, precision="highest")
    if m == 1 or k == 1:
        return products.reshape(k + m - 1, k + m - 1, -1)
    # A product with a constant matrix adds the values that fall on one position.
    fold = np.zeros((k + m - 1, k, m), np.float32)
    fold[np.add.outer(np.arange(k), np.arange(m)), np.arange(k)[:, None], np.arange(m)] = 1
    fold = np.einsum("yac,xbd->yxacbd", fold, fold).reshape((k + m - 1) ** 2, -1)
    summed = jnp.matmul(fold, products.reshape(fold.shape[1], -1), precision="highest")
    return summed.reshape(k + m - 1, k + m - 1, -1)
