"""The period of a mark that repeats over an image, from the autocorrelation of the signs of slopes."""

import numpy as np
from scipy import ndimage

_SHORTEST = 24  # shortest period in pixels
_SOFT = 0.02  # contrast at which an edge has half its weight
_NEAR = 10  # number of lags on both sides that a period is compared with
_LEAST = 0.05  # smallest excess of the autocorrelation of a period over that of the lags around it
_DISTINCT = 5.0  # the same, in standard deviations
_SHARE = 0.5  # smallest excess of the shortest period, as a fraction of the greatest excess


def search_period(image: np.ndarray) -> tuple[int, int] | None:
    """Searches for the period of a mark that repeats along both axes.

    Args:
        image: (H, W, C) in [0, 1].

    Returns:
        The period (vertical, horizontal) in pixels; None if no mark repeats.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> tile = np.random.default_rng(0).uniform(size=(30, 40, 1))
        >>> di.estimators.search_period(np.tile(tile, (4, 4, 1)))
        (30, 40)
    """
    table = _autocorrelation(np.asarray(image, np.float64).mean(-1))
    found = [_peak(line) for line in (table[:, 0], table[0])]
    return None if None in found else tuple(found)


def repeated_nodes(shape: tuple[int, int], period: tuple[int, int]) -> np.ndarray:
    """Numbers the pixels (H, W) of an image; pixels that are a period apart have the same number.

    Example:
        >>> import deepinternal as di
        >>> di.estimators.repeated_nodes((2, 6), (2, 3))
        array([[0, 1, 2, 0, 1, 2],
               [3, 4, 5, 3, 4, 5]])
    """
    y, x = np.mgrid[: shape[0], : shape[1]]
    return y % period[0] * period[1] + x % period[1]


def _autocorrelation(grey: np.ndarray) -> np.ndarray:
    """Returns the mean autocorrelation (H, W) of the signs of the slopes along both axes."""
    total = np.zeros(grey.shape)
    h, w = grey.shape
    count = np.outer(np.arange(h, 0, -1), np.arange(w, 0, -1))
    for axis in (0, 1):
        slope = np.diff(grey, axis=axis, append=grey.take([-1], axis))
        slope = slope / (np.abs(slope) + _SOFT)
        slope -= slope.mean()
        power = np.square(np.abs(np.fft.rfft2(slope, (2 * h, 2 * w))))
        variance = max(np.square(slope).mean(), 1e-9)
        total += np.fft.irfft2(power)[:h, :w] / count / variance / 2
    return total


def _peak(line: np.ndarray) -> int | None:
    """Returns the shortest lag below half the length whose autocorrelation stands out, or None."""
    lags = np.arange(_SHORTEST, len(line) // 2)
    if not len(lags):
        return None
    near = [*range(-_NEAR, -1), *range(2, _NEAR + 1)]
    excess = line[lags] - np.median([line[lags + n] for n in near], axis=0)
    spread = 1.4826 * np.median(np.abs(excess))
    if excess.max() < max(_LEAST, _DISTINCT * spread):
        return None
    highest = excess == ndimage.maximum_filter1d(excess, 2 * _NEAR + 1)
    return int(lags[np.flatnonzero(highest & (excess > _SHARE * excess.max()))[0]])
