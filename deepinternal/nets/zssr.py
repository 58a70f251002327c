"""The network of ZSSR (Shocher, Cohen, Irani, CVPR 2018, section 3.2), and its sub-pixel form."""

import functools

import jax.numpy as jnp
from flax import linen as nn

from deepinternal.ops.conv.convolution import conv2d
from deepinternal.ops.initializers import scaled_normal
from deepinternal.ops.resize import resize
from deepinternal.types import Array


class ZSSRNet(nn.Module):
    """3x3 convolutions with ReLUs between and none after the last; the input is added at the end.

    No biases, no normalisation, zero 'SAME' padding. Initial weights are normal; the last layer's
    variance is 0.1 / fan-in, so that the net starts near the identity. With a `factor` the net works
    at its input's resolution: the last layer makes all sub-pixels of a pixel at once (Shi et al.,
    CVPR 2016, section 3.2), which are added to the cubic enlargement of the input.

    Attributes:
        layers: number of convolutions.
        features: channels between them.
        factor: whole (vertical, horizontal) enlargement.
        init_variance: variance of the hidden layers' initial weights times fan-in. 2 keeps the
            activations' scale through ReLUs (He et al. 2015); the authors' code has 0.1.
        precision: matmul precision, as in `jax.lax.Precision`; None for the backend's default.
        batching: how weights that differ from image to image are batched, as in `conv2d`.
    """

    layers: int = 8
    features: int = 64
    factor: tuple[int, int] = (1, 1)
    init_variance: float = 2.0
    precision: str | None = None
    batching: str | None = None

    @nn.compact
    def __call__(self, x: Array, size: Array | tuple[int, int] | None = None) -> Array:
        """Refines images.

        Args:
            x: (N, H, W, C).
            size: (H, W) of the images proper, maybe traced, in the upper left of larger arrays;
                default: all of it. What lies beyond is not read, and what the result holds beyond
                the images proper's results means nothing.

        Returns:
            (N, H * vertical, W * horizontal, C).
        """
        n, h, w, channels = x.shape
        if size is not None:
            inside = (jnp.arange(h) < size[0])[:, None, None] & (jnp.arange(w) < size[1])[:, None]
        vertical, horizontal = self.factor
        conv = functools.partial(conv2d, batching=self.batching) if self.batching else conv2d
        hidden = x
        for i in range(self.layers):
            last = i == self.layers - 1
            gain = 0.1 if last else self.init_variance
            outputs = vertical * horizontal * channels if last else self.features
            shape = (3, 3, hidden.shape[-1], outputs)
            if size is not None:  # 'SAME' padding must act at the images' border
                hidden = jnp.where(inside, hidden, 0)
            hidden = conv(
                hidden, self.param(f"conv{i}", scaled_normal(gain), shape), precision=self.precision
            )
            if not last:
                hidden = nn.relu(hidden)
        if self.factor == (1, 1):
            return x + hidden
        pixels = hidden.reshape(n, h, w, vertical, horizontal, channels).transpose(0, 1, 3, 2, 4, 5)
        return resize(x, scale=self.factor, size=size) + pixels.reshape(
            n, h * vertical, w * horizontal, channels
        )
