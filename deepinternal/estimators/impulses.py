"""Impulses in an image: dead and hot pixels, salt and pepper, random values."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_NOISE = 4.0  # smallest distance from the neighbours, in standard deviations of the noise
_LEAST = 0.06  # the same for images in [0, 1]
# For images with few impulses: both distances, and the distance in ranges of the neighbours.
_SINGLE = (5.0, 0.15, 3.0)
_DENSE = 1e-3  # fraction of isolated pixels above which there are many; photographs have under 1e-4
_EXTREME = (
    0.5  # fraction of black and white among isolated values above which they are salt and pepper
)
_ALIKE = 10  # greatest number of the 24 pixels around a grain of salt or pepper that have its value
# Passes for random values: neighbours ignored at both ends, and distance in ranges of the others.
_PASSES = ((0, 2.0), (0, 1.5), (0, 1.0), (1, 1.5))
_CLIPPED = 0.35  # greatest fraction of clipped pixels in the tiles that measure the noise
_ROWS, _HALO = 256, 8  # height of the strips that are processed, and of the margins around them


class Impulses(NamedTuple):
    """Pixels whose values are unrelated to the image.

    Attributes:
        kind: 'none', 'single' (dead and hot pixels), 'salt and pepper', or 'random values'.
        places: bool (H, W, C), True where a value is an impulse.
        filled: float32 (H, W, C), the image with the medians of the neighbours in place of impulses.
    """

    kind: str
    places: np.ndarray
    filled: np.ndarray


def find_impulses(image: np.ndarray) -> Impulses:
    """Finds impulses by comparing each value with its neighbours in the same channel.

    A value is isolated if its distance from the range of its eight neighbours is more than twice that
    range, and more than four standard deviations of the noise. In photographs, highlights and texture
    spread over neighbouring pixels, so that fewer than 1 pixel in 10 000 is isolated.

    If more than 1 pixel in 1000 is isolated, the image has many impulses. If most isolated values are
    black or white, all black and white values that differ from the other values around them are salt
    and pepper. Otherwise, the comparison is repeated with lower limits after the impulses found so far
    were replaced; random values close to those of their neighbours are not found. If few pixels are
    isolated, the limits are higher, which keeps stars and the highlights of eyes.

    Args:
        image: (H, W, C) in [0, 1], both sides at least 16.

    Returns:
        The impulses.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.full((48, 48, 1), 0.5)
        >>> image[5, 7] = 1.0  # a hot pixel
        >>> found = di.estimators.find_impulses(image)
        >>> found.kind, np.argwhere(found.places[..., 0]).tolist(), found.filled[5, 7].tolist()
        ('single', [[5, 7]], [0.5])

    References:
        Garnett, Huegerich, Chui, He: A Universal Noise Removal Algorithm with an Impulse Detector. TIP
        2005 (impulses by ranked differences from the neighbours; the tests here differ).
    """
    image = np.asarray(image, np.float32)
    limit = max(_LEAST, _NOISE * rough_std(image))
    isolated = _isolated(image, limit, _PASSES[0][1])
    if np.mean(np.any(isolated, axis=-1)) <= _DENSE:
        noise, least, ranges = _SINGLE
        places = isolated & _isolated(image, max(least, noise / _NOISE * limit), ranges)
        return Impulses("single" if places.any() else "none", places, _filled(image, places))
    values = image[isolated]
    extreme = np.mean((values <= 0) | (values >= 1)) > _EXTREME
    find = _salt_and_pepper if extreme else _random_values
    places = np.concatenate([find(part, limit)[own] for part, own in _strips(image)])
    kind = "salt and pepper" if extreme else "random values"
    return Impulses(kind, places, _filled(image, places))


def rough_std(image: np.ndarray) -> float:
    """Estimates the standard deviation of the noise roughly, also in the presence of impulses.

    Args:
        image: (H, W, C), both sides at least 16.

    Returns:
        The standard deviation of white noise in the flatter parts, for the third of the brightnesses
        with most noise. The estimate is too large for textured images, and up to twice too large with
        impulses in a fifth of the pixels.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> noise = 0.05 * np.random.default_rng(0).standard_normal((64, 64, 3))
        >>> round(float(di.estimators.rough_std(0.5 + noise)), 2)
        0.05
    """
    curved = np.abs(image[:, 1:-1] - (image[:, :-2] + image[:, 2:]) / 2)
    clipped = ((image <= 0) | (image >= 1))[:, 1:-1]
    values, clipped = _tiles(curved), np.mean(_tiles(clipped), axis=1)
    kept = clipped <= max(_CLIPPED, clipped.min())
    values, brightness = values[kept], np.median(_tiles(image[:, 1:-1])[kept], axis=1)
    quarter = values.shape[1] // 4
    low = np.partition(values, quarter, axis=1)[:, quarter]
    thirds = np.array_split(low[np.argsort(brightness)], 3)
    # A quarter of the values of a normal distribution are within 0.319 standard deviations.
    most = max(float(np.quantile(third, 0.3)) for third in thirds if len(third))
    return most / (0.319 * np.sqrt(1.5))


def _tiles(image: np.ndarray) -> np.ndarray:
    """Returns tiles of 8x8 values of one channel, at most about 20 000 all over the image, (N, 64)."""
    side = 8
    rows, columns = (n // side for n in image.shape[:2])
    tiles = image[: rows * side, : columns * side].reshape(rows, side, columns, side, -1)
    tiles = tiles.transpose(0, 2, 4, 1, 3).reshape(-1, side**2)
    return tiles[:: max(1, len(tiles) // 20000)]


def _strips(image: np.ndarray) -> Iterator[tuple[np.ndarray, slice]]:
    """Yields strips of rows with a margin, and the slice of each strip without its margin."""
    height = len(image)
    for start in range(0, height, _ROWS):
        first, last = max(0, start - _HALO), min(height, start + _ROWS + _HALO)
        yield image[first:last], slice(start - first, min(start + _ROWS, height) - first)


def _neighbours(image: np.ndarray) -> np.ndarray:
    """The eight neighbours of each value, (8, H, W, C)."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    h, w = image.shape[:2]
    offsets = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    return np.stack([padded[i : i + h, j : j + w] for i, j in offsets])


