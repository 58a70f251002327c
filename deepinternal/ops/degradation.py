"""Degradation of images: random blur kernels, and the forward model of super-resolution with noise.

With them, super-resolution can be evaluated against a known ground truth. Kernels are float32 (K, K)
correlation kernels of sum 1 as in `deepinternal.ops.kernels`. They are centred on K // 2 + (scale - 1)
/ 2, at which downscaling does not shift the image, so that `centre_kernel` changes them little. Sizes
and scales are static; everything else may be traced, and vmapped over keys.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.ops.kernels import downscale, gaussian_kernel, twice
from deepinternal.ops.resizing import resize
from deepinternal.types import Array

DIV2KRK_SCALES = (2, 4)


def div2krk_kernel(key: Array, *, scale: int = 2) -> Array:
    """Draws a kernel by the recipe of the data set DIV2KRK: a noisy anisotropic gaussian.

    The variance (square pixels) along each principal axis is drawn from U(0.6, 5), the direction of
    the first axis from U(0, pi), and each entry is multiplied by a factor from U(0.75, 1.25).

    Args:
        key: PRNG key.
        scale: 2 or 4. For 4, the kernel for 2 is convolved with itself dilated by 2, which equals two
            downscalings by 2. KernelGAN derives its own kernels in this way; the method for the
            published kernels of scale 4 is not known.

    Returns:
        (11, 11) for scale 2, (31, 31) for scale 4. The gaussian is centred for the scale; noise and
        truncation move the centre of mass by up to about 0.2 pixels, see `centre_kernel`.

    Raises:
        ValueError: The scale is neither 2 nor 4.

    References:
        Bell-Kligler, Shocher, Irani, "Blind super-resolution kernel estimation using an internal-GAN",
        NeurIPS 2019, where it describes the data set.

    Example:
        >>> import jax
        >>> from deepinternal.ops import degradation
        >>> jax.eval_shape(degradation.div2krk_kernel, jax.random.key(0)).shape
        (11, 11)
    """
    if scale not in DIV2KRK_SCALES:
        raise ValueError(f"DIV2KRK has no scale {scale!r}; known: 2, 4")
    # One draw, because draws take long to compile.
    drawn = jax.random.uniform(key, (3 + 11 * 11,), jnp.float32)
    sigma = jnp.sqrt(0.6 + (5.0 - 0.6) * drawn[:2])
    # The first 11 of 12 rows centred on 5.5, because K // 2 + (scale - 1) / 2 is 5.5 for K = 11.
    kernel = gaussian_kernel(12, sigma, theta=jnp.pi * drawn[2])[:11, :11]
    kernel *= 0.75 + 0.5 * drawn[3:].reshape(11, 11)
    kernel /= kernel.sum()
    if scale == 4:
        kernel = twice(kernel)
    return kernel


def motion_kernel(
    key: Array,
    size: int,
    length: float | Array,
    *,
    scale: int = 1,
    bend: float | Array = 2.0,
    unevenness: float | Array = 1.0,
) -> Array:
    """Draws an asymmetric kernel: the path of a shaking camera while the shutter is open.

    The heading and the logarithm of the speed are random walks, so that the path is smooth, and
    brighter where the camera was slower.

    Args:
        key: PRNG key.
        size: Side K of the kernel in pixels; parts of the path outside it are lost, see `motion_size`.
        length: Length of the path in pixels.
        scale: Downscaling factor for which the kernel is centred.
        bend: Standard deviation of the angle between the first and the last heading, in radians.
        unevenness: Standard deviation of log(last speed / first speed).

    Returns:
        (size, size), summing to 1, not negative.

    References:
        Boracchi, Foi, "Modeling the performance of image restoration from motion blur", IEEE TIP
        2012, draws random camera paths too, by another model.

    Example:
        >>> import jax
        >>> from deepinternal.ops import degradation
        >>> size = degradation.motion_size(8)
        >>> draw = lambda key: degradation.motion_kernel(key, size, 8.0)
        >>> jax.eval_shape(draw, jax.random.key(0)).shape
        (17, 17)
    """
    samples = 8 * size
    drawn = jax.random.normal(key, (2 * samples + 2,), jnp.float32)
    walks = jnp.cumsum(drawn[2:].reshape(2, samples), axis=1) / math.sqrt(samples)
    heading = jnp.arctan2(drawn[0], drawn[1]) + bend * walks[0]
    steps = jax.nn.softmax(unevenness * walks[1]) * length
    path = jnp.cumsum(steps * jnp.stack([jnp.sin(heading), jnp.cos(heading)]), axis=1)
    return _drawn(path - path.mean(1, keepdims=True), size, scale)


def motion_size(length: float, *, scale: int = 1) -> int:
    """Returns the side of a kernel that holds a motion, even an uneven one.

    Args:
        length: Length of the motion in pixels.
        scale: Downscaling factor for which the kernel is centred.

    Returns:
        The side in pixels, odd.

    Example:
        >>> from deepinternal.ops import degradation
        >>> degradation.motion_size(8)
        17
    """
    return 2 * math.ceil(0.8 * length + (scale - 1) / 2) + 3


def line_kernel(size: int, length: float | Array, theta: float | Array, *, scale: int = 1) -> Array:
    """Returns the kernel of a uniform motion along a straight line.

    Args:
        size: Side K of the kernel in pixels; parts of the line outside it are lost.
        length: Length of the line in pixels.
        theta: Direction in radians, from the x axis (columns) towards the y axis (rows).
        scale: Downscaling factor for which the kernel is centred.

    Returns:
        (size, size), summing to 1, not negative.

    Example:
        >>> import jax
        >>> from deepinternal.ops import degradation
        >>> draw = jax.jit(lambda theta: degradation.line_kernel(3, 2.0, theta))
        >>> print(draw(0.0).round(2))
        [[0.   0.   0.  ]
         [0.25 0.5  0.25]
         [0.   0.   0.  ]]
    """
    samples = 8 * size
    along = ((jnp.arange(samples, dtype=jnp.float32) + 0.5) / samples - 0.5) * length
    theta = jnp.asarray(theta, jnp.float32)
    return _drawn(along * jnp.stack([jnp.sin(theta), jnp.cos(theta)])[:, None], size, scale)


def _drawn(points: Array, size: int, scale: int) -> Array:
    """Draws points (2, N) around the centre of a (size, size) kernel, each bilinearly into 4 pixels."""
    # Drawn at its final position, because the splines of `centre_kernel` make such thin strokes ring.
    offsets = jnp.arange(size, dtype=jnp.float32) - size // 2 - (scale - 1) / 2 - points[:, :, None]
    rows, columns = jnp.maximum(1 - jnp.abs(offsets), 0)
    kernel = jnp.einsum("nr,nc->rc", rows, columns, precision=lax.Precision.HIGHEST)
    return kernel / kernel.sum()


def degrade(
    key: Array, image: Array, kernel: Array | None, scale: int, *, noise_std: float | Array = 0.0
) -> Array:
    """Blurs and subsamples images and adds white gaussian noise.

    Args:
        key: PRNG key of the noise.
        image: (..., H, W, C) in [0, 1].
        kernel: (K, K), centred for `scale` (see `centre_kernel`); None: cubic downscaling with
            antialiasing.
        scale: Downscaling factor >= 1.
        noise_std: Standard deviation of the noise, for images in [0, 1].

    Returns:
        (..., ceil(H / scale), ceil(W / scale), C), clipped to [0, 1].

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import degradation
        >>> image = np.ones((4, 6, 3), np.float32)
        >>> degradation.degrade(jax.random.key(0), image, None, 2, noise_std=0.1).shape
        (2, 3, 3)
    """
    small = resize(image, scale=1 / scale) if kernel is None else downscale(image, kernel, scale)
    noise = jax.random.normal(key, (small.size,), small.dtype).reshape(small.shape)
    return jnp.clip(small + noise_std * noise, 0, 1)
