"""Masks of sure foreground and background (hints): checks, reduction, and the inputs of a fit."""

from collections.abc import Sequence

import numpy as np

from deepinternal.ops import fitting
from deepinternal.recipe import check_size
from deepinternal.types import InputError, Inputs

_HALF = 0.499  # least share of a hinted pixel: one half, less the rounding of the reduction


def checked(
    image: np.ndarray,
    foreground: np.ndarray | None,
    background: np.ndarray | None,
    *,
    hints: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Checks hints from files and converts them to booleans.

    Args:
        image: (H, W, C).
        foreground: (H, W), above 0.5 where a pixel is surely foreground.
        background: (H, W), above 0.5 where a pixel is surely background.
        hints: The value of the field `hints`.

    Returns:
        Foreground and background, (H, W) booleans each.

    Raises:
        InputError: One hint is missing, a hint is empty or has another size than the image, the hints
            overlap, or `hints` is 'auto'.
    """
    given = {"foreground": foreground, "background": background}
    for name, hint in given.items():
        if hint is None:
            other = next(n for n in given if n != name)
            raise InputError(
                f"config.{name}: give this hint as well as config.{other}, or neither and "
                "config.hints=auto"
            )
        if hints == "auto":
            raise InputError(
                f"config.hints=auto and config.{name} exclude each other: give only one"
            )
        check_size(name, hint, image)
    foreground, background = foreground > 0.5, background > 0.5
    for name, hint in (("foreground", foreground), ("background", background)):
        if not hint.any() or hint.all():
            what = "nothing is white" if not hint.any() else "everything is white"
            raise InputError(
                f"config.{name}: {what}; make those pixels white that are surely {name}"
            )
    if (both := int((foreground & background).sum())) > 0:
        raise InputError(
            f"config.foreground and config.background overlap in {both} pixels: make each pixel white "
            "in at most one of them; in an image of labels, config.background_label=0 takes the "
            "pixels without an object"
        )
    return foreground, background


def fitted(hint: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Changes the size of a hint (h, w) to any other.

    An enlarged hint has the values of the nearest pixels. A pixel of a reduced hint is hinted if at
    least half of its area is, or, if no pixel would be left, if any part of it is.
    """
    if max(size) < max(hint.shape):
        share = np.asarray(fitting.shrunk(np.float32(hint)[..., None], size))[..., 0]
        kept = share > _HALF
        return kept if kept.any() else share > 0
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, hint.shape))
    return hint[rows][:, columns]


def inputs(image: np.ndarray, pair: Sequence[np.ndarray]) -> Inputs:
    """Makes the inputs of a fit from an image or the frames of a video, and hints.

    Args:
        image: (..., h, w, C) in [0, 1].
        pair: Foreground and background, booleans (..., h, w) each.

    Returns:
        `image`; `foreground` and `background` (..., h, w, 1) of zeros and ones; and `prior`
        (..., h, w, 1), the mask that the hints suggest: 1, 0, or 0.5 where there is no hint.
    """
    fg, bg = (np.asarray(hint, bool) for hint in pair)
    maps = {"foreground": fg, "background": bg, "prior": (1.0 + fg - bg) / 2}
    maps = {name: np.asarray(x, np.float32)[..., None] for name, x in maps.items()}
    return {"image": image, **maps}
