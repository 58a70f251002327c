"""PSNR and SSIM, and the protocol with which super-resolution papers report them."""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.ops.color import rgb_to_y
from deepinternal.types import Array

_REACH = 5  # pixels on each side of the window of SSIM
_BAND = 2**22  # number of pixels of which SSIM is computed at once, to bound its memory
_LEAST_MSE = 1e-12  # bound of `mse_to_psnr`


def mse(a: Array, b: Array) -> Array:
    """Returns the mean squared difference of two arrays.

    Args:
        a: An array of any shape.
        b: An array of the same shape.

    Returns:
        A scalar.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import metrics
        >>> float(metrics.mse(np.zeros(2), np.ones(2)))
        1.0
    """
    return jnp.mean(jnp.square(a - b))


def psnr(a: Array, b: Array, *, data_range: float = 1.0) -> Array:
    """Returns the peak signal-to-noise ratio of two arrays.

    Args:
        a: An array of any shape.
        b: An array of the same shape.
        data_range: Width of the range of the values.

    Returns:
        A scalar in dB, infinite for equal arrays.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import metrics
        >>> round(float(metrics.psnr(np.zeros(2), np.full(2, 0.1))), 2)
        20.0
    """
    return 10 * jnp.log10(data_range**2 / mse(a, b))


def mse_to_psnr(error: Array) -> Array:
    """Returns the peak signal-to-noise ratio of a mean squared error of values in [0, 1].

    Args:
        error: The mean squared error, an array of any shape.

    Returns:
        An array of that shape in dB, at most 120, so that curves of it stay finite.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import metrics
        >>> [round(float(metrics.mse_to_psnr(error))) for error in np.array([0.01, 0.0])]
        [20, 120]
    """
    return -10 * jnp.log10(jnp.maximum(error, _LEAST_MSE))


def _blur_valid(x: Array, window: np.ndarray) -> Array:
    """Separable correlation of (H, W) with a 1-D window along both axes, without padding."""
    k = len(window)
    h, w = x.shape
    x = sum(float(window[i]) * x[i : h - k + 1 + i] for i in range(k))
    return sum(float(window[i]) * x[:, i : w - k + 1 + i] for i in range(k))


def ssim(a: Array, b: Array, *, data_range: float = 1.0) -> Array:
    """Structural similarity (Wang et al. 2004), the mean over the image without a border of 5 pixels.

    The window is an 11x11 gaussian of sigma 1.5; K1 = 0.01 and K2 = 0.03.

    Args:
        a: (H, W), both sides at least 11.
        b: (H, W).
        data_range: Width of the range of the values (255 for 8-bit luma).

    Returns:
        A scalar in [-1, 1].

    Raises:
        ValueError: A side is shorter than 11 pixels.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import metrics
        >>> image = np.eye(11, dtype=np.float32)
        >>> round(float(jax.jit(metrics.ssim)(image, image)), 3)
        1.0
    """
    if min(a.shape) < 11:
        raise ValueError(f"ssim needs sides of at least 11 pixels, not {a.shape}")
    offset = lax.stop_gradient(jnp.mean(a))
    similar = functools.partial(_similarities, offset=offset, data_range=data_range)
    height, width = (n - 2 * _REACH for n in a.shape)
    rows = max(_BAND // width, 1)
    if height <= rows:
        return jnp.mean(similar(a, b))
    bands = jnp.arange(math.ceil(height / rows)) * rows

    def total(first: Array) -> Array:
        """The sum over the rows from `first` on; the last band begins earlier, to have as many."""
        start = jnp.minimum(first, height - rows)
        cut = lambda x: lax.dynamic_slice(x, (start, 0), (rows + 2 * _REACH, x.shape[1]))
        new = start + jnp.arange(rows) >= first
        return jnp.sum(jnp.where(new[:, None], similar(cut(a), cut(b)), 0.0))

    return jnp.sum(lax.map(total, bands)) / (height * width)


def _similarities(a: Array, b: Array, *, offset: Array, data_range: float) -> Array:
    """The structural similarity at each pixel of (H, W) but the border; moments are about `offset`."""
    window = np.exp(-0.5 * (np.arange(-_REACH, _REACH + 1) / 1.5) ** 2)
    window /= window.sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    # Moments about a common offset, because differences of large squares lose float32's digits.
    x, y = a - offset, b - offset
    mx, my = _blur_valid(x, window), _blur_valid(y, window)
    xx = _blur_valid(x * x, window) - mx * mx
    yy = _blur_valid(y * y, window) - my * my
    xy = _blur_valid(x * y, window) - mx * my
    mx, my = mx + offset, my + offset
    numerator = (2 * mx * my + c1) * (2 * xy + c2)
    return numerator / ((mx**2 + my**2 + c1) * (xx + yy + c2))


def quality(result: Array, truth: Array, *, border: tuple[int, int] = (0, 0)) -> dict[str, Array]:
    """Returns the metrics that super-resolution papers report.

    Args:
        result: (H, W, C) in [0, 1], C = 1 or 3, already rounded to the bit depth of its file.
        truth: Of the same shape and range.
        border: Rows and columns that are ignored on every side (in super-resolution the scale factor).

    Returns:
        `psnr_y` and `ssim_y` on the BT.601 luma (not rounded, peak 255), `psnr_rgb` on all channels.

    Raises:
        ValueError: The shapes differ, or the image inside the border is too small.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import metrics
        >>> image = np.ones((11, 12, 3), np.float32)
        >>> sorted(jax.eval_shape(metrics.quality, image, image))
        ['psnr_rgb', 'psnr_y', 'ssim_y']
    """
    if result.shape != truth.shape:
        raise ValueError(
            f"result is {result.shape}, ground truth {truth.shape}: shapes must be equal"
        )
    (h, w), (v, u) = result.shape[:2], border
    if h - 2 * v < 11 or w - 2 * u < 11:
        raise ValueError(
            f"an image of {h}x{w} is too small to be scored inside a border of {border}"
        )
    a, b = (x[v : h - v, u : w - u] for x in (result, truth))
    ya, yb = rgb_to_y(a), rgb_to_y(b)
    return {
        "psnr_y": psnr(ya, yb, data_range=255.0),
        "ssim_y": ssim(ya, yb, data_range=255.0),
        "psnr_rgb": psnr(a, b),
    }
