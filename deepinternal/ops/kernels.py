"""Blur kernels: their construction and centring, and downscaling with a kernel.

Kernels are float32 (K, K) correlation kernels that sum to 1: a low-resolution pixel is the (unflipped)
weighted sum of the high-resolution pixels around it, and the correlation is centred on K // 2.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.ops.resizing import cubic, mirror_index, output_size
from deepinternal.ops.sampling import sample_positions, whole_positions
from deepinternal.types import Array


def gaussian_kernel(
    size: int, sigma: Array | tuple[float, float], *, theta: float | Array = 0.0
) -> Array:
    """Returns an isotropic or anisotropic gaussian blur kernel.

    Args:
        size: Side K of the kernel in pixels; the gaussian is centred on (K - 1) / 2.
        sigma: Standard deviation in pixels, or one for each principal axis (first, second).
        theta: Direction of the first principal axis in radians, from the x axis (columns) towards
            the y axis (rows).

    Returns:
        (size, size), summing to 1.

    Example:
        >>> from deepinternal.ops import kernels
        >>> blur = kernels.gaussian_kernel(5, 1.0)
        >>> blur.shape, kernels.centre_of_mass(blur).round(3).tolist()
        ((5, 5), [2.0, 2.0])
    """
    sigma = jnp.broadcast_to(jnp.asarray(sigma, jnp.float32), (2,))
    axis = jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2
    y, x = axis[:, None], axis[None, :]
    c, s = jnp.cos(theta), jnp.sin(theta)
    along, across = c * x + s * y, c * y - s * x
    kernel = jnp.exp(-0.5 * ((along / sigma[0]) ** 2 + (across / sigma[1]) ** 2))
    return kernel / kernel.sum()


def centre_of_mass(kernel: Array) -> Array:
    """Returns the centre of mass of a kernel.

    Args:
        kernel: (K, L).

    Returns:
        (row, column), 0-based, in pixels.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import kernels
        >>> kernels.centre_of_mass(np.float32([[0, 0, 0], [0, 0, 1]])).tolist()
        [1.0, 2.0]
    """
    total = kernel.sum()
    means = [
        jnp.dot(jnp.arange(n, dtype=kernel.dtype), kernel.sum(1 - axis), precision="highest")
        for axis, n in enumerate(kernel.shape)
    ]
    return jnp.stack(means) / total


def _bspline_basis(offset: Array) -> Array:
    """Returns the cubic B-spline at `offset`, which is zero beyond 2."""
    x = jnp.abs(offset)
    near = 2 / 3 - x**2 + x**3 / 2
    far = (2 - x) ** 3 / 6
    return jnp.where(x < 1, near, jnp.where(x < 2, far, 0.0))


@jax.jit
def shift_kernel(kernel: Array, shift: Array) -> Array:
    """Moves a kernel by a sub-pixel amount with cubic-spline interpolation.

    Equals `scipy.ndimage.shift(kernel, shift, order=3, mode='constant')`. Pad the kernel with zeros
    first if it must not lose mass over its border.

    Args:
        kernel: (K, L).
        shift: (2,), pixels towards higher rows and columns.

    Returns:
        (K, L).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import kernels
        >>> line = np.float32([1, 4, 6, 4, 1]) / 16
        >>> kernel = kernels.shift_kernel(np.pad(np.outer(line, line), 2), np.float32([0.5, 0]))
        >>> kernels.centre_of_mass(kernel).round(2).tolist()
        [4.5, 4.0]
    """
    for axis, n in enumerate(kernel.shape):
        at = np.arange(n)
        knots = np.asarray(_host_spline_matrix(n))
        basis = _bspline_basis(at[:, None] - shift[axis] - at[None, :])
        basis = basis.at[:, 1].add(_bspline_basis(at - shift[axis] + 1)) if n > 1 else basis
        basis = basis.at[:, n - 2].add(_bspline_basis(at - shift[axis] - n)) if n > 1 else basis
        inside = (at - shift[axis] >= 0) & (at - shift[axis] <= n - 1)
        matrix = jnp.matmul(basis, knots, precision=lax.Precision.HIGHEST)
        matrix = jnp.where(inside[:, None], matrix, 0.0).astype(kernel.dtype)
        spec = "ai,ij->aj" if axis == 0 else "bj,ij->ib"
        kernel = jnp.einsum(spec, matrix, kernel, precision=lax.Precision.HIGHEST)
    return kernel


def _host_spline_matrix(n: int) -> np.ndarray:
    """The float32 (n, n) map from samples to cubic B-spline coefficients, mirrored at both ends."""
    matrix = np.diag(np.full(n, 2 / 3)) + np.diag(np.full(n - 1, 1 / 6), 1)
    matrix += np.diag(np.full(n - 1, 1 / 6), -1)
    if n > 1:
        matrix[0, 1] += 1 / 6
        matrix[-1, -2] += 1 / 6
    else:
        matrix[:] = 1.0
    return np.linalg.inv(matrix).astype(np.float32)


def centre_kernel(
    kernel: Array, scale: float | tuple[float, float], *, pad: int | None = None
) -> Array:
    """Moves a kernel's centre of mass to the position at which downscaling does not shift the image.

    That is K // 2 + (scale - 1) / 2 along each axis: samples are taken at multiples of the scale, and
    the centre of the area of a low-resolution pixel lies (scale - 1) / 2 beyond. The target in ZSSR's
    public code is half a high-resolution pixel off for even K; this one is exact for both parities.

    Args:
        kernel: (K, K), of positive sum.
        scale: Downscaling factor > 1, or (vertical, horizontal).
        pad: Number of zeros added on every side first, so that the shift loses no mass. Default: the
            number that a NumPy kernel needs; for a JAX array, possibly traced, a sufficient bound.

    Returns:
        (K + 2 pad, K + 2 pad), summing to 1.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import kernels
        >>> line = np.float32([1, 4, 6, 4, 1]) / 16
        >>> kernel = kernels.centre_kernel(np.outer(line, line), 2)
        >>> kernel.shape, kernels.centre_of_mass(kernel).round(2).tolist()
        ((9, 9), [4.5, 4.5])
    """
    scale = np.broadcast_to(np.asarray(scale, np.float32), (2,))
    size = kernel.shape[0]
    if pad is None and isinstance(kernel, np.ndarray):
        shift = size // 2 + (scale - 1) / 2 - np.asarray(centre_of_mass(jnp.asarray(kernel)))
        if np.abs(shift).max() < 1e-3:
            return jnp.asarray(kernel / kernel.sum(), jnp.float32)
        pad = math.ceil(np.abs(shift).max()) + 1
    elif pad is None:
        pad = size // 2 + math.ceil((scale.max() - 1) / 2) + 1
    kernel = jnp.pad(jnp.asarray(kernel, jnp.float32), pad)
    target = kernel.shape[0] // 2 + (scale - 1) / 2
    kernel = shift_kernel(kernel, target - centre_of_mass(kernel))
    return kernel / kernel.sum()


def faint_level(kernel: Array, *, rule: str = "peak") -> Array:
    """Returns the level that is subtracted from an estimated kernel to remove its faint values.

    Args:
        kernel: (K, K).
        rule: 'peak': 2 % of the greatest value; 'rank': three quarters of the 41st greatest value, as
            in KernelGAN's public code, which also removes the outskirts of wide kernels.

    Returns:
        A scalar, at least 0.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import kernels
        >>> round(float(kernels.faint_level(np.float32([[0, 1], [0, 0]]))), 3)
        0.02
    """
    if rule == "peak":
        return 0.02 * jnp.max(kernel)
    return 0.75 * jnp.maximum(lax.top_k(kernel.reshape(-1), 41)[0][-1], 0)


def without_faint(kernel: Array, level: Array | float) -> Array:
    """Removes the faint values of a kernel and normalises its sum to 1.

    Args:
        kernel: (K, K).
        level: Is subtracted from the kernel, whose negative values are then set to 0.

    Returns:
        (K, K).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import kernels
        >>> kernels.without_faint(np.float32([[0.25, 1.25]]), 0.25).tolist()
        [[0.0, 1.0]]
    """
    kernel = jnp.maximum(kernel - level, 0)
    return kernel / jnp.maximum(kernel.sum(), 1e-12)


def twice(kernel: Array) -> Array:
    """Returns the kernel of two downscalings by 2: a kernel convolved with itself dilated by 2.

    Args:
        kernel: (K, K).

    Returns:
        (3 K - 2, 3 K - 2).

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import kernels
        >>> jax.eval_shape(kernels.twice, np.ones((3, 3), np.float32)).shape
        (7, 7)
    """
    size = 2 * kernel.shape[0] - 1
    dilated = jnp.zeros((size, size), kernel.dtype).at[::2, ::2].set(kernel)
    return jax.scipy.signal.convolve(kernel, dilated, precision=lax.Precision.HIGHEST)


def doubled_kernel(kernel: Array) -> Array:
    """Returns the kernel of a downscaling by 4 from the kernel of a downscaling by 2.

    Args:
        kernel: (K, K) for a factor of 2, centred at K // 2 + 1/2.

    Returns:
        (3 K - 2 - 2 (K // 2),) * 2, summing to 1: `twice` without K // 2 values at each side. It must
        still be centred for 4.

    References:
        Bell-Kligler et al. 2019, section 4.4 ("Larger scale factors").

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import kernels
        >>> jax.eval_shape(kernels.doubled_kernel, np.ones((3, 3), np.float32)).shape
        (5, 5)
    """
    both, cut = twice(kernel), kernel.shape[0] // 2
    both = both[cut : both.shape[0] - cut, cut : both.shape[1] - cut]
    return both / both.sum()


def cubic_kernel(scale: float, size: int) -> np.ndarray:
    """Computes the kernel of cubic downscaling (a = -0.5, antialiased) on the host.

    Args:
        scale: A whole number.
        size: Side of the kernel, odd, at least 5 * scale - 1.

    Returns:
        float32 (size, size), centred for `scale`. Inside the image `downscale` with it equals `resize`.

    Example:
        >>> from deepinternal.ops import kernels
        >>> kernel = kernels.cubic_kernel(2, 9)
        >>> kernel.shape, round(float(kernel.sum()), 3)
        ((9, 9), 1.0)
    """
    line = cubic((np.arange(size) - size // 2 - (scale - 1) / 2) / scale)
    return (np.outer(line, line) / line.sum() ** 2).astype(np.float32)


def downscale(
    image: Array,
    kernel: Array,
    scale: float | tuple[float, float],
    *,
    output_shape: tuple[int, int] | None = None,
    size: Array | tuple[int, int] | None = None,
    small: Array | tuple[int, int] | None = None,
) -> Array:
    """Blurs with a kernel and subsamples: the forward model of super-resolution.

    The border is mirrored with the edge pixel repeated.

    Args:
        image: (..., H, W, C).
        kernel: (K, L) correlation kernel, centred for `scale` (see `centre_kernel`).
        scale: Factor >= 1, or (vertical, horizontal).
        output_shape: (H', W'). Default: ceil((H, W) / scale).
        size: (H, W) of an image, possibly traced, in the upper left of a canvas. Default: the whole
            array. The rest of the canvas is not read, and the rest of the result has no meaning.
        small: With `size`, (H', W') of the image's result, possibly traced; its positions are
            `whole_positions`. Default: exactly size / scale for a whole scale, which is faster.

    Returns:
        (..., H', W', C).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import kernels
        >>> kernel = kernels.cubic_kernel(2, 9)
        >>> kernels.downscale(np.ones((8, 6, 3), np.float32), kernel, 2).shape
        (4, 3, 3)
    """
    scale = np.broadcast_to(np.asarray(scale, np.float64), (2,))
    *lead, h, w, c = image.shape
    output_shape = output_shape or output_size((h, w), tuple(1 / scale))
    before = [k // 2 for k in kernel.shape]
    padding = [(b, k - 1 - b) for b, k in zip(before, kernel.shape)]
    x = jnp.moveaxis(image.reshape(-1, h, w, c), -1, 1).reshape(-1, 1, h, w)
    if size is None:
        rows, columns = map(sample_positions, (h, w), scale, output_shape)
        x = jnp.pad(x, [(0, 0), (0, 0), *padding], mode="symmetric")
    else:
        for axis, n, (first, last) in zip((2, 3), size, padding):
            index = jnp.arange(-first, x.shape[axis] + last)
            x = jnp.take(x, mirror_index(index, n), axis=axis, mode="clip")
        if small is None:
            rows, columns = (np.arange(o) * int(s) for o, s in zip(output_shape, scale))
        else:
            rows, columns = map(whole_positions, size, scale, small, output_shape)
    strides = [_uniform_stride(p) for p in (rows, columns)]
    x = lax.conv_general_dilated(
        x, kernel[None, None].astype(x.dtype), strides, "VALID", precision=lax.Precision.HIGHEST
    )
    picks = [p // s for p, s in zip((rows, columns), strides)]
    x = x[:, :, picks[0]][:, :, :, picks[1]]
    x = x.reshape(-1, c, len(rows), len(columns))
    return jnp.moveaxis(x, 1, -1).reshape(*lead, len(rows), len(columns), c)


def _uniform_stride(positions: np.ndarray | Array) -> int:
    """The step of evenly spaced positions; 1 if they are traced or not evenly spaced."""
    if not isinstance(positions, np.ndarray):
        return 1
    steps = np.unique(np.diff(positions))
    return int(steps[0]) if len(steps) == 1 and steps[0] > 0 else 1
