"""The factors of super-resolution: one jump, or several from one result to the next (gradual)."""

import dataclasses

import ml_collections
import numpy as np

from deepinternal.ops.resize import output_size
from deepinternal.types import InputError

MAX_SCALE = 16.0
Factor = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Jump:
    """One factor of the list.

    Attributes:
        number: its place in the list, from 0.
        scale: (vertical, horizontal) factor from the base image to this jump's result.
        base: (H, W) of the base image: the input, or the result that took its place.
        shape: (H', W') of the result.
        pool: sizes of the images that fathers are cut from, in units of the base, which comes first.
        pool_shapes: their (H, W).
        back_projection: iterations.
        rebase: whether the result is the base of the jumps that follow.
    """

    number: int
    scale: Factor
    base: tuple[int, int]
    shape: tuple[int, int]
    pool: tuple[Factor, ...]
    pool_shapes: tuple[tuple[int, int], ...]
    back_projection: int
    rebase: bool


def plan(
    config: ml_collections.ConfigDict, size: tuple[int, int], *, back_projection: int
) -> tuple[Jump, ...]:
    """The jumps for an input of `size`.

    Args:
        config: `scale`, `output_shape`, `rounds`, `base_change`, `back_projection`.
        size: (H, W) of the input.
        back_projection: iterations where the config leaves them open.

    Raises:
        InputError: a field that cannot be read, or out of range.
    """
    factors = _factors(config, size)
    factors += factors[-1:] * (config.rounds - 1)
    changes = _pairs("base_change", config.base_change) if config.base_change.strip() else ()
    for change in changes:
        if change not in factors or change == factors[-1]:
            text = ",".join(f"{f:g}" for f in change)
            raise InputError(
                f"config.base_change={config.base_change}: {text} is not one of config.scale's "
                "factors before the last"
            )
    counts = _counts(config.back_projection, len(factors), back_projection)
    jumps, base, base_factor, pool, pool_shapes = [], size, (1.0, 1.0), ((1.0, 1.0),), (size,)
    for number, (factor, count) in enumerate(zip(factors, counts)):
        scale = tuple(f / b for f, b in zip(factor, base_factor))
        if min(scale) < 1 or max(scale) == 1:
            raise InputError(
                f"config.scale={config.scale}: after the change of base, factors must be greater "
                "than the new base's"
            )
        # Rounded up once, not at every change of base.
        last = factor == factors[-1]
        shape = target_size(config, size)[1] if last else output_size(base, scale)
        rebase = factor in changes
        jumps.append(Jump(number, scale, base, shape, pool, pool_shapes, count, rebase))
        pool, pool_shapes = (*pool, scale), (*pool_shapes, shape)
        if rebase:
            base, base_factor, pool, pool_shapes = shape, factor, ((1.0, 1.0),), (shape,)
    return tuple(jumps)


def target_size(
    config: ml_collections.ConfigDict, size: tuple[int, int]
) -> tuple[Factor, tuple[int, int]]:
    """((vertical, horizontal) factors, (H, W)) of the final result for an input of `size`.

    Raises:
        InputError: a scale or an output shape that is malformed or out of range.
    """
    factor = _factors(config, size)[-1]
    return factor, _shape(config) if config.output_shape else output_size(size, factor)


def _factors(config: ml_collections.ConfigDict, size: tuple[int, int]) -> tuple[Factor, ...]:
    """config.scale, or the one factor that config.output_shape stands for; checked."""
    if config.output_shape:
        factors = (tuple(o / n for o, n in zip(_shape(config), size)),)
        what = f"config.output_shape={config.output_shape} on a {size[0]}x{size[1]} image: scale"
    else:
        factors = _pairs("scale", config.scale)
        what = f"config.scale={config.scale}: factors"
    for factor in factors:
        usable = min(factor) >= 1 and 1 < max(factor) <= MAX_SCALE and np.isfinite(factor).all()
        if not usable:
            raise InputError(f"{what} must be greater than 1 and at most {MAX_SCALE:g}")
    return factors


def _shape(config: ml_collections.ConfigDict) -> tuple[int, int]:
    shape = _numbers("output_shape", config.output_shape, (2,), "'height,width'")
    if not all(n.is_integer() for n in shape):
        raise InputError(f"config.output_shape: {config.output_shape} are not whole numbers")
    return tuple(int(n) for n in shape)


def _pairs(field: str, value) -> tuple[Factor, ...]:
    """Reads '2', '1.5,2', '1,1.5;1.5,1;2', 2 or (1.5, 2)."""
    parts = value.split(";") if isinstance(value, str) else [value]
    form = "a number or two, 'vertical,horizontal', several with semicolons between them"
    pairs = [_numbers(field, part, (1, 2), form, whole=str(value)) for part in parts]
    return tuple(pair if len(pair) == 2 else (*pair, *pair) for pair in pairs)


def _numbers(
    field: str, value, lengths: tuple[int, ...], form: str, *, whole: str = ""
) -> tuple[float, ...]:
    """The numbers in a part of a field's text; the whole of it is for messages."""
    parts = value.replace("x", ",").split(",") if isinstance(value, str) else np.ravel(value)
    try:
        numbers = tuple(float(p) for p in parts)
    except ValueError:
        numbers = ()
    if len(numbers) not in lengths:
        raise InputError(f"config.{field}={whole or value!r} cannot be read: give {form}")
    return numbers


def _counts(value: str, jumps: int, default: int) -> tuple[int, ...]:
    """Iterations of back-projection per jump from '', '10' or '6,6,8'."""
    if not value.strip():
        return (default,) * jumps
    form = "a whole number" + (f", or {jumps} with commas between them" if jumps > 1 else "")
    counts = _numbers("back_projection", value, (1, jumps), form)
    if not all(n.is_integer() and 0 <= n <= 1000 for n in counts):
        raise InputError(f"config.back_projection={value!r}: give {form}, from 0 to 1000")
    counts = tuple(int(n) for n in counts)
    return counts if len(counts) == jumps else counts * jumps
