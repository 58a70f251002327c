"""Noise in the flat windows of an image: its level by brightness, and its spectrum."""

from typing import NamedTuple

import numpy as np

from deepinternal.estimators.clipping import clipped_mean_inverse, clipped_variance
from deepinternal.ops.color import OPPONENT
from deepinternal.ops.dct import dct_matrix, dct_orders

SIDE = 16  # side of the windows that measure the spectrum

_SMALL = 6  # side of those that measure white noise
_GRIDS = {
    _SMALL: 112,
    SIDE: 64,
}  # greatest number of windows along each side, by the side of a window
_BINS = 8  # of equally many windows by brightness
_FLAT = {
    _SMALL: 0.1,
    SIDE: 0.03,
}  # share of the windows of a bin that is used, the flattest
_LEAST = {_SMALL: 40, SIDE: 8}  # least number of windows that a bin uses
_DIRECTIONS = 0.2  # share of the principal directions that is used, those that vary least
_MARGIN = 1.0  # least distance of a window's mean from black and white in standard deviations
_FLOOR = 0.05 / 255  # standard deviation that counts as none
_ROUNDING = 0.3 / 255  # standard deviation of the rounding to 8 bits
_GROWTH = 2.0  # greatest power of 1 / frequency with which the power of chroma grows
_STEEP = 5.0  # greatest slope; steeper ones depend on the rounding


class Levels(NamedTuple):
    """The noise by brightness, in the flat windows.

    Attributes:
        mean: (B, C), the brightness of the bins of each channel.
        variance: (B, C), the variance of the noise there before clipping.
        weight: (B, C), how much each bin tells; 0 for bins without windows.
    """

    mean: np.ndarray
    variance: np.ndarray
    weight: np.ndarray


class Spectrum(NamedTuple):
    """The noise by frequency, in the flat windows.

    Attributes:
        levels: Variances by brightness over all frequencies.
        power: (16, 16, C), the variance of each coefficient of the discrete cosine transform, with mean
            1 over the frequencies; of luma and both chroma channels, see `ops.color.OPPONENT`, if the
            image has colour.
        mixing: (C,), the variances of luma and chroma, relative to those of noise of the same levels
            that is independent in the channels; 1 for grey.
        slope: Square root of the ratio of the variances at middle and at high frequencies, the least of
            all brightnesses; about 1 for white noise, and at most 5.
        alike: The greatest of these square roots, relative to the least.
        excess: How much the energy at middle frequencies varies among flat windows, as a variance
            relative to that for noise; 1 to 3 for noise and more for texture.
    """

    levels: Levels
    power: np.ndarray
    mixing: np.ndarray
    slope: float
    alike: float
    excess: float


def white_levels(image: np.ndarray, std: np.ndarray) -> tuple[Levels, np.ndarray]:
    """Measures white noise by brightness and channel.

    Windows are ranked by the energy of their low frequencies, which is independent of white noise in
    high ones; the flattest of each brightness are kept. Texture that remains in the high frequencies
    lies in few principal directions, so that the directions of least variance measure the noise, see
    `estimators.noise.noise_std`, which does the same for all channels and brightnesses together.

    Args:
        image: (H, W, C) in [0, 1], both sides at least 16.
        std: (C,), a first estimate of the noise.

    Returns:
        The levels of each channel, and the variance (C,) over all brightnesses, for which the channels
        are compared with each other, so that their common texture is told apart.
    """
    windows, halves = _windows(image, _SMALL)
    means = windows.mean(axis=(2, 3))
    found = _transformed(windows)
    orders = dct_orders(_SMALL)
    rank = np.sum(found[:, :, (orders > 0) & (orders < _SMALL)] ** 2, axis=(1, 2))
    usable, factor = _unclipped(means, std)
    chosen = _flattest(rank, means.mean(axis=1), usable, _SMALL)
    high, means, halves = found[chosen][:, :, orders >= _SMALL], means[chosen], halves[chosen]
    high *= np.sqrt(factor[chosen])[..., None]
    energies = np.stack([_least_directions(x, halves) for x in high.swapaxes(0, 1)], axis=-1)
    levels = Levels(*map(np.array, zip(*_by_brightness(energies, means))))
    scale = np.sqrt(np.maximum(np.median(levels.variance, axis=0), _FLOOR**2))
    joint = _least_directions((high / scale[:, None]).reshape(len(high), -1), halves)
    common = [np.mean(joint[part]) for part in _parts(means.mean(axis=1))]
    return levels, np.median(common) * scale**2


