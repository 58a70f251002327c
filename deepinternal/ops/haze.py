"""Haze: how it is made, how it is taken away, and what colour it has.

The model is I = t * J + (1 - t) * A: J the scene, t the transmission, A the airlight. Images are
(H, W, C) in [0, 1], C = 1 or 3.
"""

import jax.numpy as jnp
import numpy as np

from deepinternal.ops.filters import minimum
from deepinternal.ops.resize import resize
from deepinternal.types import Array

_PATCH = 7  # side of the patches that are compared
_SIDE = 300  # patches come from the image with no side over this, and from a smaller one
_COUNT = 2500  # patches of each
_VOTES = 5000
_ALIKE = 0.9  # correlation from which two patches show the same
_RATIO = 0.75  # and the ratio of their contrasts under which haze tells them apart
_PRIOR, _WIDTH = 0.1, 0.03  # spread of the dark channel's estimate, and of a vote


def haze(image: Array, transmission: Array, airlight: Array) -> Array:
    """A hazy image.

    Args:
        image: (H, W, C) without haze.
        transmission: (H, W, 1), or what broadcasts to it.
        airlight: (C,) or (H, W, C).

    Returns:
        (H, W, C).
    """
    return transmission * image + (1 - transmission) * airlight


def dehaze(image: Array, transmission: Array, airlight: Array, floor: float = 0.1) -> Array:
    """The haze-free image: J = (I - (1 - t) * A) / t.

    Args:
        image: (H, W, C) with haze.
        transmission: (H, W, 1), or what broadcasts to it.
        airlight: (C,) or (H, W, C).
        floor: the least transmission that is divided by.

    Returns:
        (H, W, C), clipped to [0, 1].
    """
    transmission = jnp.clip(transmission, floor, 1)
    return jnp.clip((image - (1 - transmission) * airlight) / transmission, 0, 1)


def dark_channel(image: Array, window: int = 15) -> Array:
    """The least value of all channels in a window around each pixel.

    Args:
        image: (H, W, C).
        window: its side, odd.

    Returns:
        (H, W).

    References:
        He, Sun, Tang: Single Image Haze Removal Using Dark Channel Prior. CVPR 2009, equation 5.
    """
    return minimum(jnp.min(image, axis=-1), window)


def transmission_dark_channel(
    image: Array, airlight: Array, window: int = 15, omega: float = 0.95
) -> Array:
    """Transmission of a scene that has something dark in every window: 1 - omega * dark(I / A).

    With `omega` 1 no smooth transmission can be less, for it would leave negative colours.

    Args:
        image: (H, W, C) with haze.
        airlight: (C,) or (H, W, C).
        window: side of the window, odd.
        omega: share of the haze that is taken for haze; less leaves some of it to far objects.

    Returns:
        (H, W), in [0, 1].

    References:
        He, Sun, Tang: Single Image Haze Removal Using Dark Channel Prior. CVPR 2009, equation 12.
    """
    veil = dark_channel(image / jnp.maximum(airlight, 1e-3), window)
    return jnp.clip(1 - omega * veil, 0, 1)


def airlight_dark_channel(image: Array, window: int = 15, fraction: float = 1e-4) -> Array:
    """Airlight from the haziest pixels: each channel's maximum over those of the highest dark channel.

    Args:
        image: (H, W, C).
        window: see `dark_channel`.
        fraction: share of the pixels that counts; at least one.

    Returns:
        (C,).

    References:
        He, Sun, Tang (CVPR 2009), section 4.4, as in Double-DIP's public code.
    """
    dark = dark_channel(image, window).reshape(-1)
    haziest = jnp.argsort(-dark)[: max(int(fraction * dark.size), 1)]
    return jnp.max(image.reshape(-1, image.shape[-1])[haziest], axis=0)


def airlight_patch_recurrence(image: Array) -> np.ndarray:
    """Airlight from patches that recur in the image behind more haze and behind less.

    Two patches of the same contents have means m and contrasts s that differ by haze only:
    m1 - A = (s1 / s2) * (m2 - A). Each such pair votes for an A; the result is the mode of the votes
    near the median colour of the haziest 0.1 %, after the dark channel. Not to be traced.

    Args:
        image: (H, W, C).

    Returns:
        (C,) float32.

    References:
        Bahat, Irani: Blind Dehazing Using Internal Patch Recurrence. ICCP 2016, section 3.
    """
    dark = np.asarray(dark_channel(jnp.asarray(image), 31))
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


def _votes(image: Array) -> np.ndarray:
    """Airlights (n, C) that pairs of similar patches suggest."""
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
