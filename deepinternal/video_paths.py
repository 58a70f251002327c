"""Named paths of sizes and shifts, for videos in which an image is retargeted continuously.

A path is a list of frames (vertical, horizontal, s0, s1): the factors of the image's sides, and the
shifts of two corners, see `ops.shear`.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Frame = tuple[float, float, float, float]


def path(name: str, frames: int, *, seed: int = 0) -> list[Frame]:
    """Returns the frames of a named path.

    Args:
        name: One of `NAMES`.
        frames: Number of frames, at least 2.
        seed: Seed of the path 'random'.

    Returns:
        The frames, with factors from 0.5 to 2 and shifts from -0.45 to 0.45.

    Raises:
        KeyError: There is no such path.

    Example:
        >>> from deepinternal import video_paths
        >>> [round(vertical, 2) for vertical, *_ in video_paths.path("zoom", 4)]
        [0.6, 1.2, 1.8, 1.2]
    """
    turns = np.arange(frames) / frames
    made = _PATHS[name](turns, np.random.default_rng(seed))
    return [(float(v), float(h), float(s0), float(s1)) for v, h, s0, s1 in made]


def _between(low: float, high: float, phase: np.ndarray) -> np.ndarray:
    """Oscillates from `low` at phase 0 to `high` at phase 0.5 and back."""
    return low + (high - low) * (1 - np.cos(2 * math.pi * phase)) / 2


def _frames(vertical: Any, horizontal: Any, s0: Any = 0.0, s1: Any = 0.0) -> np.ndarray:
    return np.stack(np.broadcast_arrays(vertical, horizontal, s0, s1), axis=-1)


def _grow_shrink(t, rng):
    return _frames(1.0, np.where(t < 0.5, _between(1, 2, 2 * t), _between(1, 0.5, 2 * t - 1)))


def _resize_round(t, rng):
    angle = 2 * math.pi * t
    return _frames(*(2 ** (0.8 * f(angle)) for f in (np.sin, np.cos)))


def _zoom(t, rng):
    return _frames(*[_between(0.6, 1.8, t)] * 2)


def _trapezoids(t, rng):
    shift = 0.4 * np.sin(2 * math.pi * t)
    return _frames(1.0, 1.0, shift, shift)


def _homography(t, rng):
    angle = 2 * math.pi * t
    return _frames(1.0, 1.0, 0.35 * np.sin(angle), 0.35 * np.cos(angle))


def _random(t, rng):
    """A smooth path through random sizes and shifts."""
    knots = rng.uniform(-1, 1, (5, 4))
    angle = 2 * math.pi * t[:, None]
    way = sum(
        (knots[k] * np.cos(k * angle) + knots[k - 1] * np.sin(k * angle)) / (k + 1)
        for k in range(1, 4)
    )
    way = way / max(np.abs(way).max(), 1e-6)
    return np.concatenate([2 ** (0.9 * way[:, :2]), 0.3 * way[:, 2:]], axis=1)


_PATHS: dict[str, Callable] = {
    "grow_shrink": _grow_shrink,
    "resize_round": _resize_round,
    "zoom": _zoom,
    "trapezoids": _trapezoids,
    "homography": _homography,
    "random": _random,
}
NAMES = tuple(_PATHS)