def spectrum(image: np.ndarray, std: np.ndarray) -> Spectrum:
    """Measures noise by frequency.

    Frequencies are divided into two halves like the squares of a checkerboard. The windows that are
    flattest in one half measure the other half, so that the choice does not favour weak noise.

    Args:
        image: (H, W, C) in [0, 1], both sides at least 16.
        std: (C,), a first estimate of the noise.

    Returns:
        The spectrum.
    """
    windows, _ = _windows(image, SIDE)
    means = windows.mean(axis=(2, 3))
    usable, factor = _unclipped(means, std)
    found = _transformed(windows) * np.sqrt(factor)[..., None, None]
    energies = found**2, _opponent(found) ** 2
    energy = energies[1]
    radius, half = np.hypot(*np.indices((SIDE, SIDE))), dct_orders(SIDE) % 2
    middle, high = (radius >= 4.5) & (radius < 9), radius >= 15
    found, brightness, spread, plain = [], [], [], []
    for own in (half == 0, half == 1):
        rank = np.sum(energy[:, :, ~own & (radius > 1.5) & (radius <= 12)], axis=(1, 2))
        flat = _flattest(rank, means.mean(axis=1), usable, SIDE)
        parts = [np.flatnonzero(flat)[part] for part in _parts(means[flat].mean(axis=1))]
        found.append([np.where(own, np.mean(energy[part], axis=0), 0) for part in parts])
        plain.append(
            [np.mean(energies[0][part][:, :, own & (radius >= 3)], axis=0) for part in parts]
        )
        brightness.append([np.mean(means[part], axis=0) for part in parts])
        spread.append([_excess(energy[part][:, :, own & middle]) for part in parts])
    found, brightness, spread = np.sum(found, 0), np.mean(brightness, 0), np.mean(spread, 0)
    # Bins in which the flattest windows still have texture are left out.
    kept = spread <= max(2 * spread.min(), 3)
    slopes = found[:, :, middle].mean((1, 2)) / np.maximum(
        found[:, :, high].mean((1, 2)), _ROUNDING**2
    )
    slopes = np.minimum(np.sqrt(slopes[kept]), _STEEP)
    total = np.maximum(found[:, :, radius >= 3].mean(axis=2), _FLOOR**2)
    power = np.mean((found / total[..., None, None])[kept], axis=0)
    power[:, radius < 2] = _lowest(power, radius)
    power = np.maximum(power, 1e-9)  # of no noise at all
    above = power[:, radius >= 3].mean(axis=1) / power.mean(axis=(1, 2))
    variance = total / above
    # The variances of the channels themselves, with the same sum.
    plain = np.concatenate(plain, axis=2).mean(axis=2)
    plain *= np.sum(variance, axis=1, keepdims=True) / np.maximum(
        np.sum(plain, axis=1, keepdims=True), _FLOOR**2
    )
    mixing = variance / np.maximum(_opponent_variance(plain), _FLOOR**2)
    weight = np.broadcast_to((kept / np.maximum(spread, 1) ** 2)[:, None], total.shape)
    return Spectrum(
        levels=Levels(brightness, plain, weight),
        power=np.moveaxis(power / power.mean(axis=(1, 2), keepdims=True), 0, -1),
        mixing=np.median(mixing[kept], axis=0),
        slope=float(np.min(slopes)),
        alike=float(np.max(slopes) / max(np.min(slopes), 1e-9)),
        excess=float(np.median(spread)),
    )


def _opponent(windows: np.ndarray) -> np.ndarray:
    """Turns RGB (N, 3, side, side) into luma and two chroma channels; grey stays grey."""
    return windows if windows.shape[1] == 1 else np.einsum("oc,nchw->nohw", OPPONENT, windows)


def _opponent_variance(variance: np.ndarray) -> np.ndarray:
    """The variances of luma and chroma, for those (B, C) of independent channels."""
    return variance if variance.shape[1] == 1 else variance @ OPPONENT.T**2


