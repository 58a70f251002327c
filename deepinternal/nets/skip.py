"""The encoder-decoder with skip branches of Deep Image Prior and Double-DIP, known as "skip"."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from deepinternal.ops.conv.convolution import conv2d
from deepinternal.ops.doubling import UPSAMPLING, double
from deepinternal.ops.initializers import uniform_conv, uniform_weights, unit_norm
from deepinternal.ops.layers import PADDING, norm_and_relu, reflect, variance
from deepinternal.ops.precision import arithmetic, widened
from deepinternal.types import Array, InputError, PyTree


class SkipNet(nn.Module):
    """An encoder-decoder of convolutions, with skip branches from the encoder to the decoder.

    Each scale halves the image in the encoder and doubles it in the decoder, where the skip branch is
    joined. Every convolution except the last one is followed by a normalisation and a leaky ReLU. The
    normalisation uses the mean and the variance of each image separately over its pixels, in training
    and afterwards (for a batch of one, this is batch normalisation in training mode). All convolutions
    have biases. Initial weights are uniform in +-1 / sqrt(fan-in), like PyTorch's default.

    Sizes need not be multiples of `multiple`: a doubled image that is larger than its scale's input is
    cropped, so that the result has the size of the input.

    Attributes:
        outputs: Channels of the result.
        down: Channels of the encoder, one number for each scale, the finest scale first.
        up: Channels of the decoder; None: those of `down`.
        skip: Channels of the skip branches, one number for all scales or one for each; 0: no branch.
        filter_down: Side of the encoder's kernels, odd.
        filter_up: Side of the decoder's kernels, odd.
        filter_skip: Side of the skip branches' kernels, odd.
        upsample: As `how` in `doubling.double`.
        padding: 'reflect' (without repeating the border) or 'zero'.
        need_1x1: Whether a 1x1 convolution follows each convolution of the decoder.
        sigmoid: Whether a sigmoid maps the result to (0, 1).
        slope: Slope of the leaky ReLUs for negative values.
        epsilon: Added to the variances.
        precision: Arithmetic of the convolutions, see `ops.precision.arithmetic`.
        batching: How weights that differ from image to image are batched, as in `conv2d`.

    Example:
        >>> import jax, deepinternal as di
        >>> noise = jax.ShapeDtypeStruct((1, 64, 48, 32), "float32")
        >>> init = di.nets.SkipNet(outputs=3, down=(16, 32), up=(16, 32)).init_with_output
        >>> jax.eval_shape(init, jax.random.key(0), noise)[0].shape
        (1, 64, 48, 3)

    References:
        Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior", CVPR 2018, supplementary material.
        Gandelsman, Shocher, Irani, "Double-DIP", CVPR 2019.
    """

    outputs: int
    down: tuple[int, ...] = (128, 128, 128, 128, 128)
    up: tuple[int, ...] | None = None
    skip: tuple[int, ...] | int = 4
    filter_down: int = 3
    filter_up: int = 3
    filter_skip: int = 1
    upsample: str = "bilinear"
    padding: str = "reflect"
    need_1x1: bool = True
    sigmoid: bool = True
    slope: float = 0.2
    epsilon: float = 1e-5
    precision: str | None = None
    batching: str | None = None

    @property
    def multiple(self) -> int:
        """The number whose multiples, as sides of inputs, are not cropped at any scale."""
        return 2 ** len(self.down)

    def weights(self, key: Array, depth: int) -> PyTree:
        """Returns initial weights for inputs of `depth` channels, with the distribution of `init`.

        All weights come from one draw, since each draw of `init` adds to the compile time on CPU.

        Args:
            key: The key of the draw.
            depth: Channels of the inputs.
        """
        side = max(self.multiple, 8)
        x = jnp.zeros((1, side, side, depth))
        return uniform_weights(key, jax.eval_shape(self.init, key, x)["params"])

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps inputs, such as noise, to images.

        Args:
            x: (N, H, W, C).

        Returns:
            (N, H, W, outputs).

        Raises:
            InputError: An attribute has an impossible value.
        """
        ups, skips = self._channels()
        x = self._scale(x, 0, ups, skips)
        x = self._conv("last", x, self.outputs, 1, norm=False)
        return nn.sigmoid(x) if self.sigmoid else x

    def _channels(self) -> tuple[Sequence[int], Sequence[int]]:
        """The channels of the decoder and of the skip branches."""
        scales = len(self.down)
        ups = self.down if self.up is None else self.up
        skips = (self.skip,) * scales if isinstance(self.skip, int) else self.skip
        for name, channels in (("up", ups), ("skip", skips)):
            if len(channels) != scales:
                raise InputError(f"{name}={channels}: give {scales} numbers, as many as in down")
        if not scales:
            raise InputError("down=(): give the channels of at least one scale")
        for name in ("filter_down", "filter_up", "filter_skip"):
            if getattr(self, name) % 2 != 1:
                raise InputError(f"{name}={getattr(self, name)}: give an odd number")
        for name, choices in (("upsample", UPSAMPLING), ("padding", PADDING)):
            if getattr(self, name) not in choices:
                options = ", ".join(choices)
                raise InputError(f"{name}={getattr(self, name)!r}: choose one of {options}")
        return ups, skips

    def _scale(self, x: Array, i: int, ups: Sequence[int], skips: Sequence[int]) -> Array:
        """Applies scale `i` and all coarser scales."""
        deeper = self._conv(f"down{i}", x, self.down[i], self.filter_down, stride=2)
        deeper = self._conv(f"deep{i}", deeper, self.down[i], self.filter_down)
        if i + 1 < len(self.down):
            deeper = self._scale(deeper, i + 1, ups, skips)
        frame = self.filter_up // 2 if self.padding == "reflect" else 0
        deeper = double(deeper, self.upsample, size=x.shape[1:3], frame=frame)
        if skips[i]:
            branch = self._conv(f"skip{i}", x, skips[i], self.filter_skip)
            deeper = jnp.concatenate([reflect(branch, frame), deeper], -1)
        how = {"before": f"join{i}", "frame": frame}
        x = self._conv(f"up{i}", deeper, ups[i], self.filter_up, **how)
        return self._conv(f"mix{i}", x, ups[i], 1) if self.need_1x1 else x

    def _conv(
        self,
        name: str,
        x: Array,
        features: int,
        side: int,
        *,
        stride: int = 1,
        before: str | None = None,
        frame: int = 0,
        norm: bool = True,
    ) -> Array:
        """Applies a convolution and, with `norm`, a normalisation and a leaky ReLU.

        With `before`, another normalisation comes before the convolution. `x` may already have a
        `frame` of as many pixels as the kernel needs.
        """
        shape = (side, side, x.shape[-1], features)
        layer = self.param(name, functools.partial(uniform_conv, shape=shape))
        kernel = layer["kernel"]
        if before:
            x, kernel = self._join(before, x, kernel, frame)
        if side > 1 and not frame:
            x = PADDING[self.padding](x, side // 2)
        dtype, precision = arithmetic(self.precision)
        how = {"precision": precision, "batching": self.batching}
        x, kernel = jnp.asarray(x, dtype), jnp.asarray(kernel, dtype)
        y = conv2d(x, kernel, stride=stride, padding="VALID", **how)
        if not norm:
            return widened(y) + layer["bias"]
        # The bias is not added, because the normalisation would remove it.
        layer = self.param(f"{name}_norm", functools.partial(unit_norm, features=features))
        return norm_and_relu(y, layer["scale"], layer["shift"], self.epsilon, self.slope)

    def _join(self, name: str, x: Array, kernel: Array, frame: int) -> tuple[Array, Array]:
        """Applies the normalisation before a convolution that is followed by another normalisation.

        With reflected borders, the second normalisation removes the constant that the first one adds to
        a channel. Only its factors remain, which for a single image are applied to the kernel instead.
        """
        layer = self.param(name, functools.partial(unit_norm, features=x.shape[-1]))
        if self.padding != "reflect":
            return norm_and_relu(x, layer["scale"], layer["shift"], self.epsilon, 1.0), kernel
        factor = layer["scale"] * lax.rsqrt(variance(x, frame) + self.epsilon)
        return (x, kernel * factor.reshape(-1, 1)) if len(x) == 1 else (x * factor, kernel)
