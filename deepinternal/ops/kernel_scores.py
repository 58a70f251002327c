"""The similarity of an estimated and a true kernel, independent of their positions in the arrays."""

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.ops.kernels import centre_of_mass, shift_kernel
from deepinternal.types import Array

# Shifts that are tried in addition to the difference of the centres of mass, in pixels.
_SHIFTS = np.arange(-1.5, 1.51, 0.25, np.float32)


def aligned(kernel: Array, reference: Array) -> tuple[Array, Array]:
    """Shifts a kernel to the position where it correlates best with a reference.

    Args:
        kernel: (K, K).
        reference: (L, L).

    Returns:
        Both as (N, N), N odd, large enough for any shift that is tried (quarters of a pixel, up to 1.5
        pixels beyond the difference of the centres of mass).

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import kernel_scores
        >>> kernel = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16
        >>> [x.shape for x in jax.eval_shape(kernel_scores.aligned, kernel, kernel)]
        [(11, 11), (11, 11)]
    """
    size = max(kernel.shape[0], reference.shape[0]) // 2 * 2 + 9
    kernel, reference = (_placed(k, size) for k in (kernel, reference))
    # Negative values must not move the centre far.
    shift = centre_of_mass(jnp.maximum(reference, 0)) - centre_of_mass(jnp.maximum(kernel, 0))
    rows = _shifted_axis(kernel, shift)
    products = jnp.einsum("abij,ij->ab", rows, reference, precision="highest")
    scores = products / jnp.sqrt(jnp.sum(rows**2, (2, 3)))
    best = jnp.argmax(scores)
    return rows.reshape(-1, size, size)[best], reference


def correlation(kernel: Array, reference: Array) -> Array:
    """Returns the greatest normalised cross-correlation of two kernels over sub-pixel shifts.

    Args:
        kernel: (K, K).
        reference: (L, L).

    Returns:
        A scalar, at most 1.

    References:
        Hu and Yang: Good Regions to Deblur. ECCV 2012 ("kernel similarity").

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import kernel_scores
        >>> kernel = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16
        >>> round(float(jax.jit(kernel_scores.correlation)(kernel, 2 * kernel)), 3)
        1.0
    """
    a, b = aligned(kernel, reference)
    return jnp.sum(a * b) / jnp.sqrt(jnp.sum(a**2) * jnp.sum(b**2))


def kernel_psnr(kernel: Array, reference: Array) -> Array:
    """Returns the PSNR in dB of a kernel relative to the reference's peak.

    The error is a mean over the arrays that `aligned` returns, with the zeros around the kernels.
    Therefore compare only values for kernels of one size.

    Args:
        kernel: (K, K).
        reference: (L, L).

    Returns:
        A scalar; infinite for equal kernels.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import kernel_scores
        >>> kernel = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16
        >>> round(float(jax.jit(kernel_scores.kernel_psnr)(0.9 * kernel, kernel)), 1)
        37.3
    """
    a, b = aligned(kernel, reference)
    return 10 * jnp.log10(jnp.max(b) ** 2 / jnp.mean(jnp.square(a - b)))


def _placed(kernel: Array, size: int) -> Array:
    """Places a kernel in the middle of (size, size)."""
    before = (size - kernel.shape[0]) // 2
    return jnp.pad(kernel, (before, size - kernel.shape[0] - before))


def _shifted_axis(kernel: Array, shift: Array) -> Array:
    """Shifts a kernel by `shift` plus every pair of `_SHIFTS`: (S, S, N, N)."""
    grid = jnp.stack(jnp.meshgrid(_SHIFTS, _SHIFTS, indexing="ij"), -1).reshape(-1, 2)
    moved = jax.vmap(lambda d: shift_kernel(kernel, shift + d))(grid)
    return moved.reshape(len(_SHIFTS), len(_SHIFTS), *kernel.shape)
