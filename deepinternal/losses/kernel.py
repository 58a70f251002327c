"""Losses of a blur kernel: how plausible it is, and how well it agrees with the image's statistics.

Kernels are (K, K) correlation kernels, see `ops.kernels`.

References:
    Bell-Kligler, Shocher, Irani: Blind Super-Resolution Kernel Estimation using an Internal-GAN.
    NeurIPS 2019, section 4.3: `sum_to_one`, `boundary`, `sparse`, `centred`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.ops.kernels import centre_of_mass
from deepinternal.types import Array


def sum_to_one(kernel: Array) -> Array:
    """Returns the absolute difference between the sum of a kernel and 1.

    Example:
        >>> import jax.numpy as jnp, deepinternal as di
        >>> print(di.losses.sum_to_one(jnp.full((2, 2), 0.125)))
        0.5
    """
    return jnp.abs(1 - jnp.sum(kernel))


def boundary_mask(size: int) -> np.ndarray:
    """Returns the penalties of a kernel's values near its border, which grow towards the corners.

    Args:
        size: Side of the kernel in pixels.

    Returns:
        float32 (size, size): 30 (1 - exp(-r^2 / (2 size^2))) on the two outer rings, where r is the
        distance from the middle of the kernel in pixels, and 0 inside.

    Example:
        >>> import deepinternal as di
        >>> di.losses.boundary_mask(7)[0].round(1)
        array([5. , 3.7, 2.9, 2.6, 2.9, 3.7, 5. ], dtype=float32)
    """
    axis = np.arange(size) - (size - 1) / 2
    mask = 30 * (1 - np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * size**2)))
    mask[2:-2, 2:-2] = 0
    return mask.astype(np.float32)


def boundary(kernel: Array) -> Array:
    """Returns the mean of a kernel's absolute values, weighted by `boundary_mask`.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> print(di.losses.boundary(np.pad([[1.0]], 3)))  # one pixel in the middle
        0.0
    """
    return jnp.mean(jnp.abs(kernel) * boundary_mask(kernel.shape[0]))


def sparse(kernel: Array, *, power: float = 0.2) -> Array:
    """Returns the mean of a kernel's absolute values, raised to a power: small for sparse kernels.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> narrow, wide = np.pad([[1.0]], 1), np.full((3, 3), 1 / 9)
        >>> bool(di.losses.sparse(narrow) < di.losses.sparse(wide))
        True
    """
    return jnp.mean((jnp.abs(kernel) + 1e-9) ** power)


def negative(kernel: Array) -> Array:
    """Returns the absolute sum of a kernel's negative values, of which a blur of light has none.

    Example:
        >>> import jax.numpy as jnp, deepinternal as di
        >>> print(di.losses.negative(jnp.array([[1.5, -0.5], [0.25, -0.25]])))
        0.75
    """
    return jnp.sum(jnp.maximum(-kernel, 0))


def centred(kernel: Array, target: Array | float) -> Array:
    """Returns the mean squared distance in pixels of a kernel's centre of mass from `target`.

    Example:
        >>> import jax.numpy as jnp, deepinternal as di
        >>> kernel = jnp.float32([[0.0, 0.0], [0.0, 1.0]])
        >>> print(di.losses.centred(kernel, 0.5))
        0.25
    """
    return jnp.mean(jnp.square(centre_of_mass(kernel) - target))


@jax.custom_vjp
def covariance_divergence(whitened: Array) -> Array:
    """Returns the divergence between the distributions of two sets of patches, from their covariances.

    It is the symmetric Kullback-Leibler divergence of normal distributions of mean 0 and covariances A
    and B, per dimension: (trace(A B^-1) + trace(B A^-1)) / (2 n) - 1. It does not change if the same
    invertible filter is applied to both sets, so that fine detail counts as much as coarse structure.

    Args:
        whitened: (n, n), B^-1/2 A B^-1/2, positive definite.

    Returns:
        A scalar, at least 0.

    Example:
        >>> import jax, numpy as np, deepinternal as di
        >>> print(jax.jit(di.losses.covariance_divergence)(np.float32(2 * np.eye(3))))
        0.25
    """
    return _divergence(whitened)[0]


def _divergence(whitened: Array) -> tuple[Array, Array]:
    inverse = _inverse(whitened)
    return (jnp.trace(whitened) + jnp.trace(inverse)) / (2 * len(whitened)) - 1, inverse


def _divergence_bwd(inverse: Array, g: Array) -> tuple[Array]:
    squared = jnp.matmul(inverse, inverse, precision="highest")
    return (g * (jnp.eye(len(inverse)) - squared) / (2 * len(inverse)),)


covariance_divergence.defvjp(_divergence, _divergence_bwd)


def _inverse(matrix: Array) -> Array:
    """Inverts a positive definite matrix (n, n) without LAPACK, whose calls would dominate the time."""
    eye = jnp.eye(len(matrix), dtype=matrix.dtype)

    def sweep(k: Array, m: Array) -> Array:
        unit = eye[k]
        row = m[k] / m[k, k]
        swept = m - jnp.outer(m[:, k], row)
        swept = jnp.where(unit[:, None] > 0, row, jnp.where(unit > 0, row[:, None], swept))
        return jnp.where(jnp.outer(unit, unit) > 0, -1 / m[k, k], swept)

    return -jax.lax.fori_loop(0, len(matrix), sweep, matrix)
