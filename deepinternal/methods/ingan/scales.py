"""InGAN's discriminator of many scales (section 4.2): one net for each, their maps added."""

import math
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from deepinternal.nets.ingan import PatchDiscriminator
from deepinternal.ops.resize import resize
from deepinternal.types import Array, PyTree

_SEEN = 13  # side of the smallest image that a scale looks at


def most(crop: int, ratio: float) -> int:
    """How many scales the discriminator has for crops of so many pixels a side."""
    return max(math.ceil(math.log(crop / 16) / math.log(ratio)), 1)


def looking(size: Sequence[int], most: int, ratio: float) -> int:
    """How many of `most` scales look at an image (H, W): fewer at small ones."""
    fitting = math.ceil(math.log(max(min(size) / _SEEN, 1.001)) / math.log(ratio))
    return min(max(fitting, 1), most)


def weights(step: Array, *, even_at: int, ratio: float, count: int) -> Array:
    """Weights (count,) of the scales: coarse ones first, fine ones after `even_at` steps."""
    factor = ratio ** ((even_at - step) / even_at)
    return factor ** jnp.arange(count)


def judge(
    net: PatchDiscriminator,
    params: PyTree,
    x: Array,
    weights: Array,
    *,
    ratio: float,
    antialias: bool = False,
) -> Array:
    """The discriminator's map.

    Args:
        net: of one scale.
        params: of all scales, along a leading axis (S, ...): the finest first.
        x: (N, H, W, C) in [-1, 1], sides at least 13.
        weights: (S,), of all scales; those that look at x are made to sum to 1.
        ratio: from one scale to the next.
        antialias: whether images are smoothed when they are shrunk. Without it, as published, coarse
            scales see, and by their gradients change, only a grid of the image's pixels.

    Returns:
        (N, H', W', 1) in (0, 1), H', W' those of the finest scale.
    """
    count = looking(x.shape[1:3], len(weights), ratio)
    weights = weights[:count] / jnp.sum(weights[:count])
    total, shape = 0.0, None
    for i in range(count):
        size = tuple(max(math.floor(n / ratio**i), 9) for n in x.shape[1:3])
        small = resize(x, output_shape=size, method="linear", antialias=antialias)
        made = net.apply({"params": jax.tree.map(operator.itemgetter(i), params)}, small)
        shape = shape or made.shape[1:3]
        made = resize(made, output_shape=shape, method="linear", antialias=False)
        total = total + weights[i] * made
    return total
