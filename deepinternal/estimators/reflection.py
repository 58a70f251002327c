"""The reflection on a window in front of a scene, from one photograph or several: I = B + R.

The camera is focused on the background B, so that the reflection R is soft, and its edges are wider
than those of B (the relative smoothness of Li and Brown). Each gradient is assigned to one of the
layers by the width of the edges around it, and R is the image that has the soft gradients. The
gradients do not determine the mean of R, which lies between two bounds: R is nowhere negative, and B
has pixels that are almost black.

All functions run on the host, with NumPy and SciPy.

References:
    Li and Brown: Single Image Layer Separation using Relative Smoothness. CVPR 2014.
    Wan, Shi, Hwee, Kot: Depth of Field Guided Reflection Removal. ICIP 2016 (edges are assigned to the
    layers by their widths).
    Zhuo and Sim: Defocus Map Estimation from a Single Image. Pattern Recognition 2011 (widths of edges
    from the ratio of gradients at two scales).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import fft, ndimage

_FINE, _MIDDLE, _COARSE = 0.6, 1.6, 8.0  # standard deviations of Gaussian gradients, in pixels
_POOL = 2.5  # standard deviation in pixels of the window in which gradients are compared
_SOFT, _SHARP = 0.1, 0.45  # sharpness up to which, and from which, gradients are R's and B's
_SHADING = 0.3  # excess of the middle over the coarse gradients from which an edge is not shading
_REACH = 20.0  # pixels beyond which the soft gradients do not determine R
_DARKEST = 0.04  # value of the darkest pixels of a background
_LOW, _LEAST = 0.5, 2.0  # percentiles that are used as the smallest values of B and of R
_NOISE = 1e-4  # size of gradients below which they have little effect on comparisons


@dataclasses.dataclass(frozen=True)
class Reflection:
    """An estimate of a reflection.

    Attributes:
        layer: (H, W, C) between 0 and the image.
        soft: The fraction of the image's squared gradients that belong to soft edges, in [0, 1].
        light: The mean of the layer relative to that of the image, in [0, 1].
    """

    layer: np.ndarray
    soft: float
    light: float


def soft_reflection(image: np.ndarray) -> Reflection:
    """Estimates the soft reflection in a photograph.

    Args:
        image: (H, W, C) in [0, 1].

    Returns:
        The reflection. The background is the image minus its layer.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> from scipy.ndimage import gaussian_filter
        >>> sharp, soft = np.random.default_rng(0).uniform(0, 0.5, (2, 48, 48, 3))
        >>> sharp = sharp.repeat(2, 0).repeat(2, 1)[:48, :48]
        >>> found = di.estimators.soft_reflection(sharp + gaussian_filter(soft, (4, 4, 0)))
        >>> found.layer.shape, 0 <= found.soft <= 1
        ((48, 48, 3), True)
    """
    image = np.asarray(image, np.float64)
    softness = _softness(image)
    layer = _integrated(*_shared(image, softness), _REACH)
    # The two bounds of the mean of each colour: the darkest pixels of B, and those of R.
    dark = np.percentile(image - layer, _LOW, axis=(0, 1)) - _DARKEST
    least = -np.percentile(layer, _LEAST, axis=(0, 1))
    layer = np.clip(layer + (dark + least) / 2, 0, image)
    squares = _gradients(image, _MIDDLE) ** 2
    soft = np.sum(softness * squares) / (np.sum(squares) + 1e-12)
    light = np.mean(layer) / (np.mean(image) + 1e-12)
    return Reflection(layer.astype(np.float32), float(soft), float(light))


def _gradients(image: np.ndarray, std: float) -> np.ndarray:
    """Returns the magnitude (H, W) of the gradients of a blurred image over all colours."""
    parts = [
        ndimage.gaussian_filter(image, (std, std, 0), order=(*order, 0))
        for order in ((1, 0), (0, 1))
    ]
    return np.sqrt(sum(np.sum(x * x, axis=-1) for x in parts))


def _excess(fine: np.ndarray, coarse: np.ndarray, std: float) -> np.ndarray:
    """Returns the relative excess of the fine over the coarse gradients around each pixel."""
    fine, coarse = (np.sqrt(ndimage.gaussian_filter(x * x, std)) for x in (fine, coarse))
    return fine / (coarse + _NOISE) - 1


def _softness(image: np.ndarray) -> np.ndarray:
    """Returns how soft the edges around each pixel are, (H, W) in [0, 1]; 0 for shading."""
    fine, middle, coarse = (_gradients(image, std) for std in (_FINE, _MIDDLE, _COARSE))
    # The excess of the sharpest possible edge, a step blurred by a Gaussian of half a pixel.
    sharpest = np.sqrt((0.25 + _MIDDLE**2) / (0.25 + _FINE**2)) - 1
    sharpness = _excess(fine, middle, _POOL) / sharpest
    soft = 1 - np.clip((sharpness - _SOFT) / (_SHARP - _SOFT), 0, 1)
    return soft * np.clip(_excess(middle, coarse, _MIDDLE) / _SHADING, 0, 1)


def still_background(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the still background in frames of a scene behind a moving reflection.

    The gradients of the background are the medians of the gradients of the frames, because an edge of
    the reflection is at the same pixel in only few frames. The mean of each colour is the greatest one
    for which the frames are almost nowhere darker than the background.

    Args:
        frames: At least three aligned images (H, W, C) in [0, 1].

    Returns:
        (H, W, C) in [0, 1].

    Example:
        >>> import numpy as np, deepinternal as di
        >>> background = np.random.default_rng(0).uniform(0, 0.5, (24, 24, 1))
        >>> frames = np.stack([background] * 3)
        >>> for number, frame in enumerate(frames):
        ...     frame[8 * number : 8 * number + 8] += 0.25  # a reflection that moves
        >>> still = di.estimators.still_background(frames)
        >>> bool(np.std(still - background) < 0.01)
        True

    References:
        Weiss: Deriving Intrinsic Images from Image Sequences. ICCV 2001.
    """
    frames = np.asarray(frames, np.float64)
    along_x, along_y = (np.median(np.diff(frames, axis=axis), axis=0) for axis in (2, 1))
    still = _integrated(along_x, along_y, np.inf)
    room = np.percentile(np.min(frames, axis=0) - still, _LEAST, axis=(0, 1))
    return np.clip(still + room, 0, 1).astype(np.float32)


