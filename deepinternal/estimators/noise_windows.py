"""Noise in the flat windows of an image: its level by brightness, and its spectrum."""

from typing import NamedTuple

import numpy as np

from deepinternal.estimators.clipping import clipped_mean_inverse, clipped_variance
from deepinternal.ops.color import OPPONENT
from deepinternal.ops.dct import dct_matrix, dct_orders

SIDE = 16  # side of the windows that measure the spectrum

_SMALL = 6  # side of the windows that measure white noise
# By the side of a window: the greatest number of windows along each side of the image.
_GRIDS = {_SMALL: 112, SIDE: 64}
_BINS = 8  # number of bins of brightness, each with the same number of windows
_FLAT = {_SMALL: 0.1, SIDE: 0.03}  # fraction of the windows of a bin that are used, the flattest
_LEAST = {_SMALL: 40, SIDE: 8}  # smallest number of windows that a bin uses
_DIRECTIONS = 0.2  # fraction of the principal directions that are used, those that vary least
_MARGIN = 1.0  # smallest distance of a window's mean from black and white in standard deviations
_FLOOR = 0.05 / 255  # standard deviation that counts as no noise
_ROUNDING = 0.3 / 255  # standard deviation of the rounding to 8 bits
_GROWTH = 2.0  # greatest power of 1 / frequency with which the power of chroma grows
_STEEP = 5.0  # greatest slope; steeper ones depend on the rounding


class Levels(NamedTuple):
    """The noise by brightness, in the flat windows.

    Attributes:
        mean: (B, C), the brightness of the bins of each channel.
        variance: (B, C), the variance of the noise in each bin before clipping.
        weight: (B, C), the weight of each bin; 0 for bins without windows.
    """

    mean: np.ndarray
    variance: np.ndarray
    weight: np.ndarray


class Spectrum(NamedTuple):
    """The noise by frequency, in the flat windows.

    Attributes:
        levels: Variances by brightness over all frequencies.
        power: (16, 16, C), the variance of each coefficient of the discrete cosine transform, with mean
            1 over the frequencies; for colour images, of luma and both chroma channels, see
            `ops.color.OPPONENT`.
        mixing: (C,), the variances of luma and chroma, relative to those of noise of the same levels
            that is independent in the channels; 1 for grey images.
        slope: The square root of the ratio of the variances at middle and at high frequencies, the
            smallest of all brightnesses; about 1 for white noise, and at most 5.
        alike: The greatest of these square roots, divided by the smallest.
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
    high frequencies; the flattest windows of each brightness are kept. Texture that remains in the high
    frequencies lies in few principal directions, so that the directions of least variance measure the
    noise. `estimators.noise.noise_std` does the same for all channels and brightnesses together.

    Args:
        image: (H, W, C) in [0, 1], both sides at least 16.
        std: (C,), a first estimate of the noise.

    Returns:
        The levels of each channel, and the variance (C,) over all brightnesses. For the latter, the
        channels are compared with each other, which separates their common texture from the noise.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> std = np.array([0.02, 0.05, 0.05])
        >>> noise = std * np.random.default_rng(0).standard_normal((64, 64, 3))
        >>> levels, variance = di.estimators.white_levels(0.5 + noise, std)
        >>> levels.mean.shape, np.sqrt(variance).round(2).tolist()
        ((8, 3), [0.02, 0.05, 0.05])
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

    The frequencies are divided into two halves like the squares of a checkerboard. The windows that are
    flattest in one half measure the other half, so that the choice does not favour weak noise.

    Args:
        image: (H, W, C) in [0, 1], both sides at least 16.
        std: (C,), a first estimate of the noise.

    Returns:
        The spectrum.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> noise = 0.05 * np.random.default_rng(0).standard_normal((64, 64, 1))
        >>> found = di.estimators.spectrum(0.5 + noise, np.array([0.05]))
        >>> found.power.shape, round(found.slope, 1)
        ((16, 16, 1), 1.0)
    """
    found, plain, brightness, spread = _energies(image, std)
    radius = _radius()
    middle, high = _is_middle(radius), radius >= 15
    # Bins in which the flattest windows still have texture are left out.
    kept = spread <= max(2 * spread.min(), 3)
    slopes = found[:, :, middle].mean((1, 2)) / np.maximum(
        found[:, :, high].mean((1, 2)), _ROUNDING**2
    )
    slopes = np.minimum(np.sqrt(slopes[kept]), _STEEP)
    total = np.maximum(found[:, :, radius >= 3].mean(axis=2), _FLOOR**2)
    power = np.mean((found / total[..., None, None])[kept], axis=0)
    power[:, radius < 2] = _lowest(power, radius)
    power = np.maximum(power, 1e-9)  # for an image without any noise
    above = power[:, radius >= 3].mean(axis=1) / power.mean(axis=(1, 2))
    variance = total / above
    # The variances of the channels themselves, with the same sum.
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


