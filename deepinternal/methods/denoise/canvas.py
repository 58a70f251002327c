"""Canvases: arrays of one size for images of different sizes, so that they share programs and batches.

An image lies in the upper left of its canvas. Whatever depends on its size is computed from the input
`size`, so that the results equal those of the image alone up to float rounding.
"""

from collections.abc import Hashable, Mapping

import numpy as np

from deepinternal.methods.denoise import ridge, scales
from deepinternal.methods.denoise.config import Config
from deepinternal.methods.denoise.decisions import LEAST, LEVELS
from deepinternal.types import Inputs


def group(
    config: Config, shape: tuple[int, ...], given: Mapping[str, tuple[int, ...]]
) -> Hashable | None:
    """Returns a value that images must have in common in order to share a canvas; see `recipe.Canvas`.

    Args:
        config: The settings.
        shape: (H, W, C) of an image.
        given: The shapes of its masks, by field.

    Returns:
        The channels, and the sizes of the patches and groups, which are smaller in tiny images. None if
        the algorithm needs images of one size.
    """
    filled_in = "mask" in given and config.algorithm == "auto"
    if config.algorithm not in ("auto", "ridge") or filled_in or min(shape[:2]) < LEAST:
        return None
    plans = (ridge.passes(config, shape, level) for level in LEVELS)
    settings = tuple(p.settings for both in plans for p in both)
    return shape[-1], tuple(sorted(given)), settings, min(shape[:2]) >= scales.LEAST


def pad(config: Config, inputs: Inputs, canvas: tuple[int, int]) -> Inputs:
    """Puts an image on a canvas, on the host; see `recipe.Canvas`.

    Returns:
        The inputs with a larger `image`, `mask`, `mosaic` and `share`, which are zero beyond the given
        ones, and `size`, int32 (2,), the (H, W) of the image.
    """
    del config
    size = inputs["image"].shape[:2]
    padded = {n: _padded(inputs[n], canvas) for n in ("image", "mask") if n in inputs}
    large = scales.mosaic_size(*canvas)
    padded |= {n: _padded(inputs[n], large) for n in ("mosaic", "share") if n in inputs}
    return {**inputs, **padded, "size": np.asarray(size, np.int32)}


def _padded(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.pad(image, [*((0, c - n) for c, n in zip(size, image.shape[:2])), (0, 0)])
