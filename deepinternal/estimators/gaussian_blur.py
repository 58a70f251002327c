"""The blur of an image as a Gaussian, from the distributions of its patches at two scales.

A photograph shows the same structures at several sizes, so that the patches of a sharp photograph have
the same distribution at all scales. The blur of a downscaling breaks this rule, because it has the same
width at every scale. This module finds the Gaussian that makes the patches of the downscaled image most
similar to those of the image. It only compares the covariances of the patches, which are known for any
Gaussian without downscaling the image.

All functions run on the host, with NumPy, in about a second.

References:
    Michaeli and Irani: Nonparametric Blind Super-Resolution. ICCV 2013 (the kernel is the one that
    makes patches recur across scales; they find it by nearest patches).
"""

import dataclasses
import functools
import math

import numpy as np

from deepinternal.estimators.kernel_statistics import FLOOR
from deepinternal.estimators.recurrence import box_mean, without_extremes

SIDE = 7  # side in pixels of the patches whose covariances are compared
RATIO = 1.5  # ratio of the scales that are compared; 2 and 3 gave less certain kernels
REACH = (
    18  # side in pixels of the patches that are downscaled: (SIDE - 1) * RATIO, and a kernel of 9
)
MIDDLE = 768  # side in pixels of the middle of larger images that is used
LEAST = 40  # least side of an image in pixels
_GAIN = 0.2  # expected deviation of the logarithm of the ratio of the contrasts at both scales
_SHARE = (RATIO**2 - 1) / 3  # variance of a Gaussian for RATIO, relative to that for a ratio of 2
_CONFIDENT = 0.01  # weight of that expectation
_STARTS = ((0.8, 1.6), (1.6, 0.8))
_BOUNDS = ((np.log(0.1), np.log(4)), (-3, 3), (np.log(0.1), np.log(4)), (-1, 1))
_ROWS = 16  # number of rows of patches that are multiplied at once
_MILD = 0.02  # fraction of the greatest weight below which a patch is ignored
# The variances of an image's blur as a linear function of the variances at which its patches recur,
# both in square half pixels. Fitted to twelve photographs downscaled by 2 with kernels as in DIV2KRK.
_SLOPE, _OFFSET = 1.2, 0.48
_OWN = 0.23  # variance of the blur that the photographs had before they were downscaled
_NARROWEST, _WIDEST = 0.3, 6.5  # range of the variances of kernels for a factor of 2
# JPEG removes fine detail: the logarithm of the widths grows with the errors beyond a certain size.
_JPEG_SLOPE, _JPEG_FROM = 0.03 * 255, 2.6 / 255
# Logistic regression of whether the correlation with the true kernel is at least .95, fitted to 112
# images downscaled with Gaussians and motions, some with noise.
_CONFIDENCE = {"constant": -0.93, "least": 3.35, "deviation": -0.23, "divergence": -0.77}


@dataclasses.dataclass(frozen=True)
class Blur:
    """An estimate of the blur of an image.

    Attributes:
        covariance: (2, 2), of the blur, for rows and columns, in square pixels of the image.
        widths: The smaller and the larger standard deviation at which patches recur, before
            calibration, in half pixels of the image; cubic downscaling gives about 0.6 and 0.75.
        divergence: The difference that remains between patches of both scales; see
            `losses.kernel.covariance_divergence`.
        deviation: The standard deviation of the logarithms of the widths, from estimates that each
            leave out a quarter of the image.
        spread: The standard deviation in patches with texture, without the part of the noise.
    """

    covariance: np.ndarray
    widths: tuple[float, float]
    divergence: float
    deviation: float
    spread: float

    @property
    def confidence(self) -> float:
        """The probability that the kernel's correlation with the true one is at least 0.95."""
        values = {
            "constant": 1.0,
            "least": math.log(self.widths[0]),
            "deviation": math.log(self.deviation + 0.02),
            "divergence": math.log(self.divergence + 1e-3),
        }
        return 1 / (1 + math.exp(-sum(_CONFIDENCE[name] * x for name, x in values.items())))


