"""The two nets of InGAN (Shocher, Bagon, Isola, Irani, ICCV 2019, section 4 and supplement).

Their kernels must be normalised spectrally before use: see `ops.spectral`.
"""

import functools
import math
import operator
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from deepinternal.ops.initializers import unit_norm
from deepinternal.ops.layers import (
    norm_and_relu,
    norm_and_relu_within,
    reflect,
    reflect_within,
)
from deepinternal.ops.precision import arithmetic, widened
from deepinternal.types import Array, PyTree

MULTIPLE = 8  # sides inside the generator are multiples of this number
LEAST = 16  # smallest side of an image for both nets
_EPSILON, _SLOPE = 1e-5, 0.2


class Generator(nn.Module):
    """Makes an image of another size or shape from an image.

    The parts are a convolution, the geometric transformation, an encoder-decoder of three scales, and
    a last convolution. The encoder-decoder has residual blocks at its coarsest scale, and its levels
    are joined by addition. Each convolution except the last one is followed by a normalisation with
    the statistics of the image and by a leaky ReLU.

    Attributes:
        channels: Channels of the first convolution; they are doubled at each scale.
        blocks: Number of residual blocks.
        precision: Arithmetic of the convolutions, see `ops.precision.arithmetic`.

    Example:
        >>> import jax, deepinternal as di
        >>> image = jax.ShapeDtypeStruct((1, 48, 48, 3), "float32")
        >>> double = lambda features: features.repeat(2, axis=2)
        >>> init = lambda key, x: di.nets.Generator(blocks=1).init_with_output(key, x, double)
        >>> jax.eval_shape(init, jax.random.key(0), image)[0].shape
        (1, 48, 96, 3)
    """

    channels: int = 64
    blocks: int = 6
    precision: str | None = None

    @nn.compact
    def __call__(
        self,
        x: Array,
        transform: Callable[[Array], Array],
        *,
        size: Sequence[Array] | None = None,
    ) -> Array:
        """Makes images.

        Args:
            x: (N, h, w, C) in [-1, 1].
            transform: Maps features (N, h, w, F), at least float32, to (N, H, W, F).
            size: (H', W'), possibly traced, of the images that the transformation makes. They lie in
                the upper left corner of its output, which then is a canvas, so that one program makes
                images of many sizes. Default: the whole output.

        Returns:
            (N, H, W, C) in [-1, 1]. With `size` the rest of the canvas has no meaning.
        """
        width, outputs = self.channels, x.shape[-1]
        x = _layer(self, "entry", x, width, 7)
        x = transform(widened(x)).astype(x.dtype)
        canvas = x.shape[1:3]
        x = _to_multiple(x, size)
        sizes = [
            None if size is None else [-(-n // MULTIPLE) * (MULTIPLE // 2**i) for n in size]
            for i in range(4)
        ]
        levels = []
        for i in range(3):
            levels.append(x)
            width *= 2
            x = _halved(_layer(self, f"down{i}", x, width, 3, size=sizes[i]))
        x = self._residual(x, sizes[3]) if self.blocks else x
        for i in reversed(range(3)):
            width //= 2
            doubled = jnp.repeat(jnp.repeat(widened(x), 2, 1), 2, 2).astype(x.dtype)
            x = levels[i] + _layer(self, f"up{i}", doubled, width, 3, size=sizes[i])
        x = jnp.tanh(_layer(self, "last", x, outputs, 7, norm=False, size=sizes[0]))
        return x[:, : canvas[0], : canvas[1]]

    def _residual(self, x: Array, size: Sequence[Array] | None) -> Array:
        """The residual blocks, whose weights are stacked."""
        width = x.shape[-1]
        inner, count = width // 4, self.blocks
        weights = (
            _weights(self, "block_in", (1, 1, width, inner), count=count),
            _weights(self, "block_middle", (3, 3, inner, inner), count=count),
            _weights(self, "block_out", (1, 1, inner, width), count=count),
        )
        for first, middle, last in zip(*(_unstacked(w, count) for w in weights), strict=True):
            apply = functools.partial(_applied, precision=self.precision, size=size)
            x = x + apply(last, apply(middle, apply(first, x)), slope=1.0)
        return x


class PatchDiscriminator(nn.Module):
    """Judges for each patch of 9x9 pixels whether it could come from the original image.

    Attributes:
        channels: Channels of the first convolution; the following ones have twice as many.
        precision: Arithmetic of the convolutions, see `ops.precision.arithmetic`.

    Example:
        >>> import jax, deepinternal as di
        >>> image = jax.ShapeDtypeStruct((1, 33, 33, 3), "float32")
        >>> init = di.nets.PatchDiscriminator().init_with_output
        >>> jax.eval_shape(init, jax.random.key(0), image)[0].shape
        (1, 13, 13, 1)
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
    size: Sequence[Array] | None = None,
) -> Array:
    conv, norm = weights
    dtype, precision = arithmetic(precision)
    x = jnp.asarray(x, dtype)
    side = conv["kernel"].shape[0]
    if padded and side > 1:
        count = side // 2
        x = reflect(x, count) if size is None else reflect_within(x, count, size)
    # `ops.conv`'s `conv2d` is not used, because with so many sizes its forms would cost more compile
    # time than they save.
    y = jax.lax.conv_general_dilated(
        *(x, jnp.asarray(conv["kernel"], dtype), (stride, stride), "VALID"),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )
    if norm is None:
        return widened(y) + conv["bias"]
    # The bias is not added, because the normalisation would remove it.
    given = y, norm["scale"], norm["shift"], _EPSILON, slope
    return norm_and_relu(*given) if size is None else norm_and_relu_within(*given, size)


def _xavier_conv(key: Array, shape: tuple[int, ...]) -> dict[str, Array]:
    """Draws kernels with a hundredth of the standard deviation of Glorot and Bengio (2010)."""
    kh, kw, inputs, outputs = shape[-4:]
    deviation = 0.01 * math.sqrt(2 / (kh * kw * (inputs + outputs)))
    kernel = deviation * jax.random.normal(key, (math.prod(shape),)).reshape(shape)
    return {"kernel": kernel, "bias": jnp.zeros((*shape[:-4], outputs))}


def _halved(x: Array) -> Array:
    """Takes the maximum of each block of 2x2 pixels by reshaping, whose gradient is fast on CPU."""
    n, h, w, c = x.shape
    blocks = widened(x).reshape(n, h // 2, 2, w // 2, 2, c)
    return blocks.max((2, 4)).astype(x.dtype)


def _to_multiple(x: Array, size: Sequence[Array] | None) -> Array:
    """Mirrors pixels beyond the right and lower border, up to the next multiples of `MULTIPLE`."""
    edges = [(0, -n % MULTIPLE) for n in x.shape[1:3]]
    if size is None:
        return jnp.pad(x, ((0, 0), *edges, (0, 0)), "reflect")
    x = jnp.pad(x, ((0, 0), *edges, (0, 0)))
    return reflect_within(x, 0, size)
