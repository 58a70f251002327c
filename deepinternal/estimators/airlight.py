"""The colour of haze, estimated from patches that recur in an image behind more and less haze."""

import jax.numpy as jnp
import numpy as np

from deepinternal.ops.atmosphere import dark_channel
from deepinternal.ops.resizing import resize

_PATCH = 7  # side of the patches that are compared
_SIDE = 300  # greatest side of the image from which patches come, besides a smaller one
_COUNT = 2500  # number of patches from each image
_VOTES = 5000
_ALIKE = 0.9  # correlation above which two patches show the same content
_RATIO = 0.75  # ratio of their contrasts below which they differ in haze
_PRIOR, _WIDTH = 0.1, 0.03  # standard deviations of the dark channel's estimate and of a vote


def airlight_patch_recurrence(image: np.ndarray) -> np.ndarray:
    """Estimates the airlight from patches that recur in the image behind different amounts of haze.

    Two patches with the same content have means m and contrasts s that differ only because of the haze:
    m1 - A = (s1 / s2) * (m2 - A). Each such pair votes for an A. The result is the mode of the votes
    near the median colour of the haziest 0.1 % of the pixels by the dark channel.

    Args:
        image: (H, W, C) in [0, 1], C = 1 or 3.

    Returns:
        (C,) float32.

    References:
        Bahat, Irani: Blind Dehazing Using Internal Patch Recurrence. ICCP 2016, section 3.
    """
    dark = np.asarray(dark_channel(jnp.asarray(image), window=31))
    haziest = dark >= np.quantile(dark, 0.999)
    guess = np.median(np.asarray(image)[haziest], axis=0)
    votes = _votes(image)
    if len(votes) < 20:
        return guess.astype(np.float32)
    near = np.exp(-np.sum((votes - guess) ** 2, axis=1) / (2 * _PRIOR**2))
    apart = np.sum(votes**2, axis=1)
    apart = apart[:, None] + apart[None] - 2 * votes @ votes.T
    mode = votes[np.argmax(np.exp(-apart / (2 * _WIDTH**2)) @ near)]
    for _ in range(20):  # mean shift
        weight = near * np.exp(-np.sum((votes - mode) ** 2, axis=1) / (2 * _WIDTH**2))
        mode = weight @ votes / weight.sum()
    return np.clip(mode, 0, 1).astype(np.float32)


def _votes(image: np.ndarray) -> np.ndarray:
    """The airlights (n, C) for which pairs of similar patches vote."""
    rng, found = np.random.default_rng(0), []
    scale = min(1.0, _SIDE / max(image.shape[:2]))
    for factor in (scale, 0.6 * scale):
        shape = tuple(max(int(n * factor), _PATCH) for n in image.shape[:2])
        small = np.asarray(resize(jnp.asarray(image), output_shape=shape, method="box"))
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
