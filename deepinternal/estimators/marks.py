"""The colour and the opacity of a watermark, estimated from its edges.

For two pixels on both sides of a mark's edge with the same image below them, p = (1 - a) * q + a * w.
All such pairs agree on the opacity a and the colour w, while pairs across the image's own edges do not.
In several images with the same mark, pairs in the same position agree, which also locates the mark.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DISTANCE = 2  # pixels between the two of a pair, so that a soft edge fits between them
_TOLERANCE = 0.03  # greatest error of a pair's difference
_BINS = np.linspace(0.175, 1.025, 18)
_COLOURS = tuple(itertools.product((0.0, 0.5, 1.0), repeat=3))
_AGREE = 0.1  # greatest difference of the opacities in the same position of several images
_REACH = 6  # pixels around pairs that agree in several images that may belong to the mark
_SIDE = 1600  # greatest side of several images in the search, to which larger ones are reduced


class Mark(NamedTuple):
    """A mark that a search has found.

    Attributes:
        colour: (C,) in [0, 1].
        opacity: A number in (0, 1].
        score: By how many standard deviations of a Poisson count the pairs that agree exceed the number
            expected without a mark; more than 20 is hardly chance.
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
        The most likely of 27 colours (3 for grey images) and 17 opacities from 0.2 on, refined by least
        squares over the pairs that agree.
    """
    from_, to, inside = _pairs(np.asarray(image, np.float64), np.asarray(hint, bool))
    share = max(hint.sum(), 1) / max((~hint).sum(), 1)
    best = Mark(np.ones(image.shape[-1]), 1.0, 0.0)
    for colour in sorted({c[: image.shape[-1]] for c in _COLOURS}):
        opacity, agree = _opacities(from_, to, np.array(colour), 0.3)
        counts = [_counts(opacity, agree & which) for which in (inside, ~inside)]
        expected = share * counts[1]
        scores = (counts[0] - expected) / np.sqrt(expected + 10)
        if len(set(colour)) > 1:
            scores = scores / 2  # most marks are white, grey or black
        if (score := float(scores.max())) > best.score:
            k = int(scores.argmax())
            near = agree & inside & (np.abs(opacity - _BINS[k : k + 2].mean()) < 0.075)
            best = Mark(*_refined(from_[near], to[near]), score)
    return best


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
        The most likely of 27 colours with the greatest frequent opacity, and where the mark may be,
        (H, W) booleans, which are all False without a sign of a mark.
    """
    size = images[0].shape[:2]
    factor = -(-max(size) // _SIDE)
    images = [_reduced(image, factor) for image in images]
    shape = images[0].shape
    aside = [np.roll(x, (n * 37, n * 53), (0, 1)) for n, x in enumerate(images)]
    best, where = Mark(np.ones(shape[-1]), 1.0, 0.0), np.zeros(shape[:2], bool)
    for colour in sorted({c[: shape[-1]] for c in _COLOURS}):
        opacity, agree = _together(images, np.array(colour))
        chance = _counts(*_together(aside, np.array(colour)))
        counts = _counts(opacity, agree)
        scores = (counts - chance) / np.sqrt(chance + 10)
        if (score := float(scores.max())) > best.score:
            frequent = np.flatnonzero((scores > 3) & (counts > 0.1 * counts.max()))
            last = frequent[-1] if len(frequent) else int(scores.argmax())
            best = Mark(np.array(colour), float(min(_BINS[last : last + 2].mean(), 1.0)), score)
            where = _places(opacity, agree)
    return best, where.repeat(factor, 0).repeat(factor, 1)[: size[0], : size[1]]


def _reduced(image: np.ndarray, factor: int) -> np.ndarray:
    """Reduces an image (H, W, C) by the means of `factor` x `factor` pixels."""
    h, w, c = image.shape
    image = np.asarray(image, np.float32)
    padded = np.pad(image, ((0, -h % factor), (0, -w % factor), (0, 0)), mode="edge")
    cells = padded.reshape(len(padded) // factor, factor, -1, factor, c)
    return cells.mean((1, 3), dtype=np.float64)


def _together(images: Sequence[np.ndarray], colour: np.ndarray):
    """Returns opacities (4, H, W), one for each neighbour, and where all images agree."""
    found = []
    for axis, sign in itertools.product((0, 1), (1, -1)):
        pairs = [_opacities(np.roll(x, sign * DISTANCE, axis), x, colour, 0.15) for x in images]
        opacity = np.stack([p[0] for p in pairs])
        steps = [np.abs(x - np.roll(x, sign * DISTANCE, axis)).max(-1) > 0.04 for x in images]
        agree = np.logical_and.reduce([*(p[1] for p in pairs), *steps])
        agree &= np.ptp(opacity, axis=0) < _AGREE
        ends = slice(0, DISTANCE) if sign > 0 else slice(-DISTANCE, None)
        agree[(slice(None),) * axis + (ends,)] = False
        found.append((opacity.mean(0), agree))
    opacity, agree = (np.stack(part) for part in zip(*found))
    return opacity, agree


def _counts(opacity: np.ndarray, agree: np.ndarray) -> np.ndarray:
    """The number of pairs that agree on each opacity."""
    return np.histogram(opacity[agree], _BINS)[0]


def _places(opacity: np.ndarray, agree: np.ndarray) -> np.ndarray:
    """The surroundings of pixels that agree, where there are many of them."""
    from scipy import ndimage

    dots = (agree & (opacity >= _BINS[0])).any(0)
    near = ndimage.uniform_filter(dots.astype(np.float64), 25) * 25**2
    dots &= near >= 8
    reach = 2 * _REACH + 1
    closed = ndimage.binary_closing(np.pad(dots, 12), np.ones((15, 15)))[12:-12, 12:-12]
    parts, count = ndimage.label(closed, np.ones((3, 3)))
    sizes = ndimage.sum_labels(dots, parts, np.arange(1, count + 1))
    large = np.flatnonzero(sizes > 0.03 * dots.sum()) + 1
    return ndimage.binary_dilation(np.isin(parts, large), np.ones((reach, reach)))
