"""The colour and the opacity of a watermark, estimated from its edges.

For two pixels on both sides of a mark's edge with the same image below them, p = (1 - a) * q + a * w.
All such pairs agree on the opacity a and the colour w, while pairs across the image's own edges do not.
In several images with the same mark, pairs in the same position agree, which also locates the mark.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DISTANCE = (
    2  # distance in pixels of the two pixels of a pair, so that a soft edge fits between them
)
_TOLERANCE = 0.03  # greatest error of the difference of a pair
_BINS = np.linspace(0.175, 1.025, 18)
_COLOURS = tuple(itertools.product((0.0, 0.5, 1.0), repeat=3))
_AGREE = 0.1  # greatest difference of the opacities in the same position of several images
_REACH = 6  # distance in pixels from agreeing pairs up to which pixels may belong to the mark
_SURE = 15.0  # score from which no further colours are tried
_ALIKE = 0.12  # greatest difference of colours that count as equal
_VARIED = 0.02  # smallest mean square by which several images must differ below a pair
_SIDE = 1600  # greatest side in pixels of several images in the search; larger ones are reduced


class Mark(NamedTuple):
    """A mark that a search has found.

    Attributes:
        colour: (C,) in [0, 1].
        opacity: A number in (0, 1].
        score: By how many standard deviations of a Poisson count the number of agreeing pairs exceeds
            the number expected without a mark; more than 20 is hardly chance.
    """

    colour: np.ndarray
    opacity: float
    score: float


def search_mark(image: np.ndarray, hint: np.ndarray) -> Mark:
    """Searches for the colour and the opacity on which most edges within a region agree.

    Args:
        image: (H, W, C) in [0, 1].
        hint: (H, W) booleans, the region; the pairs outside it give the number expected by chance.

    Returns:
        The most likely combination of 27 colours (3 for grey images) and 17 opacities from 0.2 on,
        refined by least squares over the pairs that agree.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> clean = np.tile(np.linspace(0, 0.6, 64)[:, None], (64, 1, 3))
        >>> region = np.zeros((64, 64), bool)
        >>> region[16:48, 16:48] = True
        >>> matte = 0.5 * region[..., None] * (np.arange(64)[:, None, None] % 8 < 4)  # stripes
        >>> mark = di.estimators.search_mark((1 - matte) * clean + matte, region)
        >>> mark.colour.round(1).tolist(), round(mark.opacity, 2)
        ([1.0, 1.0, 1.0], 0.5)
    """
    return likely_marks(image, hint, count=1)[0]


def likely_marks(image: np.ndarray, hint: np.ndarray, *, count: int = 4) -> list[Mark]:
    """Searches for the colours and opacities on which many edges within a region agree.

    Args:
        image: (H, W, C) in [0, 1].
        hint: (H, W) booleans, the region; the pairs outside it give the number expected by chance.
        count: The greatest number of marks.

    Returns:
        One mark or more, of different colours, the most likely first; see `search_mark`.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> clean = np.tile(np.linspace(0, 0.6, 64)[:, None], (64, 1, 3))
        >>> region = np.zeros((64, 64), bool)
        >>> region[16:48, 16:48] = True
        >>> matte = 0.5 * region[..., None] * (np.arange(64)[:, None, None] % 8 < 4)  # stripes
        >>> marks = di.estimators.likely_marks((1 - matte) * clean + matte, region, count=2)
        >>> len(marks), bool(marks[0].score >= marks[1].score)
        (2, True)
    """
    from_, to, inside = _pairs(np.asarray(image, np.float64), np.asarray(hint, bool))
    share = max(hint.sum(), 1) / max((~hint).sum(), 1)
    found = [Mark(np.ones(image.shape[-1]), 1.0, 0.0)]
    for colour in sorted({c[: image.shape[-1]] for c in _COLOURS}):
        opacity, agree = _opacities(from_, to, np.array(colour), 0.3)
        counts = [_counts(opacity, agree & which) for which in (inside, ~inside)]
        expected = share * counts[1]
        scores = (counts[0] - expected) / np.sqrt(expected + 10)
        if len(set(colour)) > 1:
            scores = scores / 2  # most marks are white, grey or black
        if (score := float(scores.max())) > 0:
            k = int(scores.argmax())
            near = agree & inside & (np.abs(opacity - _BINS[k : k + 2].mean()) < 0.075)
            found.append(Mark(*_refined(from_[near], to[near]), score))
    return sorted(found, key=lambda mark: -mark.score)[:count]


def _pairs(image: np.ndarray, hint: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns pairs of pixels across edges, (N, C) each, in both orders, and which lie inside."""
    pixels, inside = [], []
    for axis in (0, 1):
        n = image.shape[axis]
        first, second = (
            [np.take(x, span, axis) for x in (image, hint)]
            for span in (range(n - DISTANCE), range(DISTANCE, n))
        )
        edge = np.abs(first[0] - second[0]).max(-1) > 0.08
        edge &= first[1] == second[1]
        pixels.append([first[0][edge], second[0][edge]])
        inside.append(first[1][edge])
    first, second = (np.concatenate(part) for part in zip(*pixels))
    both = np.concatenate([first, second]), np.concatenate([second, first])
    return *both, np.tile(np.concatenate(inside), 2)


