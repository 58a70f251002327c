"""Statistics of an image for KernelGAN: where its patches are informative, and their covariances.

If an image is downscaled once more with the kernel that it was downscaled with before, the patches of
both images are most similar (Michaeli and Irani, ICCV 2013). Flat patches are similar for any kernel,
so that only patches with texture are used. All functions run on the host, with NumPy.

References:
    Bell-Kligler, Shocher, Irani: Blind Super-Resolution Kernel Estimation using an Internal-GAN.
    NeurIPS 2019, supplement ("probability maps for sampling crops").
"""

import numpy as np

SIDE = 5  # side of the patches whose covariances are compared
_FILL = 0.97  # quantile at which measures of texture are clipped
_NOTHING = 1e-5  # differences of grey values below this are rounding errors


def texture(grey: np.ndarray) -> np.ndarray:
    """Measures the amount of texture around each pixel.

    The measure is the sum of the absolute derivatives and the gradient's length, each clipped at its
    97 % quantile and divided by its sum, averaged over 5x5 pixels.

    Args:
        grey: (H, W).

    Returns:
        float64 (H, W) with a sum of about 1, less if all edges have the same direction, and 0 for a
        flat image.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> grey = np.zeros((16, 16))
        >>> grey[:, 8:] = 1  # an edge
        >>> measure = di.estimators.texture(grey)
        >>> bool(measure[8, 8] > measure[8, 0])
        True
    """
    dy, dx = np.gradient(grey.astype(np.float64))
    total = np.zeros(grey.shape)
    for measure in (np.abs(dx), np.abs(dy), np.hypot(dx, dy)):
        measure = without_extremes(measure)
        total += measure / max(measure.sum(), 1e-12) / 3
    return box_mean(total, 5)


def without_extremes(measure: np.ndarray) -> np.ndarray:
    """Clips a measure of texture at its 97 % quantile.

    Args:
        measure: (H, W), not negative.

    Returns:
        (H, W). If the quantile is almost 0, as in a mostly flat image, that of the other parts is used.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> measure = np.array([[1.0, 1.0, 1.0, 9.0]] * 25)
        >>> measure[1:, 3] = 1
        >>> float(di.estimators.without_extremes(measure).max())
        1.0
    """
    limit = np.quantile(measure, _FILL)
    if limit < _NOTHING:
        limit = np.quantile(np.append(measure[measure >= _NOTHING], limit), _FILL)
    return np.minimum(measure, limit)