def blur(image: np.ndarray, *, noise_std: float = 0.0, compressed: bool = False) -> Blur:
    """Estimates the blur of an image.

    Args:
        image: (H, W, C) in [0, 1], with sides of at least `LEAST`; of larger images only the middle
            `MIDDLE` pixels of each side are used.
        noise_std: Standard deviation of the image's noise or JPEG errors, for images in [0, 1].
        compressed: Whether the image is a JPEG, whose compression smooths it beyond its kernel.

    Returns:
        The estimate. For an image without texture it has no meaning.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> from scipy.ndimage import gaussian_filter
        >>> sharp = np.random.default_rng(0).uniform(size=(40, 40, 1))
        >>> found = di.estimators.blur(gaussian_filter(sharp, (1.5, 0.8, 0)))
        >>> bool(found.covariance[0, 0] > found.covariance[1, 1])
        True
    """
    start = [max(0, (n - MIDDLE) // 2) for n in image.shape[:2]]
    grey = image[start[0] :, start[1] :][:MIDDLE, :MIDDLE].mean(-1).astype(np.float32)
    noise = noise_std / np.sqrt(image.shape[-1])
    quarters = _quarters(grey, noise)
    whole = [_joined(parts) for parts in quarters]
    fit = functools.partial(_fit, noise=noise)
    best = min((fit(*whole, start) for start in map(_packed, _STARTS)), key=lambda found: found[1])
    found = _covariance(best[0])
    logs = [_logarithm(found)]
    for left_out in range(4):
        parts = [[part for n, part in enumerate(four) if n != left_out] for four in quarters]
        logs.append(_logarithm(_covariance(fit(*map(_joined, parts), best[0])[0])))
    changes = sum(np.sum((each - logs[0]) ** 2) for each in logs[1:])
    values, axes = np.linalg.eigh(found)
    if compressed:
        values = values * np.exp(-2 * _JPEG_SLOPE * max(noise_std - _JPEG_FROM, 0))
    return Blur(
        covariance=(axes * (_SLOPE * values + _OFFSET) / 4) @ axes.T,
        widths=tuple(float(x) for x in np.sqrt(values)),
        divergence=float(best[1]),
        deviation=float(np.sqrt(0.75 * changes) / 2),
        spread=float(np.sqrt(max(np.trace(whole[0]) / len(whole[0]) - noise**2, 0))),
    )


def kernel(blur: Blur, *, scale: int, size: int) -> np.ndarray:
    """Returns the Gaussian kernel of a downscaling, without the blur of the photograph before it.

    Args:
        blur: The blur of the low-resolution image.
        scale: Factor of the downscaling, a whole number.
        size: Side K of the kernel, odd.

    Returns:
        float32 (K, K), centred for the factor, summing to 1.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> blur = di.estimators.Blur(np.diag([2.0, 1.0]), (0.7, 1.0), 0.1, 0.1, 0.2)
        >>> kernel = di.estimators.kernel(blur, scale=2, size=13)
        >>> kernel.shape, round(float(kernel.sum()), 3)
        ((13, 13), 1.0)
    """
    values, axes = np.linalg.eigh(blur.covariance)
    limits = _NARROWEST * scale**2 / 4, _WIDEST * scale**2 / 4
    values = np.clip(scale**2 * values - _OWN, *limits)
    (yy, yx), (_, xx) = (axes / values) @ axes.T
    offsets = np.arange(size) - size // 2 - (scale - 1) / 2
    y, x = offsets[:, None], offsets
    made = np.exp(-0.5 * (yy * y * y + 2 * yx * y * x + xx * x * x))
    return np.float32(made / made.sum())


def _quarters(grey: np.ndarray, noise: float) -> tuple[list, list]:
    """Returns moments of small patches and of patches to be downscaled, in each quarter of (H, W)."""
    from scipy.ndimage import zoom

    fine = _weights(grey, noise)
    small = zoom(grey, 1 / RATIO, order=1, mode="grid-mirror", grid_mode=True)
    coarse = _weights(small, noise / RATIO)
    centres = [
        np.round((np.arange(n - REACH + 1) + REACH / 2) / RATIO - SIDE / 2).astype(int)
        for n in grey.shape
    ]
    rows, columns = (np.clip(c, 0, n - 1) for c, n in zip(centres, coarse.shape))
    found = []
    for weights, side in ((fine, SIDE), (coarse[rows][:, columns], REACH)):
        h, w = weights.shape
        weights = np.where(weights > _MILD * weights.max(), weights, 0)
        corners = [(slice(0, h // 2), slice(h // 2, h)), (slice(0, w // 2), slice(w // 2, w))]
        found.append([_moments(grey, side, weights, y, x) for y in corners[0] for x in corners[1]])
    return tuple(found)


def _weights(grey: np.ndarray, noise: float) -> np.ndarray:
    """The variances of all patches by upper left corner, without that of the noise."""
    grey, reach = grey.astype(np.float64), SIDE // 2
    variance = box_mean(grey * grey, SIDE) - box_mean(grey, SIDE) ** 2
    h, w = grey.shape
    spread = np.sqrt(np.maximum(variance - noise**2, 0))[reach : h - reach, reach : w - reach]
    return without_extremes(spread) ** 2


def _moments(grey, side: int, weights, rows: slice, columns: slice) -> tuple[np.ndarray, float]:
    """The weighted sum of the products of patches without their means, and the sum of weights."""
    windows = np.lib.stride_tricks.sliding_window_view(grey, (side, side))
    total = np.zeros((side * side, side * side))
    for row in range(rows.start, rows.stop, _ROWS):
        row = slice(row, min(row + _ROWS, rows.stop))
        weight = weights[row, columns]
        kept = weight > 0
        if not kept.any():
            continue
        patches = windows[row, columns][kept].reshape(kept.sum(), -1)
        patches = patches - patches.mean(1, keepdims=True)
        patches *= np.sqrt(weight[kept, None]).astype(np.float32)
        total += patches.T @ patches
    return total, float(weights[rows, columns].sum())


def _joined(parts: list[tuple[np.ndarray, float]]) -> np.ndarray:
    """The covariance from the moments of several parts of an image."""
    return sum(part[0] for part in parts) / max(sum(part[1] for part in parts), 1e-12)


def _fit(
    fine: np.ndarray, coarse: np.ndarray, start: np.ndarray, *, noise: float
) -> tuple[np.ndarray, float]:
    """Returns the packed Gaussian under which the covariances agree best, and their divergence."""
    from scipy.optimize import minimize

    n = len(fine)
    level = FLOOR**2 * np.eye(n) + noise**2 * (np.eye(n) - 1 / n)
    fine = fine + FLOOR**2 * np.eye(n)
    inverse = np.linalg.inv(fine)
    coarse = coarse - noise**2 * np.eye(len(coarse))

    def divergence(packed: np.ndarray) -> tuple[float, np.ndarray]:
        """The divergence, and its gradient."""
        factor, rows = _factor(packed), _rows(_covariance(packed) * _SHARE)
        centred = rows - rows.mean(0)
        half = np.exp(packed[3] * np.log2(RATIO)) * (centred @ coarse)
        product = half @ centred.T
        made = np.linalg.inv(product + level)
        value = (np.sum((product + level) * inverse) + np.sum(made * fine)) / (2 * n) - 1
        slope = (inverse - made @ fine @ made) / (2 * n)
        of_rows = 2 * slope @ half
        of_rows -= of_rows.mean(0)
        of_factor = 2 * _SHARE * _rows_gradient(packed, rows, of_rows) @ factor
        gradient = of_factor[[0, 1, 1], [0, 0, 1]] * [factor[0, 0], 1, factor[1, 1]]
        return value, np.append(gradient, np.sum(slope * product) * np.log2(RATIO))

    def cost(packed: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = divergence(packed)
        gradient[3] += 2 * _CONFIDENT * packed[3] / _GAIN**2
        return value + _CONFIDENT * (packed[3] / _GAIN) ** 2, gradient

    options = {"maxiter": 60, "ftol": 1e-7}
    made = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=_BOUNDS, options=options)
    return made.x, divergence(made.x)[0]


def _rows(covariance: np.ndarray) -> np.ndarray:
    """Gaussians at the pixels of a downscaled patch: (SIDE * SIDE, REACH * REACH)."""
    (yy, yx), (_, xx) = np.linalg.inv(covariance)
    y, x = _offsets()
    rows = np.exp(-0.5 * (yy * y * y + 2 * yx * y * x + xx * x * x)).reshape(SIDE * SIDE, -1)
    return rows / np.maximum(rows.sum(1, keepdims=True), 1e-30)


def _rows_gradient(packed: np.ndarray, rows: np.ndarray, of_rows: np.ndarray) -> np.ndarray:
    """The gradient with respect to the covariance of Gaussians (2, 2), from that of `_rows`."""
    of_logs = rows * (of_rows - np.sum(rows * of_rows, 1, keepdims=True))
    of_logs = of_logs.reshape(SIDE, SIDE, REACH, REACH)
    y, x = _offsets()
    yx = np.sum(of_logs * (y * x))
    of_inverse = -0.5 * np.array([[np.sum(of_logs * y * y), yx], [yx, np.sum(of_logs * x * x)]])
    inverse = np.linalg.inv(_covariance(packed) * _SHARE)
    return -inverse @ of_inverse @ inverse


def _offsets() -> tuple[np.ndarray, np.ndarray]:
    """Distances in pixels along both axes between a large patch's pixels and a downscaled patch's."""
    places = (REACH - 1) / 2 + (np.arange(SIDE) - (SIDE - 1) / 2) * RATIO
    offsets = np.arange(REACH) - places[:, None]
    return offsets[:, None, :, None], offsets[None, :, None, :]


def _packed(widths: tuple[float, float]) -> np.ndarray:
    """The parameters of a Gaussian along the axes, and of an equal contrast."""
    return np.array([np.log(widths[0]), 0, np.log(widths[1]), 0])


def _covariance(packed: np.ndarray) -> np.ndarray:
    """The covariance from its logarithmic Cholesky factor."""
    return _factor(packed) @ _factor(packed).T


def _factor(packed: np.ndarray) -> np.ndarray:
    return np.array([[np.exp(packed[0]), 0], [packed[1], np.exp(packed[2])]])


def _logarithm(covariance: np.ndarray) -> np.ndarray:
    """The logarithm of a positive definite matrix."""
    values, axes = np.linalg.eigh(covariance)
    return (axes * np.log(values)) @ axes.T
