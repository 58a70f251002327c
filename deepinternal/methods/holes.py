"""Which pixels of an image are known, for methods that fill in the others."""

import numpy as np

from deepinternal.recipe import check_size
from deepinternal.types import InputError


def known_pixels(image: np.ndarray, mask: np.ndarray | None, *, task: str) -> np.ndarray:
    """Returns which pixels of an image are known.

    Args:
        image: (H, W, C).
        mask: (H, W) in [0, 1], above 0.5 where the image is known. None: pixels that are 0 in all
            channels are missing.
        task: The name of the task, for messages.

    Returns:
        Bool (H, W), with values of both kinds.

    Raises:
        InputError: No pixel is missing or no pixel is known, or the mask has another size than the
            image.
    """
    known = np.asarray((image > 0).any(axis=-1) if mask is None else mask > 0.5)
    check_size("mask", known, image)
    if not known.any() or known.all():
        what = "nothing is known" if not known.any() else "nothing is missing"
        way = "the mask must be white where the image is known and black where it is missing"
        if mask is None:
            way = "give config.mask: white where the image is known, black where it is missing"
        elif 0 < mask.max() <= 0.5:
            what += f": its greatest value is {mask.max():.3g} of 1"
        field = f"task={task}" if mask is None else "mask"
        raise InputError(f"config.{field}: {what}; {way}")
    return known
