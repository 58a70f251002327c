"""The colour and the opacity of a watermark, from the edges that it makes.

Of two pixels on both sides of a mark's edge, with the same image under them, one is
p = (1 - a) * q + a * w of the other: all such pairs agree on the opacity a and the colour w, while the
edges of the image itself agree on nothing.
"""

import itertools
from typing import NamedTuple

import numpy as np

DISTANCE = 2  # pixels between the two of a pair, so that a soft edge lies between them
_LEAST_STEP = 0.08  # between the two
_TOLERANCE = 0.03
_BINS = np.linspace(0.175, 1.025, 18)
_COLOURS = tuple(itertools.product((0.0, 0.5, 1.0), repeat=3))


class Mark(NamedTuple):
    """What `search` finds.

    Attributes:
        colour: (C,) in [0, 1].
        opacity: in (0, 1].
        score: how far the pairs that agree on them exceed those expected without a mark, in standard
            deviations of a Poisson count; over 20 is hardly chance.
    """

    colour: np.ndarray
    opacity: float
    score: float


def search(image: np.ndarray, hint: np.ndarray) -> Mark:
    """The colour and opacity on which most edges within a region agree.

    Args:
        image: (H, W, C) in [0, 1].
        hint: (H, W) booleans, the region; pairs outside of it tell what is to be expected by chance.

    Returns:
        Of 27 colours (3 of grey images) and 17 opacities from 0.2 the likeliest, then refined by
        least squares over the pairs that agree.
    """
    from_, to, inside = _pairs(np.asarray(image, np.float64), np.asarray(hint, bool))
    share = max(hint.sum(), 1) / max((~hint).sum(), 1)
    best = Mark(np.ones(image.shape[-1]), 1.0, 0.0)
    for colour in sorted({c[: image.shape[-1]] for c in _COLOURS}):
        opacity, agree = _opacities(from_, to, np.array(colour))
        counts = [np.histogram(opacity[agree & which], _BINS)[0] for which in (inside, ~inside)]
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
    """Pairs of pixels across edges, (N, C) each, in both orders; whether both lie inside (N,)."""
    pixels, inside = [], []
    for axis in (0, 1):
        n = image.shape[axis]
        first, second = (
            [np.take(x, span, axis) for x in (image, hint)]
            for span in (range(n - DISTANCE), range(DISTANCE, n))
        )
        edge = np.abs(first[0] - second[0]).max(-1) > _LEAST_STEP
        edge &= first[1] == second[1]
        pixels.append([first[0][edge], second[0][edge]])
        inside.append(first[1][edge])
    first, second = (np.concatenate(part) for part in zip(*pixels))
    both = np.concatenate([first, second]), np.concatenate([second, first])
    return *both, np.tile(np.concatenate(inside), 2)


def _opacities(from_: np.ndarray, to: np.ndarray, colour: np.ndarray):
    """For each pair the opacity that explains it best, (N,), and whether it explains it."""
    step, whole = to - from_, colour - from_
    length = (whole**2).sum(-1)
    opacity = (step * whole).sum(-1) / (length + 1e-6)
    error = np.abs(step - opacity[:, None] * whole).max(-1)
    return opacity, (error < _TOLERANCE) & (length > 0.09)


def _refined(from_: np.ndarray, to: np.ndarray) -> tuple[np.ndarray, float]:
    """Colour and opacity by least squares: to = (1 - a) * from + a * w, a > 0."""
    centred = from_ - from_.mean(0)
    slope = (centred * (to - to.mean(0))).sum() / max((centred**2).sum(), 1e-6)
    opacity = float(np.clip(1 - slope, 0.05, 1.0))
    return np.clip((to - (1 - opacity) * from_).mean(0) / opacity, 0, 1), opacity