def _radius() -> np.ndarray:
    """Returns the distance (16, 16) of each frequency from the lowest one."""
    return np.hypot(*np.indices((SIDE, SIDE)))


def _is_middle(radius: np.ndarray) -> np.ndarray:
    return (radius >= 4.5) & (radius < 9)


def _energies(image: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, ...]:
    """Measures the energies of the flattest windows of each brightness, for `spectrum`.

    Returns:
        The energies (B, C, 16, 16) of luma and chroma by frequency, the energies (B, C) of the channels
        themselves, the brightness (B, C), and the excess (B,).
    """
    windows, _ = _windows(image, SIDE)
    means = windows.mean(axis=(2, 3))
    usable, factor = _unclipped(means, std)
    channels = _transformed(windows) * np.sqrt(factor)[..., None, None]
    plain_energy, energy = channels**2, _opponent(channels) ** 2
    radius, half = _radius(), dct_orders(SIDE) % 2
    found, brightness, spread, plain = [], [], [], []
    for own in (half == 0, half == 1):
        rank = np.sum(energy[:, :, ~own & (radius > 1.5) & (radius <= 12)], axis=(1, 2))
        flat = _flattest(rank, means.mean(axis=1), usable, SIDE)
        parts = [np.flatnonzero(flat)[part] for part in _parts(means[flat].mean(axis=1))]
        used = own & (radius >= 3)
        found.append([np.where(own, np.mean(energy[part], axis=0), 0) for part in parts])
        plain.append([np.mean(plain_energy[part][:, :, used], axis=0) for part in parts])
        brightness.append([np.mean(means[part], axis=0) for part in parts])
        spread.append([_excess(energy[part][:, :, own & _is_middle(radius)]) for part in parts])
    plain = np.concatenate(plain, axis=2).mean(axis=2)
    return np.sum(found, 0), plain, np.mean(brightness, 0), np.mean(spread, 0)


def _opponent(windows: np.ndarray) -> np.ndarray:
    """Converts RGB (N, 3, side, side) to luma and two chroma channels; grey remains unchanged."""
    return windows if windows.shape[1] == 1 else np.einsum("oc,nchw->nohw", OPPONENT, windows)


def _opponent_variance(variance: np.ndarray) -> np.ndarray:
    """Returns the variances of luma and chroma, given the variances (B, C) of independent channels."""
    return variance if variance.shape[1] == 1 else variance @ OPPONENT.T**2


def _lowest(power: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Extrapolates the power (C, F) to the lowest frequencies, which the image dominates.

    The power of luma is continued as a constant. The power of chroma continues to grow as it does at
    the next frequencies, because cameras smooth the noise of chroma over large distances.
    """
    near, far = ((radius >= a) & (radius < b) for a, b in ((2, 3.2), (3.2, 5)))
    first, second = (np.mean(power[:, band], axis=1) for band in (near, far))
    steps = [np.log(np.mean(radius[band])) for band in (near, far)]
    growth = np.log(np.maximum(first, 1e-9) / np.maximum(second, 1e-9)) / (steps[1] - steps[0])
    growth = np.where(np.arange(len(power)) > 0, np.clip(growth, 0, _GROWTH), 0)
    ratio = np.exp(steps[0]) / np.maximum(radius[radius < 2], 1)
    return first[:, None] * ratio ** growth[:, None]


def _windows(image: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns windows (N, C, side, side) all over the image, and the half of a checkerboard of each."""
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
    """Returns which windows are far enough from black and white, and corrections for clipping.

    Args:
        means: (N, C), the means of windows.
        std: (C,), of the noise.

    Returns:
        Bool (N,), and the factors (N, C) of the variances that undo clipping.
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
    """Returns the indices of the windows in each bin of brightness; all bins have the same size."""
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
    """Returns the mean energy (N,) of windows in the directions that vary least in the other half."""
    energy = np.zeros(len(high))
    count = max(1, int(_DIRECTIONS * high.shape[1]))
    for half in (0, 1):
        here = halves == half
        other = high[~here] if np.any(~here) else high
        least = np.linalg.eigh(other.T @ other)[1][:, :count]
        energy[here] = np.mean((high[here] @ least) ** 2, axis=1)
    return energy


def _by_brightness(energies: np.ndarray, means: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Returns the mean brightness, the mean energy and the weight of the bins of each channel."""
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
    """Returns the variance of the energies (N, C, F) of windows, relative to gaussian noise."""
    each = energy.mean(axis=(1, 2))
    expected = 2 / energy[0].size
    return float(np.var(each) / max(np.mean(each), _FLOOR**2) ** 2 / expected)
