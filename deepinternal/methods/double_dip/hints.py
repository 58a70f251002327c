"""Hints of what is surely foreground and surely background: checked, shrunk, and as inputs of a fit."""

from collections.abc import Sequence

import numpy as np

from deepinternal.estimators.spread import spread
from deepinternal.recipe import check_size
from deepinternal.types import InputError, Inputs


def checked(
    image: np.ndarray,
    foreground: np.ndarray | None,
    background: np.ndarray | None,
    *,
    hints: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Hints from files, if they can be used.

    Args:
        image: (H, W, C), of whose size they must be.
        foreground: (H, W), above 0.5 surely foreground.
        background: likewise.
        hints: the field of that name.

    Returns:
        Two arrays (H, W) of booleans.

    Raises:
        InputError: only one of the hints, empty or overlapping ones, another size, or hints that are
            to be found automatically.
    """
    given = {"foreground": foreground, "background": background}
    for name, hint in given.items():
        if hint is None:
            other = next(n for n in given if n != name)
            raise InputError(
                f"config.{name}: give a hint for it, too, besides config.{other}; or neither, with "
                "config.hints=auto"
            )
        if hints == "auto":
            raise InputError(f"config.hints=auto and config.{name} exclude each other: give one")
        check_size(name, hint, image)
    foreground, background = foreground > 0.5, background > 0.5
    for name, hint in (("foreground", foreground), ("background", background)):
        if not hint.any() or hint.all():
            what = "nothing is white" if not hint.any() else "everything is white"
            raise InputError(
                f"config.{name}: {what}; white pixels are those that surely belong to it"
            )
    if (both := int((foreground & background).sum())) > 0:
        raise InputError(
            f"config.foreground and config.background overlap in {both} pixels: a pixel is one or "
            "the other"
        )
    return foreground, background


def shrunk(hint: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A hint (H, W) at the size of the fit: pixels of which most is hinted."""
    if hint.shape == tuple(size):
        return hint
    factor = -(-hint.shape[0] // size[0])
    rows, columns = (np.arange(0, n, factor) for n in hint.shape)
    sums = np.add.reduceat(np.add.reduceat(hint.astype(np.float32), rows, 0), columns, 1)
    counts = np.outer(*(np.diff(np.append(p, n)) for p, n in zip((rows, columns), hint.shape)))
    kept = sums / counts >= 0.5
    return kept if kept.any() else sums > 0


def inputs(images: np.ndarray, pair: Sequence[np.ndarray], *, passed_on: bool) -> Inputs:
    """What a fit is given of images and hints.

    Args:
        images: (T, h, w, C) in [0, 1].
        pair: foreground and background, booleans of T * h * w values.
        passed_on: whether they are passed on to similar patches and along the image.

    Returns:
        `image`; `foreground` and `background` (T, h, w, 1) of zeros and ones; `prior`, likewise, the
        mask that they suggest, 0.5 where they say nothing.
    """
    fg, bg = (np.asarray(hint, bool).reshape(images.shape[:3]) for hint in pair)
    prior = (1.0 + fg - bg) / 2
    if passed_on:
        prior = np.where(fg | bg, prior, spread(images, fg, bg))
    maps = {"foreground": fg, "background": bg, "prior": prior}
    maps = {name: np.asarray(x, np.float32)[..., None] for name, x in maps.items()}
    return {"image": images, **maps}
