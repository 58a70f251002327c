"""The sizes for which InGAN is trained: a finite set, since each needs a program of its own.

The paper draws the factor of each side anew in every iteration, from a range that grows from 1 to its
full width. Here the pairs of factors are a fixed sequence: first those that change one side to its
greatest or least length, then four near 1, then pairs that fill the full range evenly. A step draws one
of the sizes that lie within the current range.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np

from deepinternal.nets.ingan import LEAST, MULTIPLE

# Steps of the additive recurrence of lowest discrepancy in two dimensions: powers of 1 / 1.3247..., the
# real solution of x^3 = x + 1.
_STEPS = (0.7548776662466927, 0.5698402909980532)
_INNER = 0.3  # position in the range of the first factors besides 1


def rounded(side: float) -> int:
    """Rounds a side of the generator's output up to a multiple of 8, at least 16."""
    return max(math.ceil(round(side / MULTIPLE, 6)) * MULTIPLE, LEAST)


@functools.lru_cache(maxsize=64)
def shapes(
    crop: tuple[int, int], count: int, smallest: float, largest: float
) -> tuple[tuple[tuple[int, int], float], ...]:
    """Returns the sizes, and how far the range must have grown for each.

    Args:
        crop: (h, w) of the generator's input.
        count: Number of the sizes, besides that of `crop`.
        smallest: Least factor, less than 1.
        largest: Greatest factor, greater than 1.

    Returns:
        Distinct ((H, W), reach), with reach from 0, for the crop's own size, to 1.
    """
    down, up = 1 - smallest, largest - 1
    near = (1 - _INNER * down, 1 + _INNER * up)
    pairs = [(1.0, 1.0)]
    pairs += [pair for f in (largest, smallest) for pair in ((1.0, f), (f, 1.0))]
    pairs += [(v, h) for v in near for h in near]
    for n in range(count):
        pairs.append(tuple(smallest + (largest - smallest) * ((0.5 + n * a) % 1) for a in _STEPS))
    found: dict[tuple[int, int], float] = {}
    for pair in pairs[: count + 1]:
        size = tuple(rounded(side * factor) for side, factor in zip(crop, pair))
        reach = max((1 - f) / down if f < 1 else (f - 1) / up for f in pair)
        found[size] = min(found.get(size, 1.0), max(reach, 0.0))
    return tuple(found.items())


def draw(
    sizes: Sequence[tuple[tuple[int, int], float]], progress: float, seed: int, number: int
) -> tuple[int, int]:
    """Draws one of the sizes.

    Args:
        sizes: As `shapes` returns them.
        progress: How far the range has grown, from 0 to 1.
        seed: Seed of the run.
        number: Number of the draw.

    Returns:
        (H, W). All sizes within the range are equally likely.
    """
    within = [size for size, reach in sizes if reach <= progress]
    return within[int(np.random.default_rng((seed, number)).integers(len(within)))]