def _half(grey: np.ndarray) -> np.ndarray:
    """Returns the means of 2x2 pixels; an odd last row or column is dropped."""
    h, w = (n // 2 * 2 for n in grey.shape)
    return grey[:h, :w].reshape(h // 2, 2, w // 2, 2).mean((1, 3))


def box_mean(image: np.ndarray, side: int) -> np.ndarray:
    """Returns the means of windows of an image, with the border repeated.

    Args:
        image: (H, W).
        side: Side of the windows in pixels.

    Returns:
        (H, W).

    Example:
        >>> import numpy as np, deepinternal as di
        >>> print(di.estimators.box_mean(np.array([[0.0, 3.0, 0.0]]), 3))
        [[1. 1. 1.]]
    """
    from scipy.ndimage import uniform_filter

    return uniform_filter(image, side, mode="nearest")


def places(weights: np.ndarray, count: int) -> np.ndarray:
    """Returns positions whose density is proportional to weights, by quantiles instead of random draws.

    Args:
        weights: (H, W), not negative; if all are 0, all positions have the same weight.
        count: Number of positions.

    Returns:
        int32 (count, 2), rows and columns, sorted, and repeated where the weight is large.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> di.estimators.places(np.array([[0.0, 3.0], [1.0, 0.0]]), 4)
        array([[0, 1],
               [0, 1],
               [0, 1],
               [1, 0]], dtype=int32)
    """
    flat = np.ravel(weights).astype(np.float64)
    if not flat.sum() > 0:
        flat = np.ones_like(flat)
    sums = np.cumsum(flat)
    index = np.searchsorted(sums, (np.arange(count) + 0.5) / count * sums[-1], side="right")
    return np.stack(np.unravel_index(index, weights.shape), -1).astype(np.int32)


def crop_places(image: np.ndarray, large: int, small: int, count: int) -> tuple:
    """Returns the corners of crops with texture, both to downscale by 2 and to compare with.

    Args:
        image: (H, W, C) in [0, 1].
        large: Side in pixels of the crops to downscale; their texture is that of the image at half its
            size.
        small: Side in pixels of the crops to compare with.
        count: Number of crops of each kind.

    Returns:
        Two int32 arrays (count, 2) of upper left corners, all even, all crops inside the image.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.random.default_rng(0).uniform(size=(48, 48, 3))
        >>> large, small = di.estimators.crop_places(image, 24, 16, 5)
        >>> large.shape, bool(small.max() <= 48 - 16)
        ((5, 2), True)
    """
    grey = image.mean(-1)
    h, w = grey.shape
    coarse = np.repeat(np.repeat(texture(_half(grey)), 2, 0), 2, 1)
    coarse = np.pad(coarse, [(0, max(0, h - coarse.shape[0])), (0, max(0, w - coarse.shape[1]))])
    corners = []
    for weights, side in ((coarse[:h, :w], large), (texture(grey), small)):
        blurred = box_mean(weights, side // 2)
        reach = side // 2
        centres = blurred[reach : h - side + reach + 1, reach : w - side + reach + 1]
        corners.append(places(centres, count) // 2 * 2)
    return tuple(corners)


def patch_covariances(
    image: np.ndarray, kernel_size: int, *, count: int = 16384
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the covariances of an image's patches, and of the larger patches that they come from.

    The patches of the image downscaled by 2 have the covariance K C K^T, where C is the second result
    and each row of K holds the kernel at the position of one pixel of a patch, minus the mean of the
    rows. Thus their covariance is known for any kernel without downscaling the image.

    Args:
        image: (H, W, C) in [0, 1], with sides of at least 2 * 4 + kernel_size.
        kernel_size: Side of the kernels in pixels.
        count: Number of patches of each kind, taken where there is texture.

    Returns:
        (25, 25) of patches of 5x5 pixels, and (n * n, n * n) of patches of n = 8 + kernel_size pixels,
        of the grey image, each patch without its mean; float32.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.random.default_rng(0).uniform(size=(48, 48, 3))
        >>> fine, coarse = di.estimators.patch_covariances(image, 3, count=100)
        >>> fine.shape, coarse.shape
        ((25, 25), (121, 121))
    """
    grey = image.mean(-1).astype(np.float32)
    half = _half(grey)
    reach = 2 * (SIDE - 1) + kernel_size
    fine = _covariance(grey, SIDE, places(_spread(grey, SIDE), count))
    h, w = (n - reach + 1 for n in grey.shape)
    spread = _spread(half, SIDE)
    rows, columns = (
        np.clip((np.arange(n) + (kernel_size - 1) // 2 + 1) // 2, 0, m - 1)
        for n, m in zip((h, w), spread.shape)
    )
    coarse = _covariance(grey, reach, places(spread[rows][:, columns], count))
    return fine, coarse


def _spread(grey: np.ndarray, side: int) -> np.ndarray:
    """Standard deviations of all patches by upper left corner, clipped at the 97 % quantile."""
    grey, reach = grey.astype(np.float64), side // 2
    variance = box_mean(grey * grey, side) - box_mean(grey, side) ** 2
    spread = np.sqrt(np.maximum(variance, 0))
    spread = spread[
        reach : grey.shape[0] - side + reach + 1, reach : grey.shape[1] - side + reach + 1
    ]
    return without_extremes(spread)


def _covariance(grey: np.ndarray, side: int, corners: np.ndarray) -> np.ndarray:
    patches = np.lib.stride_tricks.sliding_window_view(grey, (side, side))
    chosen = patches[corners[:, 0], corners[:, 1]].reshape(len(corners), -1)
    chosen = chosen - chosen.mean(1, keepdims=True)
    return chosen.T @ chosen / np.float32(len(corners))
