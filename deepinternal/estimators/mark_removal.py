"""Removal of a mark of one colour without nets: its colour, its opacity, its matte, the image below.

The initial colour and the initial greatest opacity are those that the edges of the region agree on
(`marks`). The matte for them (`mattes`) determines which pixels lie on either side of an outline.
Since the image continues below the mark, the contrast of the marked pixels is 1 - a times that of
their unmarked neighbours, and the difference of their means gives the colour. The most likely initial
marks are improved in this way, and the mark that explains the image best is kept. Finally, the
opacity of each pixel along the outlines is fitted to the image interpolated from both sides.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from deepinternal.estimators import mattes
from deepinternal.estimators.marks import Mark

_KEPT = (3, 1)  # number of marks after the first and the second round
_BINARY = (1.0,)  # multiples of the opacity that pixels may have in the first round
_USUAL = (0.2, 0.45, 0.7)  # opacities of white marks that are also tried
_WHITE = 1.5  # factor by which a white mark is more likely than another one
_SPANS = (3, 4)  # distances in pixels across an outline, between pixels that do not touch it
_SPAN = 2  # distance in pixels across an outline, between any pixels
_FITS = (0.3, 0.2, 0.12, 0.12)  # errors from which pairs are outliers, one for each iteration
_ENOUGH = 60  # sum of weights below which a mark is left unchanged
_NEUTRAL = 0.1  # difference below which a colour counts as white or black
_VARIED = 0.03  # contrast around outlines from which it is used to estimate the opacity
_LEAST, _MOST = 0.08, 0.85  # range of opacities
_SOFTER = 1.15  # factor by which the opacity of soft outlines is underestimated
_THICKER = 1.6  # greatest factor by which the opacity of thin lines is underestimated
_REACH = 1.2  # standard deviation in pixels of the weights that interpolate along outlines
_SOFT = (
    0.35  # standard deviation of the opacity along outlines, in multiples of the greatest opacity
)
_SIDES = ((0, 1), (1, 0))  # which pixel of a pair is marked


class Removal(NamedTuple):
    """A mark and the images without it.

    Attributes:
        images: (K, H, W, C) in [0, 1].
        matte: (H, W) in [0, 1), the opacity of each pixel.
        colour: (C,) in [0, 1].
        opacity: The greatest opacity.
        gain: How much better the images are explained with the mark than without it, in contrasts per
            image.
    """

    images: np.ndarray
    matte: np.ndarray
    colour: np.ndarray
    opacity: float
    gain: float


def remove_mark(
    images: np.ndarray,
    free: np.ndarray,
    beginnings: Sequence[Mark],
    *,
    nodes: np.ndarray | None = None,
) -> Removal:
    """Removes a mark.

    Args:
        images: (K, H, W, C) in [0, 1], one or several with the same mark.
        free: (H, W) booleans, where the mark may be.
        beginnings: Initial marks, one or more.
        nodes: For a mark that repeats; see `mattes.MarkScene`.

    Returns:
        The mark with the greatest gain, and the images without it.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> clean = np.random.default_rng(0).uniform(0.2, 0.6, (1, 32, 32, 3))
        >>> matte = np.zeros((32, 32))
        >>> matte[12:20, 8:24] = 0.5
        >>> marked = (1 - matte[..., None]) * clean + matte[..., None]
        >>> start = di.estimators.Mark(colour=np.ones(3), opacity=0.5, score=0.0)
        >>> made = di.estimators.remove_mark(marked, matte > 0, [start])
        >>> bool(np.abs(made.images - clean).mean() < np.abs(marked - clean).mean() / 5)
        True
    """
    images = np.asarray(images, np.float64)
    scene = mattes.mark_scene(images, free, nodes=nodes)
    white = np.ones(images.shape[-1])
    near = lambda mark, a: mark.colour.min() > 1 - _NEUTRAL and abs(mark.opacity - a) < 0.1
    usual = [a for a in _USUAL if not any(near(mark, a) for mark in beginnings)]
    tried = [*beginnings, *(Mark(white, a, 0.0) for a in usual)]
    for count, shares in zip(_KEPT, (_BINARY, mattes.SHARES)):
        found = [_tried(scene, images, mark, shares) for mark in tried]
        best = sorted(found, key=lambda pair: -pair[0])[:count]
        tried = [mark for _, mark in best]
    mark = _tried(scene, images, tried[0], _BINARY)[1]
    return apply_mark(images, scene, mark)


def apply_mark(images: np.ndarray, scene: mattes.MarkScene, mark: Mark) -> Removal:
    """Removes a known mark.

    Args:
        images: (K, H, W, C) in [0, 1].
        scene: The scene of these images.
        mark: The mark. If it has only thin lines, its opacity is measured along their middle.

    Returns:
        The mark, and the images without it.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> clean = np.random.default_rng(0).uniform(0.2, 0.6, (1, 32, 32, 3))
        >>> matte = np.zeros((32, 32))
        >>> matte[12:20, 8:24] = 0.5
        >>> marked = (1 - matte[..., None]) * clean + matte[..., None]
        >>> scene = di.estimators.mark_scene(marked, matte > 0)
        >>> mark = di.estimators.Mark(colour=np.ones(3), opacity=0.5, score=0.0)
        >>> made = di.estimators.apply_mark(marked, scene, mark)
        >>> bool(np.abs(made.images - clean).mean() < np.abs(marked - clean).mean() / 5)
        True
    """
    images = np.asarray(images, np.float64)
    matte, gain = mattes.fit_matte(scene, mark.colour, mark.opacity)
    if _deep(matte > 0).sum() < _ENOUGH:
        most = min(_THICKER * mark.opacity, _MOST)
        values = _refined(images, matte, mark._replace(opacity=most), scene)
        ridge = (values > 0) & (values >= ndimage.maximum_filter(values, 3))
        if ridge.any():
            mark = mark._replace(opacity=float(np.median(values[ridge])))
            matte, gain = mattes.fit_matte(scene, mark.colour, mark.opacity)
    matte = _refined(images, matte, mark, scene)
    made = np.clip(mattes.without_mark(images, matte, mark.colour), 0, 1)
    return Removal(made, matte, mark.colour, mark.opacity, gain)


def _tried(scene: mattes.MarkScene, images: np.ndarray, mark: Mark, shares) -> tuple[float, Mark]:
    """Returns how likely a mark is, and the mark that its outlines suggest."""
    mark = mark._replace(opacity=float(np.clip(mark.opacity, _LEAST, _MOST)))
    matte, gain = mattes.fit_matte(scene, mark.colour, mark.opacity, shares=shares)
    shape = matte / mark.opacity
    length = max(sum(np.abs(np.diff(shape, axis=axis)).sum() for axis in (0, 1)), 1)
    solid = min(shape.sum() / length, 1)  # less for speckles than for strokes
    likely = solid * max(gain, 0) ** 2 / length
    likely *= _WHITE if mark.colour.min() > 1 - _NEUTRAL else 1
    new, agreeing = _regressed(images, shape > 0.75, mark)
    return likely * agreeing * np.sqrt(1 - mark.opacity), new  # most marks are transparent


def _deep(flags: np.ndarray) -> np.ndarray:
    """Returns the flagged pixels (H, W) whose four neighbours are flagged, too."""
    return ndimage.binary_erosion(flags, border_value=1)


def _regressed(images: np.ndarray, marked: np.ndarray, mark: Mark) -> tuple[Mark, float]:
    """Fits colour and opacity to the pixels on both sides of a mark's outlines.

    The two pixels of a pair differ in noise and texture, in proportion to their contrasts. Therefore
    1 - a is the ratio of the standard deviations, and not the slope of a regression.

    Args:
        images: (K, H, W, C) in [0, 1].
        marked: (H, W) booleans.
        mark: The present mark.

    Returns:
        The new mark, which is the present one if too few pairs agree with it; and the fraction of pairs
        that agree.
    """
    deep = _sides(images, _deep(marked), _deep(~marked), _SPANS)
    thin = len(deep[0]) < 4 * _ENOUGH
    out, in_ = _sides(images, marked, ~marked, (_SPAN,)) if thin else deep
    colour, opacity = mark.colour, mark.opacity
    for fits in _FITS:
        error = np.abs(in_ - (1 - opacity) * out - opacity * colour).max(-1)
        weight = np.square(np.maximum(1 - np.square(error / fits), 0))
        agreeing = weight.sum() / max(len(weight), 1)
        if weight.sum() < _ENOUGH:
            return mark, agreeing
        mean = lambda x, weight=weight: (weight[:, None] * x).sum(0) / weight.sum()
        means = mean(out), mean(in_)
        spread = [np.sqrt((mean(np.square(x - m))).sum()) for x, m in zip((out, in_), means)]
        if spread[0] > _VARIED:
            opacity = float(np.clip(1 - spread[1] / spread[0], _LEAST, _MOST))
            colour = np.clip((means[1] - (1 - opacity) * means[0]) / opacity, 0, 1)
        for neutral in (0.0, 1.0):
            if np.abs(colour - neutral).max() < _NEUTRAL:
                colour = np.full_like(colour, neutral)
        whole = colour - means[0]
        if (size := np.square(whole).sum()) > 0.01:
            opacity = float(np.clip(((means[1] - means[0]) * whole).sum() / size, _LEAST, _MOST))
    if thin:
        opacity = min(_SOFTER * opacity, _MOST)
    return Mark(colour, opacity, mark.score), agreeing


def _sides(images, marked, unmarked, spans) -> tuple[np.ndarray, np.ndarray]:
    """Returns the unmarked and the marked pixels (N, C) of all pairs across an outline."""
    out, in_ = [], []
    for axis, span in itertools.product((0, 1), spans):
        n = marked.shape[axis]
        ends = range(n - span), range(span, n)
        values = [images.take(end, axis + 1) for end in ends]
        for one, other in _SIDES:
            which = unmarked.take(ends[one], axis) & marked.take(ends[other], axis)
            out.append(values[one][:, which].reshape(-1, images.shape[-1]))
            in_.append(values[other][:, which].reshape(-1, images.shape[-1]))
    return np.concatenate(out), np.concatenate(in_)


def _refined(
    images: np.ndarray, matte: np.ndarray, mark: Mark, scene: mattes.MarkScene
) -> np.ndarray:
    """Fits the opacity of the pixels along the outlines to the image interpolated from both sides.

    Args:
        images: (K, H, W, C) in [0, 1].
        matte: (H, W), the opacity in a few levels.
        mark: The mark.
        scene: The scene of the images, in which the mark may repeat.

    Returns:
        (H, W).
    """
    free = scene.free[scene.nodes]
    solid = matte >= mark.opacity - 1e-6
    outline = ndimage.binary_dilation(matte > 0, np.ones((3, 3)))
    outline &= ~ndimage.binary_erosion(solid, np.ones((3, 3))) & free
    usual = ndimage.gaussian_filter(matte, 0.6)
    for _ in range(2):
        below = mattes.without_mark(images, matte, mark.colour)
        known = np.where(outline, 0.0, 1.0)
        blur = lambda x: ndimage.gaussian_filter(x, (0, _REACH, _REACH, 0))
        weights = blur(np.broadcast_to(known[None, ..., None], (1, *known.shape, 1)))
        smooth = blur(below * known[..., None]) / np.maximum(weights, 1e-6)
        whole = mark.colour - smooth
        error = np.square(scene.contrast).sum((0, -1)) + 1e-4
        top = ((images - smooth) * whole).sum((0, -1)) / error
        bottom = np.square(whole).sum((0, -1)) / error
        prior = 1 / np.square(_SOFT * mark.opacity)
        sums = [
            np.bincount(scene.nodes.ravel(), (x * outline).ravel(), len(scene.free))[scene.nodes]
            for x in (top, bottom)
        ]
        value = (sums[0] + prior * usual) / (sums[1] + prior)
        matte = np.where(outline, np.clip(value, 0, mark.opacity), matte)
    return np.where(free, matte, 0.0)
