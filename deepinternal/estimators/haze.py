"""How much haze an image has, and the transmission of its haze, from the darkest colours of windows.

The dark channel D of the image divided by the airlight is 1 - t + t * j, where j is the dark channel of
the scene, which is small if the window holds something dark (He, Sun, Tang, CVPR 2009). So the
transmission t is (1 - D) / (1 - j). A bright scene without haze and a scene in haze can have the same
dark channel; therefore only a part of the haze is removed from an image with little evidence of haze.

Everything runs on the host, in NumPy. Images are (H, W, C) in [0, 1], C = 1 or 3.
"""

import numpy as np
import scipy.ndimage

from deepinternal.ops.resizing import resize_matrix

SIDE = 320  # greatest side in pixels of the image from which haziness and airlight are estimated
# The constants below except `_DARKEST` were chosen on half of the synthetic scenes of
# benchmarks/decomposition/haze.py.
# The dark channel j of a scene: the median of photographs without haze; that half would prefer 0.08.
_DARKEST = 0.11
_WINDOW = 0.1  # side of the windows of the transmission, as a fraction of the image's greatest side
_WIDE = 0.2  # the same for the haziness
_TEXTURE = 0.03  # standard deviation above which a window is used for the haziness
_LITTLE, _SOME = 0.34, 0.46  # haziness from which haze is removed, and from which `_PART` of it is
_LIGHT, _DENSE = (
    0.5,
    0.75,
)  # haziness up to which `_PART` of the haze is removed, and from which all is
MUCH = _PART = 0.85
_SMOOTH = 0.02  # width of the transition to the least transmission
# Of the guided filter; the radius is a fraction of the image's greatest side.
_RADIUS, _RIDGE = 0.09, 3e-3


def reduced(image: np.ndarray, *, side: int = SIDE) -> np.ndarray:
    """Reduces an image to at most `side` pixels; each pixel is the mean of the area it covers.

    Args:
        image: (H, W, C).
        side: Greatest side in pixels.

    Returns:
        (h, w, C) float32; an image that is not larger keeps its size.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> di.estimators.reduced(np.zeros((100, 200, 3)), side=50).shape
        (25, 50, 3)
    """
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return np.asarray(image, np.float32)
    shape = tuple(max(round(n * scale), 1) for n in image.shape[:2])
    return resized(image, shape, "box")


def resized(image: np.ndarray, shape: tuple[int, int], method: str) -> np.ndarray:
    """Resizes an image (H, W, ...) on the host as `ops.resizing.resize` does; returns float32.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> print(di.estimators.resized(np.array([[0.0, 1.0], [2.0, 3.0]]), (1, 1), "box"))
        [[1.5]]
    """
    rows, columns = (
        np.float32(resize_matrix(old, new, new / old, method=method))
        for old, new in zip(image.shape, shape)
    )
    image = np.tensordot(rows, np.asarray(image, np.float32), (1, 0))
    return np.moveaxis(np.tensordot(columns, image, (1, 1)), 0, 1)


def dark_channel(image: np.ndarray, window: int) -> np.ndarray:
    """Returns the smallest value of all channels in windows of odd side, (H, W).

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.full((4, 4, 3), 0.5)
        >>> image[0, 0, 1] = 0.125
        >>> di.estimators.dark_channel(image, 3)
        array([[0.125, 0.125, 0.5  , 0.5  ],
               [0.125, 0.125, 0.5  , 0.5  ],
               [0.5  , 0.5  , 0.5  , 0.5  ],
               [0.5  , 0.5  , 0.5  , 0.5  ]])
    """
    return scipy.ndimage.minimum_filter(image.min(axis=-1), window, mode="nearest")


def contrast(image: np.ndarray, window: int) -> np.ndarray:
    """Returns the standard deviation of the brightness in windows, (H, W).

    Example:
        >>> import numpy as np, deepinternal as di
        >>> checks = np.indices((4, 4)).sum(axis=0) % 2.0
        >>> float(di.estimators.contrast(checks[..., None], 4)[2, 2])
        0.5
    """
    grey = np.float64(image.mean(axis=-1))
    return np.sqrt(np.maximum(_mean(grey**2, window) - _mean(grey, window) ** 2, 0))


