"""Two regular patterns in one image, which repeat at different displacements: I = y1 + y2.

Tiles, bricks or weave repeat on a lattice. The lattice of the stronger pattern is found in the
autocorrelation of the image. The lattice of the other pattern is found in the difference of the image
and a copy displaced by a period of the first pattern, in which the first pattern cancels. The layers
are then those that change least under their displacements,

    minimise  sum_v w_v |y1(x) - y1(x + v)|^2 + sum_u w_u |y2(x) - y2(x + u)|^2  with  y1 + y2 = I,

with weights that ignore pixels where a pattern does not repeat (iteratively reweighted least squares).

All functions run on the host, with NumPy and SciPy.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import fft, ndimage
from skimage.transform import resize

_SIDES = (160, 140, 120)  # greatest sides in pixels at which patterns are searched for, in order
_SMOOTH = 20.0  # standard deviation in pixels of the Gaussian whose result counts as shading
_NEAREST = 8  # smallest length in pixels of a period
_OVERLAP = 0.1  # smallest fraction of the image that overlaps with its displaced copy
_PERIODS = 12  # greatest number of displacements of a layer
_ALIKE = 0.3  # smallest correlation of a layer with its displaced copy
_NEAR_BEST = (
    0.85  # smallest score, relative to the best one, of lattices the finest of which is used
)
_CLEAR = 0.4  # smallest mean correlation of the image at the lattice of the first pattern
_SAME = 5.0  # distance in pixels from the lattice of the first pattern that counts as on it
_ROBUST = 0.02  # difference of pixels from which the weights fall
_HALF = 0.02  # weight of the distance of the layers from equal halves, which makes them unique
_SURE = 0.65  # smallest mean correlation of each layer with its displaced copies
_SHARED = 0.43  # greatest mean correlation of the second layer at displacements of the first
_LEAST_PERIODS = 6  # smallest number of displacements of each layer
_Shift = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Patterns:
    """Two regular patterns that add up to an image without its mean colour.

    Attributes:
        first: (H, W, C), of mean 0.
        second: (H, W, C), of mean 0.
        recurrence: The mean correlation of each with its displaced copies, at most 1.
    """

    first: np.ndarray
    second: np.ndarray
    recurrence: tuple[float, float]


def separate_patterns(image: np.ndarray) -> Patterns | None:
    """Separates an image into two regular patterns.

    Args:
        image: (H, W, C) in [0, 1]. Its longer side is reduced to at most 160 pixels, because fine
            details rarely repeat; the lost details are added to the first pattern.

    Returns:
        The patterns, the stronger one first; None if there are no two patterns of different periods.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> noise = np.random.default_rng(0).uniform(size=(32, 32, 1))
        >>> print(di.estimators.separate_patterns(noise))
        None
    """
    image = np.asarray(image, np.float64)
    image = image - np.mean(image, axis=(0, 1))
    for side in _SIDES:
        small = _reduced(image, side)
        if found := _separated(small):
            layer, recurrence = found
            second = layer if small is image else resize(layer, image.shape[:2], order=3)
            return Patterns(image - second, second, recurrence)
        if small is image:
            break
    return None


def _reduced(image: np.ndarray, side: int) -> np.ndarray:
    """Returns a slightly smoothed image whose longer side has at most `side` pixels."""
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    image = ndimage.gaussian_filter(image, (0.5 / scale, 0.5 / scale, 0))
    shape = [max(round(scale * n), 1) for n in image.shape[:2]]
    return resize(image, shape, order=1, anti_aliasing=True)


def _separated(image: np.ndarray) -> tuple[np.ndarray, tuple[float, float]] | None:
    """Returns the second layer and the recurrence of both; None if there are no two patterns."""
    shifts = _both_shifts(image)
    if shifts is None:
        return None
    layer = image / 2
    weights = [[np.full((1, 1, 1), 10.0)] * len(s) for s in shifts]
    for turn in range(5):
        layer = _solved(image, layer, shifts, weights)
        layers = layer, image - layer
        if turn:
            shifts = [[shift for shift, _ in _peaks(*_correlation(_flat(x)))] for x in layers]
        weights = [[_weight(x, v) for v in s] for x, s in zip(layers, shifts)]
    recurrence = _agreement(layers)
    return None if recurrence is None else (layers[1], recurrence)


def _agreement(layers: Sequence[np.ndarray]) -> tuple[float, float] | None:
    """Returns the mean correlation of each layer with its displaced copies; None: not two patterns."""
    maps = [_correlation(_flat(x)) for x in layers]
    found = [_peaks(*x) for x in maps]
    if min(len(peaks) for peaks in found) < _LEAST_PERIODS:
        return None
    # If the second layer repeats at the periods of the first one, it is a residue of the first pattern.
    near, centre = ndimage.maximum_filter(maps[1][0], 3), np.array(maps[1][0].shape) // 2
    shared = np.mean([near[tuple(np.array(v) + centre)] for v, _ in found[0]])
    first, second = (float(np.mean([value for _, value in peaks])) for peaks in found)
    return (first, second) if min(first, second) >= _SURE and shared <= _SHARED else None


def _flat(image: np.ndarray) -> np.ndarray:
    """Returns an image without its shading."""
    return image - ndimage.gaussian_filter(image, (_SMOOTH, _SMOOTH, 0))


def _correlation(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the correlation of an image with its displaced copies, and the fractions that overlap.

    Both are (2 * H, 2 * W), with the displacement of zero in the middle.
    """
    height, width = image.shape[:2]
    size = 2 * height, 2 * width
    transformed = lambda x: fft.fft2(x, size, axes=(0, 1))
    inverse = lambda x: fft.fftshift(fft.ifft2(x).real)
    products = inverse(np.sum(np.abs(transformed(image)) ** 2, axis=-1))
    squares = transformed(np.sum(image * image, axis=-1))
    window = transformed(np.ones((height, width)))
    energies = [inverse(x) for x in (squares * window.conj(), squares.conj() * window)]
    overlap = inverse(np.abs(window) ** 2) / (height * width)
    scale = np.sqrt(np.maximum(energies[0], 1e-9) * np.maximum(energies[1], 1e-9))
    return np.where(overlap > _OVERLAP / 2, products / scale, 0), overlap


