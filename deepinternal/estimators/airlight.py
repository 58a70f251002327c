"""The colour of haze, estimated from patches that recur in an image behind more and less haze."""

import numpy as np

from deepinternal.estimators import haze

_PATCH = 7  # side of the patches that are compared
_SIDE = 300  # greatest side of the image that patches are taken from, besides a smaller version
_COUNT = 2500  # number of patches from each image
_VOTES = 5000
_ALIKE = 0.9  # correlation above which two patches have the same content
_RATIO = 0.75  # ratio of their contrasts below which they differ in haze
_PRIOR, _WIDTH = 0.1, 0.03  # standard deviations of the dark channel's estimate, and of a vote
_FAR = 0.054  # distance between the estimates above which they disagree
_DENSE = 0.56  # haziness above which the airlight is visible in the image
# The fraction of synthetic hazes of benchmarks/decomposition/haze.py whose airlight was right within
# 0.05 in all channels, by how many of two conditions hold: the estimates agree, and the haze is dense.
_CONFIDENCES = (0.25, 0.5, 0.8)
_SHARE = 0.4  # weight of the darkest colours in the hue of an airlight if a condition does not hold


def airlight_patch_recurrence(image: np.ndarray) -> np.ndarray:
    """Estimates the airlight from patches that recur in the image behind different amounts of haze.

    Two patches with the same content have means m and contrasts s that differ only because of the haze:
    m1 - A = (s1 / s2) * (m2 - A). Each such pair votes for an A. The result is the mode of the votes
    near the greatest values of the channels in the haziest 1 % of the pixels by the dark channel.

    Args:
        image: (H, W, C) in [0, 1], C = 1 or 3; it is reduced to `haze.SIDE` pixels.

    Returns:
        (C,) float32.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> scene = np.tile(np.random.default_rng(0).uniform(size=(12, 12, 3)), (3, 3, 1))
        >>> haze = np.linspace(0.1, 0.9, 36)[:, None, None]
        >>> image = (1 - haze) * scene + haze * [0.8, 0.8, 0.9]
        >>> print(di.estimators.airlight_patch_recurrence(image).round(1))
        [0.8 0.8 0.9]

    References:
        Bahat, Irani: Blind Dehazing Using Internal Patch Recurrence. ICCP 2016, section 3.
    """
    image = haze.reduced(image)
    prior = _haziest(image, 31, 0.01).max(axis=0)
    votes = _votes(image)
    if len(votes) < 20:
        return prior.astype(np.float32)
    near = np.exp(-np.sum((votes - prior) ** 2, axis=1) / (2 * _PRIOR**2))
    apart = np.sum(votes**2, axis=1)
    apart = apart[:, None] + apart[None] - 2 * votes @ votes.T
    mode = votes[np.argmax(np.exp(-apart / (2 * _WIDTH**2)) @ near)]
    for _ in range(20):  # mean shift
        weight = near * np.exp(-np.sum((votes - mode) ** 2, axis=1) / (2 * _WIDTH**2))
        mode = weight @ votes / weight.sum()
    return np.clip(mode, 0, 1).astype(np.float32)


def airlight_and_confidence(image: np.ndarray) -> tuple[np.ndarray, float]:
    """Estimates the airlight, and how certain it is.

    The airlight is that of `airlight_patch_recurrence`. If the confidence in it is not the highest, its
    hue is moved towards that of the darkest colours, which in haze are mostly airlight.

    Args:
        image: (H, W, C) in [0, 1], C = 1 or 3; it is reduced to `haze.SIDE` pixels.

    Returns:
        The airlight (C,) float32, and its confidence, see `airlight_confidence`.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> light, confidence = di.estimators.airlight_and_confidence(np.full((32, 32, 3), 0.75))
        >>> light, confidence
        (array([0.75, 0.75, 0.75], dtype=float32), 0.5)
    """
    image = haze.reduced(image)
    light = airlight_patch_recurrence(image)
    confidence = airlight_confidence(image, light)
    if confidence < _CONFIDENCES[-1]:
        level = light.mean()
        light = (1 - _SHARE) * light + _SHARE * level * _darkest(image)
    return np.clip(light, 0, 1).astype(np.float32), confidence