def haziness(image: np.ndarray, airlight: np.ndarray) -> float:
    """Returns how bright the darkest colours of an image's textured parts are.

    Smooth parts are ignored, since a clear sky looks like dense haze.

    Args:
        image: (H, W, C), at most `SIDE` pixels long.
        airlight: (C,).

    Returns:
        The mean of the third quartile and the ninth decile of the dark channel of image / airlight over
        windows with texture; 0 for an image without texture. Photographs without haze have values from
        0 to 0.37, mostly below 0.3.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> clear = np.random.default_rng(0).uniform(size=(40, 40, 3))
        >>> hazy, airlight = 0.4 * clear + 0.6, np.ones(3)
        >>> [round(di.estimators.haziness(image, airlight), 2) for image in (clear, hazy)]
        [0.01, 0.6]
    """
    window = _odd(_WIDE, image.shape)
    dark = dark_channel(image / airlight, window)
    textured = dark[contrast(image, window) > _TEXTURE]
    if textured.size < dark.size / 500:
        return 0.0
    return float(np.percentile(textured, (75, 90)).mean())


def removable(haziness: float) -> float:
    """Returns the fraction of the estimated haze to be removed from an image, given its `haziness`.

    Example:
        >>> import deepinternal as di
        >>> [round(di.estimators.removable(haziness), 2) for haziness in (0.3, 0.4, 0.5, 0.8)]
        [0.0, 0.42, 0.85, 1.0]
    """
    much = _PART + (1 - _PART) * _rise(haziness, _LIGHT, _DENSE)
    return much * _rise(haziness, _LITTLE, _SOME)


def transmission(
    image: np.ndarray,
    airlight: np.ndarray,
    *,
    amount: float = 1.0,
    floor: float = 0.0,
    guide: np.ndarray | None = None,
) -> np.ndarray:
    """Estimates the transmission from the dark channel, with the edges of the image.

    Args:
        image: (h, w, C), the image, or a smaller version of it.
        airlight: (C,).
        amount: Fraction of the haze that is removed, in [0, 1].
        floor: The smallest transmission, in [0, 1). It is approached smoothly, since a kink would be
            visible as an arc in the sky.
        guide: (H, W, C), the full image; None: `image` is the full one.

    Returns:
        (H, W) float32 in [floor, 1]; 1 means that nothing is removed.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> scene = np.random.default_rng(0).uniform(size=(40, 40, 3)) ** 3
        >>> hazy = 0.4 * scene + 0.6
        >>> made = di.estimators.transmission(hazy, np.ones(3))
        >>> made.shape, round(float(made.mean()), 1)
        ((40, 40), 0.4)
    """
    guide = image if guide is None else guide
    dark = dark_channel(image / airlight, _odd(_WINDOW, image.shape))
    t = np.clip((1 - dark) / (1 - _DARKEST), 0, 1)
    slope, offset = _guided(image.mean(axis=-1), t, 2 * round(_RADIUS * max(image.shape)) + 1)
    if guide.shape != image.shape:
        slope, offset = (resized(x, guide.shape[:2], "linear") for x in (slope, offset))
    t = np.clip(slope * guide.mean(axis=-1) + offset, -1, 1)
    t = np.maximum(t, 1 - (guide / airlight).min(axis=-1))  # less would give negative colours
    t = 1 - amount * (1 - t)
    above = (t - floor) / _SMOOTH
    return np.float32(np.minimum(floor + _SMOOTH * np.logaddexp(0, above), 1))


def _guided(guide: np.ndarray, target: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """The functions of the guided filter for a grey guide, as in `ops.filters.guided_functions`."""
    guide, target = np.float64(guide), np.float64(target)
    middle, level = _mean(guide, window), _mean(target, window)
    covariance = _mean(guide * target, window) - middle * level
    slope = covariance / (_mean(guide**2, window) - middle**2 + _RIDGE)
    return _mean(slope, window), _mean(level - slope * middle, window)


def _mean(x: np.ndarray, window: int) -> np.ndarray:
    """The mean over the part of each window that lies inside the image (H, W)."""
    total = scipy.ndimage.uniform_filter(np.float64(x), window, mode="constant")
    return total / scipy.ndimage.uniform_filter(np.ones(x.shape), window, mode="constant")


def _odd(fraction: float, shape: tuple[int, ...]) -> int:
    return 2 * max(round(fraction * max(shape[:2]) / 2), 1) + 1


def _rise(x: float, low: float, high: float) -> float:
    """Rises smoothly from 0 at `low` to 1 at `high`."""
    x = min(max((x - low) / (high - low), 0), 1)
    return x * x * (3 - 2 * x)