def _peaks(
    correlation: np.ndarray, overlap: np.ndarray, *, count: int = _PERIODS, least: float = _ALIKE
) -> list[tuple[_Shift, float]]:
    """Returns the highest maxima of a correlation: their displacements in a half plane, and values."""
    centre = np.array(correlation.shape) // 2
    rows, columns = np.meshgrid(*(np.arange(n) - n // 2 for n in correlation.shape), indexing="ij")
    kept = ndimage.maximum_filter(correlation, 7) == correlation
    kept &= (overlap >= _OVERLAP) & (correlation > least) & (np.hypot(rows, columns) >= _NEAREST)
    kept &= (rows > 0) | ((rows == 0) & (columns > 0))
    places = np.argwhere(kept)
    values = correlation[kept]
    order = np.argsort(-values, kind="stable")[:count]
    return [(tuple(int(n) for n in places[i] - centre), float(values[i])) for i in order]


def _lattice(
    correlation: np.ndarray, overlap: np.ndarray, basis: np.ndarray
) -> tuple[float, list[_Shift]]:
    """Returns the mean correlation at the points of a lattice, and these points.

    Args:
        correlation: (2 * H, 2 * W).
        overlap: (2 * H, 2 * W), the weights of the mean.
        basis: (2, 2), each row a period.
    """
    centre = np.array(correlation.shape) // 2
    numbers = np.mgrid[-12:13, -12:13].reshape(2, -1).T
    numbers = numbers[(numbers[:, 0] > 0) | ((numbers[:, 0] == 0) & (numbers[:, 1] > 0))]
    points = numbers @ basis + centre
    points = points[np.all((points >= 3) & (points < np.array(correlation.shape) - 4), axis=1)]
    weights = ndimage.map_coordinates(overlap, points.T, order=1)
    points, weights = points[weights >= _OVERLAP], weights[weights >= _OVERLAP]
    if len(points) < 3:
        return -1.0, []
    values = ndimage.map_coordinates(correlation, points.T, order=1)
    shifts = [tuple(int(n) for n in np.rint(point - centre)) for point in points]
    return float(np.sum(values * weights) / np.sum(weights)), shifts


def _best_lattice(
    correlation: np.ndarray, overlap: np.ndarray, peaks: Sequence[_Shift]
) -> tuple[float, np.ndarray] | None:
    """Returns the score and the basis of the finest lattice that is about as good as the best one."""
    peaks, found = [_refined(correlation, shift) for shift in peaks], []
    for index, first in enumerate(peaks):
        for second in peaks[:index]:
            basis = np.stack([first, second])
            area = abs(np.linalg.det(basis))
            if area < max(_NEAREST**2, 0.35 * np.prod(np.hypot(*basis.T))):
                continue  # almost collinear
            score, shifts = _lattice(correlation, overlap, basis)
            if shifts:
                found.append((score, area, basis))
    if not found:
        return None
    best = max(score for score, *_ in found)
    good = [x for x in found if x[0] >= _NEAR_BEST * best]
    score, _, basis = min(good, key=lambda x: x[1])
    return score, basis


def _refined(correlation: np.ndarray, shift: _Shift) -> np.ndarray:
    """Returns the place (2,) of a maximum between the pixels, by parabolas."""
    place = np.array(shift) + np.array(correlation.shape) // 2
    moved = []
    for axis in (0, 1):
        step = np.eye(2, dtype=int)[axis]
        below, here, above = (float(correlation[tuple(place + n * step)]) for n in (-1, 0, 1))
        moved.append(0.5 * (below - above) / min(below - 2 * here + above, -1e-9))
    return np.array(shift) + np.clip(moved, -0.5, 0.5)


def _both_shifts(image: np.ndarray) -> list[list[_Shift]] | None:
    """Returns the displacements at which each of two patterns repeats; None if one is not found."""
    flat = _flat(image)
    whole = _correlation(flat)
    first = _best_lattice(*whole, [v for v, _ in _peaks(*whole, count=16, least=0.1)])
    if first is None or first[0] < _CLEAR:
        return None
    basis, inverse = first[1], np.linalg.inv(first[1])

    def apart(shift: _Shift) -> bool:
        numbers = np.array(shift, float) @ inverse
        return float(np.hypot(*((numbers - np.rint(numbers)) @ basis))) > _SAME

    own = _strongest(whole, _lattice(*whole, basis)[1])
    candidates = []
    for shift in [v for v in own if 2 * max(np.abs(v) / np.array(image.shape[:2])) < 1][:3]:
        rest = _correlation(_difference(flat, shift))
        peaks = [v for v, _ in _peaks(*rest, count=24, least=0.05) if apart(v)]
        if found := _best_lattice(*rest, peaks):
            candidates.append(found)
    if not candidates:
        return None
    _, other = max(candidates, key=lambda x: x[0])
    others = [v for v in _strongest(whole, _lattice(*whole, other)[1]) if apart(v)]
    return [own, others] if others else None


def _strongest(correlation: tuple[np.ndarray, np.ndarray], shifts: list[_Shift]) -> list[_Shift]:
    """Returns the displacements with the highest correlation, each moved to the maximum near it."""
    values, centre, found = correlation[0], np.array(correlation[0].shape) // 2, {}
    for shift in shifts:
        row, column = np.array(shift) + centre
        window = values[row - 2 : row + 3, column - 2 : column + 3]
        place = np.unravel_index(np.argmax(window), window.shape)
        found[tuple(int(s + p - 2) for s, p in zip(shift, place))] = float(np.max(window))
    clear = [v for v in found if found[v] > 0.1]
    return sorted(clear, key=lambda v: -found[v])[:10]


def _parts(
    shape: tuple[int, ...], shift: _Shift
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Returns the parts of an image that overlap: of the displaced one, and of the one that stays."""
    limits = [(max(s, 0), n + min(s, 0), max(-s, 0), n + min(-s, 0)) for n, s in zip(shape, shift)]
    return tuple(slice(x[0], x[1]) for x in limits), tuple(slice(x[2], x[3]) for x in limits)


def _difference(image: np.ndarray, shift: _Shift) -> np.ndarray:
    """Returns a displaced image minus the image, where both overlap."""
    moved, still = _parts(image.shape, shift)
    return image[moved] - image[still]


def _weight(layer: np.ndarray, shift: _Shift) -> np.ndarray:
    """Returns (h, w, 1), high where a layer repeats at a displacement."""
    squares = np.sum(_difference(layer, shift) ** 2, axis=-1, keepdims=True)
    return 1 / np.sqrt(ndimage.gaussian_filter(squares, (1, 1, 0)) + _ROBUST**2)


def _solved(
    image: np.ndarray, layer: np.ndarray, shifts, weights, *, steps: int = 25
) -> np.ndarray:
    """Solves for the first layer by preconditioned conjugate gradients, starting from `layer`."""
    terms = [(v, w) for s, ws in zip(shifts, weights) for v, w in zip(s, ws)]
    second = list(zip(shifts[1], weights[1]))

    def normal(x: np.ndarray, terms, sign: int = -1) -> np.ndarray:
        """Returns the sum of the transposed, weighted differences of an image; +1: the diagonal."""
        made = np.zeros_like(x)
        for shift, weight in terms:
            moved, still = _parts(x.shape, shift)
            change = weight * (x[moved] + sign * x[still])
            made[moved] += change / (2 if sign > 0 else 1)
            made[still] += sign * change / (2 if sign > 0 else 1)
        return made

    diagonal = _HALF + normal(np.ones_like(image), terms, 1)
    residual = _HALF * (image / 2 - layer) + normal(image, second) - normal(layer, terms)
    direction = scaled = residual / diagonal
    size = np.sum(residual * scaled)
    for _ in range(steps):
        product = _HALF * direction + normal(direction, terms)
        step = size / (np.sum(direction * product) + 1e-30)
        layer, residual = layer + step * direction, residual - step * product
        scaled = residual / diagonal
        size, last = np.sum(residual * scaled), size
        direction = scaled + size / (last + 1e-30) * direction
    return layer