def _darkest(image: np.ndarray) -> np.ndarray:
    """Returns the median of the darkest colours of textured windows, (C,), scaled to mean 1."""
    dark = np.stack(
        [haze.dark_channel(x[..., None], 65) for x in np.moveaxis(image, -1, 0)], axis=-1
    )
    dark = dark[haze.contrast(image, 65) > 0.02]
    if len(dark) < 100 or dark.mean() < 1e-2:
        return np.ones(image.shape[-1])
    levels = dark.mean(axis=1)
    dark = dark[levels >= max(np.median(levels), 1e-3)]
    return np.median(dark / dark.mean(axis=1, keepdims=True), axis=0)


def airlight_confidence(image: np.ndarray, airlight: np.ndarray) -> float:
    """Returns how likely an estimated airlight is right within 0.05 in all channels.

    Args:
        image: (H, W, C) in [0, 1], C = 1 or 3; it is reduced to `haze.SIDE` pixels.
        airlight: (C,), from `airlight_patch_recurrence`.

    Returns:
        The fraction of synthetic hazes whose airlight was right. It is greater if the colours of the
        haziest pixels, which the dark channel selects in three ways, agree with the airlight, and if
        the haze is dense.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.random.default_rng(0).uniform(0.6, 0.8, (32, 32, 3))
        >>> di.estimators.airlight_confidence(image, np.array([0.8, 0.8, 0.8]))
        0.5
    """
    image = haze.reduced(image)
    others = (
        _haziest(image, 31, 0.01).max(axis=0),
        np.median(_haziest(image, 31, 0.001), axis=0),
        _haziest(image, 15, 0.001).mean(axis=0),
    )
    agree = max(float(np.abs(airlight - other).max()) for other in others) < _FAR
    dense = haze.haziness(image, np.maximum(airlight, 1e-3)) > _DENSE
    return _CONFIDENCES[agree + dense]


def _haziest(image: np.ndarray, window: int, fraction: float) -> np.ndarray:
    """Returns the colours (n, C) of the given fraction of the pixels with the highest dark channel."""
    dark = haze.dark_channel(image, window)
    count = max(int(fraction * dark.size), 1)
    return image.reshape(-1, image.shape[-1])[np.argsort(-dark, axis=None, kind="stable")[:count]]


def _votes(image: np.ndarray) -> np.ndarray:
    """Returns the airlights (n, C) that pairs of similar patches vote for."""
    rng, found = np.random.default_rng(0), []
    scale = min(1.0, _SIDE / max(image.shape[:2]))
    for factor in (scale, 0.6 * scale):
        shape = tuple(max(int(n * factor), _PATCH) for n in image.shape[:2])
        small = haze.resized(image, shape, "box")
        windows = np.lib.stride_tricks.sliding_window_view(small, (_PATCH, _PATCH), (0, 1))
        patches = windows.reshape(-1, image.shape[-1], _PATCH * _PATCH)
        structured = np.flatnonzero(patches.std(axis=-1).mean(axis=-1) > 0.01)
        found.append(patches[rng.permutation(structured)[:_COUNT]])
    patches = np.concatenate(found)
    if len(patches) < 2:
        return np.zeros((0, image.shape[-1]))
    means = patches.mean(axis=-1)
    shapes = (patches - means[..., None]).reshape(len(patches), -1)
    contrasts = np.linalg.norm(shapes, axis=1)
    shapes = shapes / contrasts[:, None]
    alike = shapes @ shapes.T
    hazy, clear = np.nonzero((alike > _ALIKE) & (contrasts[:, None] < _RATIO * contrasts[None]))
    ratio = (contrasts[hazy] / contrasts[clear])[:, None]
    votes = (means[hazy] - ratio * means[clear]) / (1 - ratio)
    weights = (alike[hazy, clear] - _ALIKE) * (1 - ratio[:, 0])
    plausible = np.all((votes > 0.2) & (votes < 1.05), axis=1)
    votes, weights = votes[plausible], weights[plausible]
    if len(votes) <= _VOTES:
        return votes
    return votes[rng.choice(len(votes), _VOTES, replace=False, p=weights / weights.sum())]
