"""What the decompositions share: their nets, schedules, and how finished layers are refined."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from deepinternal.methods import checks, optimizers
from deepinternal.nets.skip import SkipNet
from deepinternal.ops import fitting
from deepinternal.ops.filters import guided_filter
from deepinternal.types import Array, InputError, Output


def net(config: ml_collections.ConfigDict, outputs: int, *, filters: int = 3, scales: int = 0):
    """A layer's net: `config.channels` and `config.skip`, cut to `scales` scales unless 0."""
    channels = checks.whole_numbers(config, "channels", at_least=1)
    skip = checks.whole_numbers(config, "skip", at_least=0, length=len(channels))
    return SkipNet(
        outputs=outputs,
        down=channels[:scales] if scales else channels,
        skip=skip[:scales] if scales else skip,
        filter_down=filters,
        filter_up=filters,
        upsample="corners",
    )


def rate(config: ml_collections.ConfigDict, steps: int) -> float | Callable[[Array], Array]:
    """The learning rate of a phase: `config.schedule` is 'constant' or 'cosine'."""
    if config.schedule == "constant":
        return config.learning_rate
    return optimizers.short_run(steps, config.learning_rate)


def limited(config: ml_collections.ConfigDict, steps: int) -> int:
    """A phase's steps: `config.steps`, where given, is the limit of each."""
    return min(steps, config.steps) if config.steps else steps


def reconstruction_psnr(made: Array, image: Array) -> Array:
    """PSNR in dB of a mixture made from layers."""
    return -10 * jnp.log10(jnp.maximum(jnp.mean(jnp.square(made - image)), 1e-12))


def refined(mask: Array, image: Array, radius: int = 50) -> Array:
    """A mask or transmission map (h, w, 1) at the image's size, its edges the image's: (H, W)."""
    shape = image.shape[:2]
    radius = min(radius, (min(shape) - 1) // 2)
    return guided_filter(image, fitting.enlarged(mask, shape)[..., 0], radius=radius, epsilon=1e-4)


def median(outputs: Mapping[str, Output]) -> dict[str, Output]:
    """The median over the leading axis of seeds."""
    return jax.tree.map(lambda x: jnp.median(x, axis=0).astype(x.dtype), dict(outputs))


def pixel_box(
    text: str, shape: tuple[int, int], name: str = "config.box"
) -> tuple[int, int, int, int]:
    """A box 'y0,x0,y1,x1' inside an image, the end excluded.

    Raises:
        InputError: no four whole numbers, or not inside the image.
    """
    try:
        y0, x0, y1, x1 = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{name}={text!r}: give four whole numbers: y0,x0,y1,x1") from None
    h, w = shape
    if not (0 <= y0 < y1 <= h and 0 <= x0 < x1 <= w):
        raise InputError(
            f"{name}={text}: not inside the image of {h}x{w}; "
            "0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width"
        )
    return y0, x0, y1, x1


def surroundings(hint: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The rows and columns within a margin of what is hinted, at least 32 where there are so many.

    Args:
        hint: (H, W) booleans, somewhere true.
        margin: in pixels; 0: all rows and columns.

    Returns:
        Two slices.
    """
    if not margin:
        return tuple(slice(0, n) for n in hint.shape)
    found = []
    for axis, length in enumerate(hint.shape):
        places = np.flatnonzero(hint.any(axis=1 - axis))
        first, last = places[0] - margin, places[-1] + 1 + margin
        missing = max(32 - (last - first), 0)
        first = min(max(first - missing, 0), max(length - 32, 0))
        found.append(slice(int(first), int(min(max(last, first + 32), length))))
    return tuple(found)


def check(config: ml_collections.ConfigDict, steps: tuple[str, ...]) -> None:
    """Refuses fields out of range that all decompositions have.

    Args:
        config: a decomposition's.
        steps: its fields that count steps.
    """
    checks.choices(config, {"schedule": ("constant", "cosine")})
    bounds = {"steps": 0, "learning_rate": 0} | dict.fromkeys(steps, 1)
    checks.least(config, bounds)
    net(config, 3)