def _isolated(image: np.ndarray, limit: float, ranges: float) -> np.ndarray:
    """Marks values whose distance from the range of their neighbours exceeds both limits.

    Args:
        image: (H, W, C).
        limit: The smallest distance.
        ranges: The smallest distance in multiples of the range of the neighbours.
    """

    def of(part: np.ndarray) -> np.ndarray:
        around = _neighbours(part)
        low, high = around.min(axis=0), around.max(axis=0)
        distance = np.maximum(part - high, low - part)
        return (distance > limit) & (distance > ranges * (high - low))

    return np.concatenate([of(part)[own] for part, own in _strips(image)])


def _random_values(image: np.ndarray, limit: float) -> np.ndarray:
    """Marks the impulses of random values in a strip, in several passes."""
    found = np.zeros(image.shape, bool)
    for left_out, ranges in _PASSES:
        around = np.sort(_neighbours(image), axis=0)
        low, high = around[left_out], around[7 - left_out]
        distance = np.maximum(image - high, low - image)
        odd = (distance > limit) & (distance > ranges * (high - low))
        image = np.where(odd, (around[3] + around[4]) / 2, image)
        found |= odd
    return found


def _salt_and_pepper(image: np.ndarray, limit: float) -> np.ndarray:
    """Marks the values of a strip that are black or white although the others around them are not."""
    at = np.nonzero((image <= 0) | (image >= 1))
    around = _around(image, at)
    value = image[at]
    alike = np.sum(around == value[:, None], axis=1) - 1
    middle = _median(around, (around <= 0) | (around >= 1))
    found = np.zeros(image.shape, bool)
    with np.errstate(invalid="ignore"):
        found[at] = (alike <= _ALIKE) & (np.abs(value - middle) > limit)
    return found


def _filled(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Replaces impulses by the median of the others in 5x5 pixels."""
    filled = image.copy()
    for start in range(0, len(image), _ROWS):
        first, rows = max(0, start - 2), slice(start, start + _ROWS)
        y, x, c = np.nonzero(places[rows])
        part = slice(first, start + _ROWS + 2)
        at = (y + start - first, x, c)
        middle = _median(_around(image[part], at), _around(places[part], at))
        kept = image[rows][y, x, c]
        filled[y + start, x, c] = np.where(np.isfinite(middle), middle, kept)
    return filled


def _around(image: np.ndarray, at: tuple[np.ndarray, ...]) -> np.ndarray:
    """The 5x5 values around each place, (N, 25)."""
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
    y, x, c = at
    return np.stack([padded[y + i, x + j, c] for i in range(5) for j in range(5)], axis=-1)


def _median(values: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """Returns the lower median of the values of each row that are not left out; inf if all are."""
    ordered = np.sort(np.where(left_out, np.inf, values), axis=1)
    middle = np.maximum(np.sum(~left_out, axis=1) - 1, 0) // 2
    return np.take_along_axis(ordered, middle[:, None], axis=1)[:, 0]
