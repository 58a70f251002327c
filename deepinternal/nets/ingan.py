"""The two nets of InGAN (Shocher, Bagon, Isola, Irani, ICCV 2019, section 4 and supplement).

Their kernels must be normalised spectrally before use: see `ops.spectral`.
"""

import functools
import math
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from deepinternal.ops.initializers import unit_norm
from deepinternal.ops.layers import norm_and_relu, reflect
from deepinternal.ops.precision import arithmetic, widened
from deepinternal.types import Array, PyTree

MULTIPLE = 8  # the number of which the sides inside the generator are multiples
LEAST = 16  # the least side of an image for both nets
_EPSILON, _SLOPE = 1e-5, 0.2


class Generator(nn.Module):
    """Makes an image of another size or shape from an image.

    Its parts are a convolution, the geometric transformation, an encoder-decoder of three scales with
    residual blocks at the coarsest one, whose levels are joined by addition, and a convolution. Each
    convolution except the last one is followed by a normalisation with the image's own statistics and
    a leaky ReLU.

    Attributes:
        channels: Channels of the first convolution; they are doubled at each scale.
        blocks: Number of residual blocks.
        precision: Arithmetic of the convolutions, see `ops.precision.arithmetic`.
    """

    channels: int = 64
    blocks: int = 6
    precision: str | None = None

    @nn.compact
    def __call__(self, x: Array, transform: Callable[[Array], Array]) -> Array:
        """Makes images.

        Args:
            x: (N, h, w, C) in [-1, 1].
            transform: Maps features (N, h, w, F), at least float32, to (N, H, W, F).

        Returns:
            (N, H, W, C) in [-1, 1].
        """
        width, outputs = self.channels, x.shape[-1]
        x = _layer(self, "entry", x, width, 7)
        x = transform(widened(x)).astype(x.dtype)
        size = x.shape[1:3]
        x = _to_multiple(x)
        levels = []
        for i in range(3):
            levels.append(x)
            width *= 2
            x = _halved(_layer(self, f"down{i}", x, width, 3))
        x = self._residual(x) if self.blocks else x
        for i in reversed(range(3)):
            width //= 2
            doubled = jnp.repeat(jnp.repeat(widened(x), 2, 1), 2, 2).astype(x.dtype)
            x = levels[i] + _layer(self, f"up{i}", doubled, width, 3)
        x = jnp.tanh(_layer(self, "last", x, outputs, 7, norm=False))
        return x[:, : size[0], : size[1]]

    def _residual(self, x: Array) -> Array:
        """The residual blocks, whose weights are stacked."""
        width = x.shape[-1]
        inner, count = width // 4, self.blocks
        weights = (
            _weights(self, "block_in", (1, 1, width, inner), count=count),
            _weights(self, "block_middle", (3, 3, inner, inner), count=count),
            _weights(self, "block_out", (1, 1, inner, width), count=count),
        )
        for first, middle, last in zip(*(_unstacked(w, count) for w in weights), strict=True):
            y = _applied(middle, _applied(first, x, self.precision), self.precision)
            x = x + _applied(last, y, self.precision, slope=1.0)
        return x


class PatchDiscriminator(nn.Module):
    """Judges for each patch of 9x9 pixels whether it could come from the original image.

    Attributes:
        channels: Channels of the first convolution; the following ones have twice as many.
        precision: Arithmetic of the convolutions, see `ops.precision.arithmetic`.
    """

    channels: int = 64
    precision: str | None = None

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
    norm: bool = True,
    **options,
) -> Array:
    """Applies a convolution and, with `norm`, a normalisation and a leaky ReLU."""
    weights = _weights(module, name, (side, side, x.shape[-1], features), norm=norm)
    return _applied(weights, x, module.precision, **options)


def _weights(module: nn.Module, name: str, shape, *, norm: bool = True, count: int | None = None):
    """The weights of a convolution and its normalisation, `count` of them along a leading axis."""
    lead = () if count is None else (count,)
    conv = module.param(name, functools.partial(_xavier_conv, shape=(*lead, *shape)))
    if not norm:
        return conv, None
    features = (*lead, shape[-1])
    return conv, module.param(f"{name}_norm", functools.partial(unit_norm, features=features))


def _unstacked(weights: PyTree, count: int) -> list[PyTree]:
    """Splits weights along their leading axis."""
    return [jax.tree.map(operator.itemgetter(i), weights) for i in range(count)]


def _applied(
    weights,
    x: Array,
    precision: str | None,
    *,
    stride: int = 1,
    padded: bool = True,
    slope: float = _SLOPE,
) -> Array:
    conv, norm = weights
    dtype, precision = arithmetic(precision)
    x = jnp.asarray(x, dtype)
    side = conv["kernel"].shape[0]
    if padded and side > 1:
        x = reflect(x, side // 2)
    # Not `ops.conv`'s `conv2d`: with so many sizes, its forms would cost more compile time than they
    # save.
    y = jax.lax.conv_general_dilated(
        *(x, jnp.asarray(conv["kernel"], dtype), (stride, stride), "VALID"),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )
    if norm is None:
        return widened(y) + conv["bias"]
    # The bias is not added, because the normalisation would remove it.
    return norm_and_relu(y, norm["scale"], norm["shift"], _EPSILON, slope)


def _xavier_conv(key: Array, shape: tuple[int, ...]) -> dict[str, Array]:
    """Draws kernels with a hundredth of the standard deviation of Glorot and Bengio (2010)."""
    kh, kw, inputs, outputs = shape[-4:]
    deviation = 0.01 * math.sqrt(2 / (kh * kw * (inputs + outputs)))
    kernel = deviation * jax.random.normal(key, (math.prod(shape),)).reshape(shape)
    return {"kernel": kernel, "bias": jnp.zeros((*shape[:-4], outputs))}


def _halved(x: Array) -> Array:
    """Takes the maximum of each 2x2 pixels, by a reshaping, whose gradient is fast on CPU."""
    n, h, w, c = x.shape
    blocks = widened(x).reshape(n, h // 2, 2, w // 2, 2, c)
    return blocks.max((2, 4)).astype(x.dtype)


def _to_multiple(x: Array) -> Array:
    """Mirrors pixels beyond the right and lower border, up to the next multiples of `MULTIPLE`."""
    edges = [(0, -n % MULTIPLE) for n in x.shape[1:3]]
    return jnp.pad(x, ((0, 0), *edges, (0, 0)), "reflect")
