"""The two nets of InGAN (Shocher, Bagon, Isola, Irani, ICCV 2019, section 4 and supplement).

Their kernels are meant to be normalised spectrally before use: see `nets.spectral`.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from deepinternal.nets.blocks import conv2d
from deepinternal.nets.layers import norm_and_relu, reflect, unit_norm
from deepinternal.ops.resize import resize
from deepinternal.types import Array, PyTree

MULTIPLE = 8  # what the generator's sides divide by
LEAST = 16  # the least side of an image that both nets can work with
_SEEN = 13  # side of the smallest image that a scale looks at
_EPSILON, _SLOPE = 1e-5, 0.2


class Generator(nn.Module):
    """Makes an image of another size, or shape, out of an image.

    A convolution; the geometric transformation; an hourglass of three scales with residual blocks at
    its bottom, joined by addition; a convolution. Each convolution but the last is followed by a
    normalisation by the image's own statistics and a leaky ReLU.

    Attributes:
        channels: of the first convolution, doubled at each scale.
        blocks: residual blocks.
    """

    channels: int = 64
    blocks: int = 6

    @nn.compact
    def __call__(self, x: Array, transform: Callable[[Array], Array]) -> Array:
        """Makes images.

        Args:
            x: (N, h, w, C) in [-1, 1].
            transform: maps features (N, h, w, F) to (N, H, W, F).

        Returns:
            (N, H, W, C) in [-1, 1].
        """
        width, outputs = self.channels, x.shape[-1]
        x = transform(_layer(self, "entry", x, width, 7))
        size = x.shape[1:3]
        x = _to_multiple(x)
        levels = []
        for i in range(3):
            levels.append(x)
            width *= 2
            x = _halved(_layer(self, f"down{i}", x, width, 3))
        for i in range(self.blocks):
            inner = _layer(self, f"block{i}_in", x, width // 4, 1)
            inner = _layer(self, f"block{i}_middle", inner, width // 4, 3)
            x = x + _layer(self, f"block{i}_out", inner, width, 1, slope=1.0)
        for i in reversed(range(3)):
            width //= 2
            doubled = jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
            x = levels[i] + _layer(self, f"up{i}", doubled, width, 3)
        x = jnp.tanh(_layer(self, "last", x, outputs, 7, norm=False))
        return x[:, : size[0], : size[1]]


class PatchDiscriminator(nn.Module):
    """Tells for each patch of an image, of 9 pixels a side, whether it could be of the original.

    Attributes:
        channels: of the first convolution; the following ones have twice as many.
    """

    channels: int = 64

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Judges images.

        Args:
            x: (N, H, W, C) in [-1, 1], H, W >= 13.

        Returns:
            (N, H', W', 1) in (0, 1).
        """
        layer = functools.partial(_layer, self, padded=False)
        x = layer("first", x, self.channels, 3)
        x = layer("second", x, 2 * self.channels, 3, stride=2)
        x = layer("third", x, 2 * self.channels, 3)
        return nn.sigmoid(layer("last", x, 1, 1, norm=False))


def _layer(
    module: nn.Module,
    name: str,
    x: Array,
    features: int,
    side: int,
    *,
    stride: int = 1,
    padded: bool = True,
    norm: bool = True,
    slope: float = _SLOPE,
) -> Array:
    """A convolution; with `norm` a normalisation and a leaky ReLU."""
    shape = (side, side, x.shape[-1], features)
    layer = module.param(name, functools.partial(_xavier_conv, shape=shape))
    if padded and side > 1:
        x = reflect(x, side // 2)
    y = conv2d(x, layer["kernel"], stride=stride, padding="VALID")
    if not norm:
        return y + layer["bias"]
    # The bias is not added, for the norm would take it away again.
    layer = module.param(f"{name}_norm", functools.partial(unit_norm, features=features))
    return norm_and_relu(y, layer["scale"], layer["shift"], _EPSILON, slope)


def _xavier_conv(key: Array, shape: tuple[int, ...]) -> dict[str, Array]:
    """Kernel with the variance of Glorot and Bengio (2010), a hundredth of the standard deviation."""
    area = math.prod(shape[:-2])
    deviation = 0.01 * math.sqrt(2 / (area * (shape[-2] + shape[-1])))
    kernel = deviation * jax.random.normal(key, (math.prod(shape),)).reshape(shape)
    return {"kernel": kernel, "bias": jnp.zeros(shape[-1])}


def _halved(x: Array) -> Array:
    """The greatest of each 2x2 pixels; as a reshaping, whose gradient is fast on CPU."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


def _to_multiple(x: Array) -> Array:
    """Mirrors as many pixels beyond the far borders as make the sides multiples."""
    edges = [(0, -n % MULTIPLE) for n in x.shape[1:3]]
    return jnp.pad(x, ((0, 0), *edges, (0, 0)), "reflect")


def most_scales(crop: int, ratio: float) -> int:
    """How many scales the discriminator has for real examples of so many pixels a side."""
    return max(math.ceil(math.log(crop / 16) / math.log(ratio)), 1)


def scales_of(size: Sequence[int], most: int, ratio: float) -> int:
    """How many of `most` scales look at an image (H, W): fewer at small ones."""
    fitting = math.ceil(math.log(max(min(size) / _SEEN, 1.001)) / math.log(ratio))
    return min(max(fitting, 1), most)


def judge(
    net: PatchDiscriminator, ratio: float, params: Mapping[str, PyTree], x: Array, weights: Array
) -> Array:
    """The discriminator's map, its scales added by their weights (section 4.2).

    Args:
        net: of one scale.
        ratio: from one scale to the next.
        params: of all scales, 'scale0', 'scale1', ...: the finest first.
        x: (N, H, W, C) in [-1, 1], sides at least 13.
        weights: (S,), of all scales; those that look at x are made to sum to 1.

    Returns:
        (N, H', W', 1) in (0, 1), H', W' those of the finest scale.
    """
    count = scales_of(x.shape[1:3], len(params), ratio)
    weights = weights[:count] / jnp.sum(weights[:count])
    total = 0.0
    for i in range(count):
        size = tuple(max(math.floor(n / ratio**i), 9) for n in x.shape[1:3])
        small = resize(x, output_shape=size, method="linear", antialias=False)
        made = net.apply({"params": params[f"scale{i}"]}, small)
        if i == 0:
            shape = made.shape[1:3]
        total = total + weights[i] * resize(
            made, output_shape=shape, method="linear", antialias=False
        )
    return total
