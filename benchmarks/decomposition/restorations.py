"""Cases of `benchmarks.decomposition` whose truth is an image: haze, reflections and watermarks."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Restoration:
    """An image, and what should be made of it.

    Attributes:
        name: Name of the case, unique in its task.
        image: float32 (H, W, C) in [0, 1]; of several images that are one job (N, H, W, C).
        truth: Of the same shape, the image that our result is compared with.
        sides: Side inputs of our method by name, such as `mask` (H, W).
        fields: Fields of our config, such as `box`.
        facts: What else is known of the case, for its score and for its record.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray
    sides: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


Rival = Callable[[Restoration], np.ndarray]  # returns an image of the shape of the truth
Score = Callable[[Mapping[str, np.ndarray], Restoration], dict[str, float]]  # outputs, case


def psnr(made: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> float:
    """Returns the PSNR in dB of images in [0, 1], over all pixels or `where` (H, W) is true."""
    error = np.square(np.asarray(made, np.float64) - truth)
    error = error if where is None else error[where]
    return float(-10 * np.log10(max(np.mean(error), 1e-12)))
