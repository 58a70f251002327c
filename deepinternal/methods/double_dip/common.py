"""Functions that the decompositions share: their nets, and the refinement of finished layers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.methods.fit_config import FitConfig
from deepinternal.nets.skip import SkipNet
from deepinternal.ops import fitting
from deepinternal.ops.filters import guided_filter, guided_functions
from deepinternal.ops.resizing import resize
from deepinternal.types import Array, Output

SMALLER = "a smaller config.fit_pixels"  # the remedy for a fit that needs too much memory


def net(config: FitConfig, outputs: int, *, filters: int = 3, scales: int = 0) -> SkipNet:
    """Returns a net of `outputs` channels, kernels of side `filters` and `scales` scales (0: all)."""
    how = {"filter_down": filters, "filter_up": filters, "upsample": "corners"}
    return config.net(outputs, scales=scales, **how)


def limited(config: FitConfig, steps: int) -> int:
    """The number of steps of a stage, at most `config.steps` unless that is 0."""
    return min(steps, config.steps) if config.steps else steps


def reduced(config: FitConfig, image: np.ndarray) -> np.ndarray:
    """Reduces an image (H, W, C) on the host to the size of the fit."""
    side = getattr(config, "fit_side", 0)
    return np.asarray(fitting.reduced(image, side=side, pixels=config.fit_pixels), np.float32)


def refined(mask: Array, image: Array, *, radius: int = 50, pixels: int = 0) -> Array:
    """Enlarges a mask or transmission (h, w, 1) to (H, W) and fits its edges to the image's.

    Args:
        mask: (h, w, 1).
        image: (H, W, C), the guide of the guided filter.
        radius: Radius of the filter in pixels of the guide (of the reduced guide, if it is reduced).
        pixels: Number of pixels above which the functions of the filter come from a reduced guide; 0:
            never.
    """
    guide = fitting.reduced(image, pixels=pixels)
    shape = guide.shape[:2]
    radius = min(radius, (min(shape) - 1) // 2)
    target = fitting.enlarged(mask, shape)[..., 0]
    if shape == image.shape[:2]:
        return guided_filter(image, target, radius=radius, epsilon=1e-4)
    return applied(target, guide, image, radius=radius)


def applied(target: Array, guide: Array, image: Array, *, radius: int) -> Array:
    """Enlarges a map of a reduced image to the full one by the functions of the guided filter.

    Args:
        target: (h, w).
        guide: (h, w, C), the reduced image.
        image: (H, W, C), the full image.
        radius: Radius of the filter in pixels of the guide.

    Returns:
        (H, W).
    """
    slope, offset = guided_functions(guide, target, radius=radius, epsilon=1e-4)
    both = jnp.concatenate([slope, offset[..., None]], axis=-1)
    both = resize(both, output_shape=image.shape[:2], method="linear")
    return jnp.sum(both[..., :-1] * image, axis=-1) + both[..., -1]


def is_large(config: FitConfig, shape: tuple[int, ...]) -> bool:
    """Whether an image (H, W, ...) has more pixels than are fitted at once."""
    return fitting.factor(shape, pixels=config.fit_pixels) > 1


def remarks(
    config: FitConfig,
    full: tuple[int, ...],
    small: tuple[int, ...],
    how: str = "their edges are fitted to the image, and they are enlarged",
) -> tuple[str, ...]:
    """Says that a large image was fitted at a smaller size; for other images, returns no sentence.

    Args:
        config: The settings.
        full: (H, W, ...) of the image.
        small: (h, w, ...) of the fitted image.
        how: How the full image gets its layers.
    """
    if not is_large(config, full):
        return ()
    sizes = [f"{h}x{w}" for h, w, *_ in (full, small)]
    by_side = fitting.factor(full, side=getattr(config, "fit_side", 0))
    field = "fit_side" if by_side > fitting.factor(full, pixels=config.fit_pixels) else "fit_pixels"
    return (
        f"the layers are fitted to an image that is reduced from {sizes[0]} to {sizes[1]} pixels, "
        f"because of config.{field}={getattr(config, field)}; {how}",
    )


def over_seeds(
    replicas: int,
    layers: Sequence[str],
    finish: Callable[[dict[str, Output]], dict[str, Output]] = lambda outputs: outputs,
) -> dict[str, Any]:
    """Returns the fields of a `Method` that fits several seeds side by side; none for a single seed.

    Args:
        replicas: Number of seeds.
        layers: Names of the outputs of which the median over the seeds is taken.
        finish: Applied to the outputs after that.

    Returns:
        `replicas` and `reduce`, which adds the output `seed_spread`: the median over the seeds of the
        root mean square difference between the first layer and its median.
    """

    def reduce(outputs: dict[str, Output]) -> dict[str, Output]:
        found = outputs[layers[0]].value
        apart = jnp.square(found - jnp.median(found, axis=0))
        spread = jnp.median(jnp.sqrt(jnp.mean(apart.reshape(len(found), -1), axis=1)))
        return {**finish(median(outputs, layers)), "seed_spread": Output(spread, "scalar")}

    return {"replicas": replicas, "reduce": reduce} if replicas > 1 else {}


def median(outputs: Mapping[str, Output], layers: Sequence[str]) -> dict[str, Output]:
    """The median of the layers over the leading axis of replicas; other outputs are the first ones."""
    middle = lambda x: jnp.median(x, axis=0).astype(x.dtype)
    return {
        name: jax.tree.map(middle if name in layers else lambda x: x[0], output)
        for name, output in outputs.items()
    }