def _opacities(from_: np.ndarray, to: np.ndarray, colour: np.ndarray, least: float):
    """Returns for each pair (..., C) the opacity (...) that explains it best, and whether it does.

    Pairs whose colour is nearer than `least` to the mark's are not conclusive.
    """
    step, whole = to - from_, colour - from_
    length = (whole**2).sum(-1)
    opacity = (step * whole).sum(-1) / (length + 1e-6)
    error = np.abs(step - opacity[..., None] * whole).max(-1)
    return opacity, (error < _TOLERANCE) & (length > least**2)


def _refined(from_: np.ndarray, to: np.ndarray) -> tuple[np.ndarray, float]:
    """Fits colour and opacity by least squares: to = (1 - a) * from + a * w, a > 0."""
    centred = from_ - from_.mean(0)
    slope = (centred * (to - to.mean(0))).sum() / max((centred**2).sum(), 1e-6)
    opacity = float(np.clip(1 - slope, 0.05, 1.0))
    return np.clip((to - (1 - opacity) * from_).mean(0) / opacity, 0, 1), opacity


def search_common(images: Sequence[np.ndarray]) -> tuple[Mark, np.ndarray]:
    """Searches for the mark that several images have in the same position.

    The number of pairs that agree by chance is estimated from shifted images.

    Args:
        images: Two or more images (H, W, C) in [0, 1] of one size; large ones are reduced.

    Returns:
        The most likely of 27 colours with the greatest frequent opacity, and (H, W) booleans: where the
        mark may be, which is nowhere if there is no evidence of a mark.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> clean = np.random.default_rng(0).uniform(0.2, 0.6, (3, 64, 64, 1))
        >>> matte = np.zeros((64, 64, 1))
        >>> matte[24:40:2, 20:44] = 0.5
        >>> mark, where = di.estimators.search_common(list((1 - matte) * clean + matte))
        >>> where.shape, bool(mark.score > 0)
        ((64, 64), True)
    """
    size = images[0].shape[:2]
    factor = -(-max(size) // _SIDE)
    images = [block_means(image, factor) for image in images]
    shape = images[0].shape
    aside = [np.roll(x, (n * 37, n * 53), (0, 1)) for n, x in enumerate(images)]
    pairs, others = _common_pairs(images), _common_pairs(aside)
    best, where = Mark(np.ones(shape[-1]), 1.0, 0.0), np.zeros(shape[:2], bool)
    for colour in sorted({c[: shape[-1]] for c in _COLOURS}):
        opacity, agree = _together(pairs, np.array(colour))
        chance = _counts(*_together(others, np.array(colour)))
        counts = _counts(opacity, agree)
        scores = (counts - chance) / np.sqrt(chance + 10)
        if (score := float(scores.max())) > best.score:
            frequent = np.flatnonzero((scores > 3) & (counts > 0.1 * counts.max()))
            last = frequent[-1] if len(frequent) else int(scores.argmax())
            best = Mark(np.array(colour), float(min(_BINS[last : last + 2].mean(), 1.0)), score)
            dots = np.zeros(shape[:2], bool)
            dots.flat[pairs.place[agree & (opacity >= _BINS[0])]] = True
            where = _places(dots)
    if best.score < _SURE:
        found, dots = _any_colour(pairs, others, shape)
        if found.score > best.score:
            best, where = found, _places(dots)
    return best, where.repeat(factor, 0).repeat(factor, 1)[: size[0], : size[1]]


def block_means(image: np.ndarray, factor: int) -> np.ndarray:
    """Returns the means (H', W', C) of blocks of `factor` x `factor` pixels, with the border repeated.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> di.estimators.block_means(np.arange(8.0).reshape(2, 4, 1), 2)[..., 0]
        array([[2.5, 4.5]])
    """
    h, w, c = image.shape
    image = np.asarray(image, np.float32)
    padded = np.pad(image, ((0, -h % factor), (0, -w % factor), (0, 0)), mode="edge")
    cells = padded.reshape(len(padded) // factor, factor, -1, factor, c)
    return cells.mean((1, 3), dtype=np.float64)


class _Pairs(NamedTuple):
    """Pairs of pixels across edges that K images have in the same position."""

    place: np.ndarray  # (N,), the index of the second pixel
    from_: np.ndarray  # (K, N, C)
    to: np.ndarray  # (K, N, C)


def _common_pairs(images: Sequence[np.ndarray]) -> _Pairs:
    """Returns the pairs of each pixel with its four neighbours at `DISTANCE`."""
    found = []
    for axis, sign in itertools.product((0, 1), (1, -1)):
        moved = [np.roll(x, sign * DISTANCE, axis) for x in images]
        edge = np.logical_and.reduce([np.abs(x - y).max(-1) > 0.04 for x, y in zip(images, moved)])
        ends = slice(0, DISTANCE) if sign > 0 else slice(-DISTANCE, None)
        edge[(slice(None),) * axis + (ends,)] = False
        pixels = [np.stack([x[edge] for x in which]) for which in (moved, images)]
        found.append((np.flatnonzero(edge), *pixels))
    place, from_, to = zip(*found)
    return _Pairs(np.concatenate(place), np.concatenate(from_, 1), np.concatenate(to, 1))


def _together(pairs: _Pairs, colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean opacities (N,) that explain pairs in all images, and where these agree."""
    opacity, agree = _opacities(pairs.from_, pairs.to, colour, 0.15)
    return opacity.mean(0), agree.all(0) & (np.ptp(opacity, axis=0) < _AGREE)


def _any_colour(pairs: _Pairs, others: _Pairs, shape: tuple[int, ...]) -> tuple[Mark, np.ndarray]:
    """Searches for a mark whose colour may be any, and for the pixels (H, W) that agree on it.

    Each pair gives one estimate of the colour w: to = (1 - a) * from + a * w in all images.
    """
    (opacity, colour, agree), chance = _solved(pairs), _solved(others)
    dots = np.zeros(shape[:2], bool)
    if not agree.any():
        return Mark(np.ones(shape[-1]), 1.0, 0.0), dots
    cells = np.round(np.clip(colour, 0, 1) / _ALIKE).astype(int)
    _, first, counts = np.unique(cells[agree], axis=0, return_index=True, return_counts=True)
    middle = colour[agree][first[counts.argmax()]]
    for _ in range(3):
        near = agree & (np.abs(colour - middle).max(-1) < _ALIKE)
        middle = np.median(colour[near], axis=0) if near.any() else middle
    expected = (chance[2] & (np.abs(chance[1] - middle).max(-1) < _ALIKE)).sum()
    score = float((near.sum() - expected) / np.sqrt(expected + 10))
    dots.flat[pairs.place[near]] = True
    greatest = float(np.quantile(opacity[near], 0.8)) if near.any() else 1.0
    return Mark(np.clip(middle, 0, 1), greatest, score), dots


def _solved(pairs: _Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the opacity (N,) and the colour (N, C) of each pair, and whether they explain it."""
    means = pairs.from_.mean(0), pairs.to.mean(0)
    from_, to = pairs.from_ - means[0], pairs.to - means[1]
    varied = np.square(from_).sum((0, -1))
    slope = (from_ * to).sum((0, -1)) / (varied + 1e-6)
    opacity = np.maximum(1 - slope, 0.01)
    colour = (means[1] - slope[:, None] * means[0]) / opacity[:, None]
    error = np.abs(to - slope[:, None] * from_).max((0, -1))
    possible = (np.abs(colour - 0.5) < 0.6).all(-1) & (opacity > 0.15) & (opacity < 0.95)
    return opacity, colour, possible & (error < _TOLERANCE) & (varied > _VARIED * len(from_))


def _counts(opacity: np.ndarray, agree: np.ndarray) -> np.ndarray:
    """The number of pairs that agree on each opacity."""
    return np.histogram(opacity[agree], _BINS)[0]


def _places(dots: np.ndarray) -> np.ndarray:
    """Returns the surroundings of agreeing pixels (H, W), where there are many of them."""
    from scipy import ndimage

    near = ndimage.uniform_filter(dots.astype(np.float64), 25) * 25**2
    dots &= near >= 8
    reach = 2 * _REACH + 1
    closed = ndimage.binary_closing(np.pad(dots, 12), np.ones((15, 15)))[12:-12, 12:-12]
    parts, count = ndimage.label(closed, np.ones((3, 3)))
    sizes = ndimage.sum_labels(dots, parts, np.arange(1, count + 1))
    large = np.flatnonzero(sizes > 0.03 * dots.sum()) + 1
    return ndimage.binary_dilation(np.isin(parts, large), np.ones((reach, reach)))