def _lowest(power: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """The power (C, F) of the lowest frequencies, which are those of the image in flat windows too.

    That of luma is continued evenly, that of chroma grows as it does from the next frequencies on,
    because cameras smooth the noise of chroma widely.
    """
    near, far = ((radius >= a) & (radius < b) for a, b in ((2, 3.2), (3.2, 5)))
    first, second = (np.mean(power[:, band], axis=1) for band in (near, far))
    steps = [np.log(np.mean(radius[band])) for band in (near, far)]
    growth = np.log(np.maximum(first, 1e-9) / np.maximum(second, 1e-9)) / (steps[1] - steps[0])
    growth = np.where(np.arange(len(power)) > 0, np.clip(growth, 0, _GROWTH), 0)
    ratio = np.exp(steps[0]) / np.maximum(radius[radius < 2], 1)
    return first[:, None] * ratio ** growth[:, None]


def _windows(image: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows all over the image, (N, C, side, side), and in which half of a checkerboard each is."""
    starts = [np.unique(np.linspace(0, n - side, _GRIDS[side]).round()) for n in image.shape[:2]]
    y, x = (start.astype(int) for start in starts)
    windows = np.lib.stride_tricks.sliding_window_view(image, (side, side), axis=(0, 1))[y][:, x]
    square = min(SIDE, -(-min(image.shape[:2]) // 2))
    halves = np.add.outer(y // square, x // square) % 2
    return windows.reshape(-1, *windows.shape[2:]), halves.ravel()


def _transformed(windows: np.ndarray) -> np.ndarray:
    """The discrete cosine transform of windows, of the same shape."""
    matrix = dct_matrix(windows.shape[-1])
    return matrix @ windows @ matrix.T


def _unclipped(means: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which windows are far enough from black and white, and what clipping took from the variances.

    Args:
        means: (N, C), the means of windows.
        std: (C,), of the noise.

    Returns:
        Bool (N,), and factors (N, C).
    """
    clean = clipped_mean_inverse(means, std)
    nearest = np.minimum(clean, 1 - clean)
    for margin in (_MARGIN, 0.25, 0.0):
        usable = np.all(nearest >= np.maximum(margin * std, 1e-3), axis=1)
        if np.sum(usable) >= 4 * _LEAST[_SMALL]:
            break
    else:
        usable = np.ones(len(means), bool)
    variance = clipped_variance(clean, std)
    return usable, np.maximum(std, 1e-6) ** 2 / np.maximum(variance, 1e-12)


def _parts(brightness: np.ndarray) -> list[np.ndarray]:
    """The indices of equally many windows by brightness."""
    return np.array_split(np.argsort(brightness), max(1, min(_BINS, len(brightness) // 4)))


def _flattest(
    rank: np.ndarray, brightness: np.ndarray, usable: np.ndarray, side: int
) -> np.ndarray:
    """Chooses the windows of lowest rank among the usable ones of each brightness, bool (N,)."""
    chosen = np.zeros(len(rank), bool)
    index = np.flatnonzero(usable)
    for part in _parts(brightness[index]):
        part = index[part]
        count = min(len(part), max(_LEAST[side], int(_FLAT[side] * len(part))))
        chosen[part[np.argsort(rank[part])[:count]]] = True
    return chosen


def _least_directions(high: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """The mean energy of each window in the directions that vary least in the other half, (N,)."""
    energy = np.zeros(len(high))
    count = max(1, int(_DIRECTIONS * high.shape[1]))
    for half in (0, 1):
        here = halves == half
        other = high[~here] if np.any(~here) else high
        least = np.linalg.eigh(other.T @ other)[1][:, :count]
        energy[here] = np.mean((high[here] @ least) ** 2, axis=1)
    return energy


def _by_brightness(energies: np.ndarray, means: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Mean brightness, mean energy and weight of the bins of each channel."""
    bins = []
    for index in zip(*(_parts(mean) for mean in means.T)):
        at = [(part, c) for c, part in enumerate(index)]
        bins.append(
            (
                np.array([means[i].mean() for i in at]),
                np.array([energies[i].mean() for i in at]),
                np.array([float(len(part)) for part in index]),
            )
        )
    return bins


def _excess(energy: np.ndarray) -> float:
    """The variance of the windows' energies (N, C, F), relative to that for gaussian noise."""
    each = energy.mean(axis=(1, 2))
    expected = 2 / energy[0].size
    return float(np.var(each) / max(np.mean(each), _FLOOR**2) ** 2 / expected)
