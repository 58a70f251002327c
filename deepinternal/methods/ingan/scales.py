"""InGAN's discriminator of many scales (section 4.2): one net for each scale, whose maps are added."""

import math
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from deepinternal.nets.ingan import PatchDiscriminator
from deepinternal.ops.resizing import resize
from deepinternal.types import Array, PyTree

_SEEN = 13  # least side in pixels of an image that a scale judges


def most(crop: int, ratio: float) -> int:
    """The number of the discriminator's scales for crops with a side of `crop` pixels."""
    return max(math.ceil(math.log(crop / 16) / math.log(ratio)), 1)


def looking(size: Sequence[int], most: int, ratio: float) -> int:
    """The number of scales, at most `most`, that judge an image (H, W): fewer for small images."""
    fitting = math.ceil(math.log(max(min(size) / _SEEN, 1.001)) / math.log(ratio))
    return min(max(fitting, 1), most)


def weights(step: Array, *, even_at: int, ratio: float, count: int) -> Array:
    """Weights (count,) of the scales: greater for coarse ones before step `even_at`, then for fine."""
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
    """Returns the discriminator's map.

    Args:
        net: The net of one scale.
        params: The parameters of all scales along a leading axis (S, ...), the finest scale first.
        x: (N, H, W, C) in [-1, 1], sides at least 13.
        weights: (S,), the weights of all scales; those of the scales that judge `x` are normalised to
            a sum of 1.
        ratio: Ratio of the sizes of two successive scales.
        antialias: Whether images are smoothed before they are reduced. Without it, as published, coarse
            scales see only a grid of the image's pixels, and their gradients change only these.

    Returns:
        (N, H', W', 1) in (0, 1), where H', W' are those of the finest scale.
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
