"""Functions that the decompositions share: their nets, and the refinement of finished layers."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from deepinternal.methods.fit_config import FitConfig
from deepinternal.nets.skip import SkipNet
from deepinternal.ops import fitting
from deepinternal.ops.filters import guided_filter
from deepinternal.types import Array, Output


def net(config: FitConfig, outputs: int, *, filters: int = 3, scales: int = 0) -> SkipNet:
    """Returns a net of `outputs` channels, kernels of side `filters` and `scales` scales (0: all)."""
    how = {"filter_down": filters, "filter_up": filters, "upsample": "corners"}
    return config.net(outputs, scales=scales, **how)


def limited(config: FitConfig, steps: int) -> int:
    """The number of steps of a stage, at most `config.steps` unless that is 0."""
    return min(steps, config.steps) if config.steps else steps


def reconstruction_psnr(made: Array, image: Array) -> Array:
    """The PSNR in dB of a mixture that is reconstructed from layers."""
    return -10 * jnp.log10(jnp.maximum(jnp.mean(jnp.square(made - image)), 1e-12))


def refined(mask: Array, image: Array, *, radius: int = 50) -> Array:
    """Enlarges a mask or transmission (h, w, 1) to (H, W) and fits its edges to the image's."""
    shape = image.shape[:2]
    radius = min(radius, (min(shape) - 1) // 2)
    return guided_filter(image, fitting.enlarged(mask, shape)[..., 0], radius=radius, epsilon=1e-4)


def median(outputs: Mapping[str, Output]) -> dict[str, Output]:
    """The median over the leading axis of replicas."""
    return jax.tree.map(lambda x: jnp.median(x, axis=0).astype(x.dtype), dict(outputs))
