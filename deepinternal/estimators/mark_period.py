"""How a mark repeats over an image, from the autocorrelation of the directions of its edges."""

import numpy as np
from scipy import ndimage

_SHORTEST = 24  # pixels
_SOFT = 0.02  # contrast from which an edge counts fully
_NEAR = 10  # lags on both sides, among which one must stand out
_LEAST = 0.05  # by how much its autocorrelation must exceed theirs
_DISTINCT = 5.0  # the same, in standard deviations
_SHARE = 0.5  # of the greatest excess that the shortest period has at least


def search_period(image: np.ndarray) -> tuple[int, int] | None:
    """Searches for the period of a mark that repeats along both axes.

    Args:
        image: (H, W, C) in [0, 1].

    Returns:
        The period along rows and columns, (down, across) in pixels; None: nothing repeats.
    """
    table = _autocorrelation(np.asarray(image, np.float64).mean(-1))
    found = [_peak(line) for line in (table[:, 0], table[0])]
    return None if None in found else tuple(found)


def repeated_nodes(shape: tuple[int, int], period: tuple[int, int]) -> np.ndarray:
    """Numbers the pixels (H, W) of an image so that those at a distance of the period are equal."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return y % period[0] * period[1] + x % period[1]


def _autocorrelation(grey: np.ndarray) -> np.ndarray:
    """The mean autocorrelation (H, W) of the signs of the slopes along both axes."""
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
    """The shortest lag below half of the length that stands out, if one does."""
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
