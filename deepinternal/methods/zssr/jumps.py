"""The factors of super-resolution: a single jump, or several successive jumps (gradual)."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from deepinternal.config import numbers, parsed
from deepinternal.ops.resizing import output_size
from deepinternal.types import InputError

MAX_SCALE = 16.0
# Longest side of an image whose earlier results, from which fathers are cut, are computed as a whole.
# For
# a larger image, only its middle is enlarged, because training uses a small part of the pixels anyway.
POOLED = 1024
DIRECT = 2.25  # greatest factor that `path` reaches at once with steps
_SMALL = 1.5  # greatest ratio of a later base to the one before that takes a single jump
# Share of `train_steps` of each jump in the first doubling, and in later ones, whose results gain
# little
# from more steps. With 'published', the first doubling takes as many steps as its six factors.
_SHARES = {"steps": (0.75, 0.375), "published": (3.0, 1.5)}
# The paper's factors, as parts of the way to 2 along each axis.
_SIX = ((0.0, 0.5), (0.5, 0.0), (0.5, 0.5), (0.5, 1.0), (1.0, 0.5), (1.0, 1.0))
Factor = tuple[float, float]
_T = TypeVar("_T")


def _pairs(text: str) -> tuple[Factor, ...]:
    """Parses '2', '1.5,2' and '1,1.5;1.5,1;2'."""
    pairs = tuple(numbers(part.replace("x", ",")) for part in text.split(";"))
    if {len(pair) for pair in pairs} - {1, 2}:
        raise ValueError
    return tuple(pair if len(pair) == 2 else pair * 2 for pair in pairs)


def _factors(text: str) -> tuple[Factor, ...]:
    pairs = _pairs(text)
    if pairs != ((1, 1),) and not all(map(_usable, pairs)):  # 1 is for deblurring, see `Config`
        raise ValueError
    return pairs


def _usable(factor: Factor) -> bool:
    return all(1 <= f <= MAX_SCALE for f in factor) and max(factor) > 1


def _size(text: str) -> tuple[int, ...]:
    height, width = map(int, text.replace("x", ",").split(","))
    if min(height, width) < 1:
        raise ValueError
    return height, width


def _spelled(pairs: tuple[Factor, ...]) -> str:
    """Formats factors: '2', '1.5;3', or in full if the axes of any factor differ: '1,1.5;2,2'."""
    pairs = [[repr(float(f)).removesuffix(".0") for f in pair] for pair in pairs]
    even = all(vertical == horizontal for vertical, horizontal in pairs)
    return ";".join(pair[0] if even else ",".join(pair) for pair in pairs)


def _joined(values: tuple[int, ...]) -> str:
    return ",".join(map(str, values))


def _field(parse: Callable, text: Callable, form: str, *, optional: bool = True) -> Any:
    """The type of a field that holds a tuple, () for an empty text."""

    def read(given: str) -> tuple:
        if optional and not given.strip():
            return ()
        try:
            return parse(given)
        except ValueError:
            raise ValueError(f"must be {form}") from None

    return parsed(tuple, read, text, form)


_FORM = "a factor, or 'vertical,horizontal', or several of these separated by ';'"
RANGE = f"{_FORM}, greater than 1 and at most {MAX_SCALE:g}"
Factors = _field(_factors, _spelled, RANGE, optional=False)
Bases = _field(_pairs, _spelled, f"empty, {_FORM}")
Shape = _field(_size, _joined, "empty, or 'height,width' in pixels, whole numbers")


@dataclasses.dataclass(frozen=True)
class Jump:
    """One factor of the list.

    Attributes:
        number: Its index in the list, from 0.
        scale: (vertical, horizontal) factor from the base image to this jump's result.
        base: (H, W) of the base image: the input, or the result that replaced it.
        shape: (H', W') of the result.
        pool: Sizes of the images from which fathers are cut, relative to the base, which is the first.
        pool_shapes: Their (H, W); if there are several, those of `middle` of the base.
        back_projection: Number of iterations.
        rebase: Whether the result is the base of the following jumps.
        share: The number of steps as a part of `train_steps`.
    """

    number: int
    scale: Factor
    base: tuple[int, int]
    shape: tuple[int, int]
    pool: tuple[Factor, ...]
    pool_shapes: tuple[tuple[int, int], ...]
    back_projection: int
    rebase: bool
    share: float = 1.0


@dataclasses.dataclass(frozen=True)
class Leg:
    """A factor on the way to another one; `share` and `rebase` as in `Jump`."""

    factor: Factor
    share: float = 1.0
    rebase: bool = False


def middle(size: tuple[int, int]) -> tuple[slice, slice]:
    """Returns the rows and columns of the middle of an image, with sides of at most `POOLED` pixels."""
    parts = [min(n, POOLED) for n in size]
    return tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(size, parts))


def taken(factors: tuple[_T, ...], most: int) -> tuple[_T, ...]:
    """Selects at most `most` factors or legs, evenly spread, always with the last one; 0: all."""
    last = len(factors) - 1
    if not 0 < most <= last:
        return factors
    return tuple(factors[round(last - i * last / max(most - 1, 1))] for i in reversed(range(most)))


def path(factor: Factor, kind: str) -> tuple["Leg", ...]:
    """Returns the legs on which a factor is reached.

    The base changes at those of 2, 4 and 8 that are below the factor. Between two bases, every axis
    grows by equal parts.

    Args:
        factor: (vertical, horizontal).
        kind: 'direct': the factor alone; 'steps': a factor up to `DIRECT` alone, a greater one by way
            of the middle of each doubling; 'published': a factor up to 2 by the paper's six factors, a
            greater one as with 'steps', but with more steps of training.
    """
    if kind == "direct" or (kind == "steps" and max(factor) <= DIRECT):
        return (Leg(factor),)
    if max(factor) <= 2:
        found = (tuple(1 + p * (f - 1) for p, f in zip(part, factor)) for part in _SIX)
        return tuple(Leg(f) for f in dict.fromkeys(found) if max(f) > 1)
    legs, base = [], (1.0, 1.0)
    while base != factor:
        reached = tuple(min(2 * b, f) for b, f in zip(base, factor))
        share = _SHARES[kind][bool(legs)]
        if not legs or max(r / b for r, b in zip(reached, base)) > _SMALL:
            legs.append(Leg(tuple((b + r) / 2 for b, r in zip(base, reached)), share))
        legs.append(Leg(reached, share, rebase=reached != factor))
        base = reached
    return tuple(legs)


def plan(
    config: Any, size: tuple[int, int], *, back_projection: int, alone: bool = False
) -> tuple[Jump, ...]:
    """Returns the jumps for an input of `size`.

    Args:
        config: Has the fields `scale`, `path`, `output_shape`, `rounds`, `base_change`, `jumps`,
            `back_projection`.
        size: (H, W) of the input.
        back_projection: Number of iterations if the config has 'auto'.
        alone: Whether the image has a kernel or a degradation, which belongs to one factor, so that
            `path` adds none.

    Raises:
        InputError: The fields contradict each other, or they do not suit the size.
    """
    factors, changes = _factors_for(config, size), config.base_change
    shares = (1.0,) * (len(factors) + config.rounds - 1)
    single = len(factors) == config.rounds == 1 and not changes
    if single and not alone:
        legs = taken(path(factors[0], config.path), config.jumps)
        factors, shares = tuple(leg.factor for leg in legs), tuple(leg.share for leg in legs)
        changes = tuple(leg.factor for leg in legs if leg.rebase)
    factors += factors[-1:] * (config.rounds - 1)
    for change in changes:
        if change not in factors or change == factors[-1]:
            raise InputError(
                f"config.base_change={_spelled(config.base_change)}: {_spelled((change,))} must be one "
                "of the factors of config.scale before the last"
            )
    counts = config.back_projection
    counts = (back_projection,) if counts == "auto" else counts
    if len(counts) not in (1, len(factors)):
        raise InputError(
            f"config.back_projection={_joined(counts)}: give one number"
            + (f", or {len(factors)} joined by commas" if len(factors) > 1 else "")
        )
    counts = counts if len(counts) == len(factors) else counts * len(factors)
    jumps, base, base_factor, pool, pool_shapes = [], size, (1.0, 1.0), ((1.0, 1.0),), (size,)
    for number, (factor, share, count) in enumerate(zip(factors, shares, counts)):
        scale = tuple(f / b for f, b in zip(factor, base_factor))
        if min(scale) < 1 or max(scale) == 1:
            raise InputError(
                f"config.scale={_spelled(config.scale)}: factors after a base change must be greater "
                "than that of the new base"
            )
        # The size is rounded up once, not at every change of base.
        last = factor == factors[-1]
        shape = target_size(config, size)[1] if last else output_size(base, scale)
        rebase = factor in changes
        jumps.append(Jump(number, scale, base, shape, pool, pool_shapes, count, rebase, share))
        part = tuple(min(n, POOLED) for n in base)
        made = shape if part == base else output_size(part, scale)
        pool, pool_shapes = (*pool, scale), (part, *pool_shapes[1:], made)
        if rebase:
            base, base_factor, pool, pool_shapes = shape, factor, ((1.0, 1.0),), (shape,)
    return tuple(jumps)


def target_size(config: Any, size: tuple[int, int]) -> tuple[Factor, tuple[int, int]]:
    """Returns the (vertical, horizontal) factor and the (H, W) of the result for an input of `size`.

    Raises:
        InputError: The output shape does not suit the size.
    """
    factor = _factors_for(config, size)[-1]
    return factor, config.output_shape or output_size(size, factor)


def _factors_for(config: Any, size: tuple[int, int]) -> tuple[Factor, ...]:
    """The factors of config.scale, or the single factor that config.output_shape implies."""
    if not config.output_shape:
        return config.scale
    factor = tuple(o / n for o, n in zip(config.output_shape, size))
    if not _usable(factor):
        raise InputError(
            f"config.output_shape={_joined(config.output_shape)} on a {size[0]}x{size[1]} image: scale "
            f"factors must be greater than 1 and at most {MAX_SCALE:g}"
        )
    return (factor,)
