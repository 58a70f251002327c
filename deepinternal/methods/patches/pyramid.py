"""The scales at which patches are matched, from coarse to fine."""

import dataclasses
import math
from collections.abc import Sequence

import jax.numpy as jnp

from deepinternal.methods.patches.config import Config, Size, counts, least_side
from deepinternal.ops.resizing import resize
from deepinternal.types import Array, InputError

_LARGEST = 32 * 10**6  # pixels of an image or a result
_GRID = 4  # pixels; see `on_grid`


@dataclasses.dataclass(frozen=True)
class Level:
    """A scale, or one of the sizes at the coarsest scale.

    Attributes:
        source: (H, W) of the source.
        result: (H, W) of the result.
    """

    source: Size
    result: Size

    def pairs(self, patch: int) -> int:
        """The number of pairs of a patch of the result and one of the source."""
        return math.prod(max(n - patch + 1, 0) for n in (*self.source, *self.result))


def resized(image: Array, size: Size) -> Array:
    """Resizes an image (h, w, C) in [0, 1] to (H, W, C), cubic and antialiased."""
    if image.shape[:2] == tuple(size):
        return image
    return jnp.clip(resize(image, output_shape=size), 0, 1)


def check(source: Size, result: Size, least: int = 1, reason: str = "") -> None:
    """Refuses an image or a result of a size (H, W) with a side shorter than `least`, or too large.

    Raises:
        InputError: The size is not possible.
    """
    for what, size in (("the image", source), ("the result", result)):
        is_of = f"{what} is {size[0]}x{size[1]} (height x width)"
        if min(size) < least:
            raise InputError(f"{is_of}: its sides must be at least {least} pixels{reason}")
        if math.prod(size) > _LARGEST:
            raise InputError(
                f"{is_of}: it must have at most {_LARGEST / 1e6:.0f} million pixels; reduce the image "
                "first, or ask for a smaller result"
            )


def levels(config: Config, source: Size, result: Size) -> tuple[Level, ...]:
    """Returns the scales, the coarsest first, each with the sizes of the source and the result.

    Args:
        config: The settings.
        source: (H, W) of the source at full size.
        result: (H, W) of the result at full size.

    Raises:
        InputError: A side is too short for the patches, or an image is too large.
    """
    check(
        source, result, max(config.patch + 1, 8), f" for patches of {config.patch}x{config.patch}"
    )
    shortest = min(*source, *result)
    least = min(least_side(config), shortest)
    count = int(math.log(shortest / least) / math.log(config.ratio) + 1e-9)
    at = lambda size, k: tuple(max(round(n / config.ratio**k), least) for n in size)
    return tuple(Level(at(source, k), at(result, k)) for k in range(count, -1, -1))


def on_grid(config: Config, source: Size, result: Size) -> tuple[Size, Size]:
    """Rounds the sides of an image and a result up to multiples of 4, if both have several scales.

    Regions that are copied at a coarse scale then stay on the same grid of pixels at the finer scales,
    each of which is twice as large. Otherwise, a single offset becomes several, which leaves seams.
    """
    check(source, result)
    if min(*source, *result) < _GRID * least_side(config):
        return source, result
    return tuple(tuple(-(-n // _GRID) * _GRID for n in size) for size in (source, result))


def extended(image: Array, size: Size) -> Array:
    """Returns an image (h, w, C) with mirrored borders below and at the right, (H, W, C)."""
    more = [(0, n - m) for n, m in zip(size, image.shape)]
    return jnp.pad(jnp.asarray(image), (*more, (0, 0)), mode="symmetric")


def thinned(
    levels: Sequence[Level], count: int, ratio: float, coarse_ratio: float
) -> tuple[Level, ...]:
    """Replaces the scales after the first `count` by as few as possible.

    Args:
        levels: The scales, the coarsest first.
        count: The number of scales that are kept.
        ratio: The greatest ratio of the sizes of two successive ones of the others.
        coarse_ratio: The ratio of the sizes of two successive ones of `levels`.
    """
    whole = coarse_ratio ** (len(levels) - count)  # from the last scale that is kept to full size
    steps = counts(1, whole, ratio)
    # The same factor for both, rounded once, keeps the positions of both on the same grid.
    at = lambda size, i: tuple(round(n * whole ** (i / steps - 1)) for n in size)
    full = levels[-1]
    fine = [Level(at(full.source, i), at(full.result, i)) for i in range(1, steps + 1)]
    return (*levels[:count], *fine)


def limited(config: Config, source: Size, result: Size, count: int) -> Config:
    """Returns a config with which there are at most `count` scales; see `levels`."""
    side = int(min(*source, *result) / config.ratio ** (count - 1))
    return config.model_copy(update={"smallest": max(config.smallest, side)})


def growth(config: Config, start: Size, end: Size) -> tuple[Size, ...]:
    """Returns the sizes from `start`, without it, to `end`, each within a factor of the one before."""
    steps = max(*(counts(a, b, config.growth) for a, b in zip(start, end)), 1)
    return tuple(
        tuple(round(a * (b / a) ** (i / steps)) for a, b in zip(start, end))
        for i in range(1, steps + 1)
    )
