"""Short descriptors of patches: the cosine waves in which they vary most, or some of their pixels."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.ops.dct import dct_matrix
from deepinternal.ops.patches.places import cut, grid
from deepinternal.types import Array

_SAMPLE = 4096  # number of patches from which variances are measured
_FILTERS = 40  # minimum number of filters in a convolution
_AT_ONCE = 2**18  # number of patches that are projected at once, in bands of rows


def waves(image: Array, *, patch: int = 7, size: int = 40) -> Array:
    """Returns the cosine waves in which the patches of an image vary most.

    The waves run across rows, columns and channels. They hold nearly as much of the variance as
    principal components do, and need no eigendecomposition.

    Args:
        image: (H, W, C).
        patch: Side of a patch in pixels.
        size: Number of waves, at most patch * patch * C.

    Returns:
        (patch * patch * C, size), orthonormal columns, by decreasing variance. Distances of projected
        patches are never larger than those of the patches.

    Raises:
        ValueError: A side is shorter than a patch.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import descriptors
        >>> image = np.ones((9, 9, 3), np.float32)
        >>> jax.eval_shape(descriptors.waves, image).shape
        (147, 40)
    """
    h, w = map(len, grid(image.shape[:2], patch))
    along, across = dct_matrix(patch), dct_matrix(image.shape[-1])
    every = np.einsum("ia,jb,kc->abcijk", along, along, across)
    every = every.reshape(patch * patch * image.shape[-1], -1)
    image = lax.optimization_barrier(image)  # products of constants take long to compile
    order = np.linspace(0, h * w - 1, min(_SAMPLE, h * w)).astype(np.int32)
    patches = cut(image, order // w, order % w, patch)
    found = jnp.matmul(patches, every, precision=lax.Precision.HIGHEST)
    return jnp.asarray(every)[:, lax.top_k(jnp.var(found, axis=0), size)[1]]


def some_pixels(patch: int, channels: int, *, amount: int = 25) -> np.ndarray:
    """Returns the projection of patches onto some of their pixels, which are spread evenly.

    Args:
        patch: Side of a patch in pixels.
        channels: C.
        amount: Approximate maximum number of pixels.

    Returns:
        float32 (patch * patch * C, pixels * C), zeros and ones.

    Example:
        >>> from deepinternal.ops.patches import descriptors
        >>> descriptors.some_pixels(7, 3).shape
        (147, 75)
    """
    period = -(-patch * patch // amount)
    y, x = np.indices((patch, patch))
    chosen = np.flatnonzero((y + (2 if period > 3 else 1) * x) % period == 0)
    index = np.arange(patch * patch * channels).reshape(-1, channels)
    return np.eye(index.size, dtype=np.float32)[:, index[chosen].reshape(-1)]


def projected(image: Array, basis: Array, *, patch: int = 7) -> Array:
    """Projects all patches of an image.

    Args:
        image: (H, W, C).
        basis: (patch * patch * C, D).
        patch: Side of a patch in pixels.

    Returns:
        (h * w, D), the patches in reading order.

    Raises:
        ValueError: A side is shorter than a patch.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import descriptors
        >>> basis = np.eye(4, dtype=np.float32)
        >>> descriptors.projected(np.ones((4, 5, 1), np.float32), basis, patch=2).shape
        (12, 4)
    """
    h, w = map(len, grid(image.shape[:2], patch))
    size = basis.shape[1]
    image = lax.optimization_barrier(image)
    filters = jnp.asarray(basis).reshape(patch, patch, image.shape[-1], size)
    # On CPU, convolutions with borders and with 40 filters are several times faster than with fewer.
    filters = jnp.pad(filters, ((0, 0), (0, 0), (0, 0), (0, max(-size % 8, _FILTERS - size))))
    before = (patch - 1) // 2

    def of(part):
        made = lax.conv_general_dilated(
            part[None],
            filters,
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=lax.Precision.HIGHEST,
        )[0]
        return made[before : before + part.shape[0] - patch + 1, before : before + w, :size]

    band = max(_AT_ONCE // w, 1)
    if h <= band:
        return of(image).reshape(h * w, size)

    def add(i, made):
        start = jnp.minimum(i * band, h - band)  # the last band overlaps the one before
        part = lax.dynamic_slice_in_dim(image, start, band + patch - 1)
        return lax.dynamic_update_slice_in_dim(made, of(part), start, 0)

    start = jnp.zeros((h, w, size), image.dtype)
    return lax.fori_loop(0, -(-h // band), add, start).reshape(h * w, size)