def _shared(image: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the gradients of an image along both axes, multiplied by a share (H, W) of each pixel."""
    along_x = np.diff(image, axis=1) * ((share[:, 1:] + share[:, :-1]) / 2)[..., None]
    along_y = np.diff(image, axis=0) * ((share[1:] + share[:-1]) / 2)[..., None]
    return along_x, along_y


def _integrated(along_x: np.ndarray, along_y: np.ndarray, reach: float) -> np.ndarray:
    """Returns the image (H, W, C) whose gradients are closest to the given ones.

    The image minimises the squared errors of its gradients, plus its squared values divided by the
    square of `reach`; the cosine transform solves this. If `reach` is infinite, the mean is 0.
    """
    height, width = along_x.shape[0], along_y.shape[1]
    right = np.zeros((height, width, along_x.shape[-1]))
    right[:, 1:] += along_x
    right[:, :-1] -= along_x
    right[1:] += along_y
    right[:-1] -= along_y
    rows, columns = (2 - 2 * np.cos(np.pi * np.arange(n) / n) for n in (height, width))
    divisor = rows[:, None] + columns + 1 / reach**2
    divisor[0, 0] = max(divisor[0, 0], 1e-12)
    spectrum = fft.dctn(right, axes=(0, 1), norm="ortho") / divisor[..., None]
    if np.isinf(reach):
        spectrum[0, 0] = 0
    return fft.idctn(spectrum, axes=(0, 1), norm="ortho")
