"""The network of ZSSR (Shocher, Cohen, Irani, CVPR 2018, section 3.2), and its sub-pixel form."""

import functools

import jax.numpy as jnp
from flax import linen as nn

from deepinternal.ops.conv.convolution import conv2d
from deepinternal.ops.initializers import scaled_normal
from deepinternal.ops.precision import arithmetic, widened
from deepinternal.ops.resizing import resize
from deepinternal.types import Array


class ZSSRNet(nn.Module):
    """3x3 convolutions with ReLUs between them, whose result is added to the input.

    There are no biases and no normalisation, and the padding is zero 'SAME'. Initial weights are
    normal. The variance of the last layer's weights is 0.1 / fan-in, so that the net starts near the
    identity. With a `factor` the net works at the resolution of its input: the last layer makes all
    sub-pixels of a pixel at once (Shi et al., CVPR 2016, section 3.2), and these are added to the cubic
    enlargement of the input.

    Attributes:
        layers: Number of convolutions.
        features: Channels between the convolutions.
        factor: (vertical, horizontal) enlargement, whole numbers.
        init_variance: Variance of the hidden layers' initial weights times fan-in. 2 keeps the scale of
            activations through ReLUs (He et al. 2015); the authors' code has 0.1.
        precision: Arithmetic of the convolutions, see `ops.precision.arithmetic`.
        batching: How weights that differ from image to image are batched, as in `conv2d`.

    Example:
        >>> import jax, deepinternal as di
        >>> image = jax.ShapeDtypeStruct((1, 16, 16, 3), "float32")
        >>> init = di.nets.ZSSRNet(factor=(2, 2)).init_with_output
        >>> jax.eval_shape(init, jax.random.key(0), image)[0].shape
        (1, 32, 32, 3)
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
            size: (H, W), possibly traced, of images in the upper left corner of canvases. Default: the
                whole arrays. The rest of a canvas is not read, and the rest of the result has no
                meaning.

        Returns:
            (N, H * vertical, W * horizontal, C).
        """
        n, h, w, channels = x.shape
        if size is not None:
            inside = (jnp.arange(h) < size[0])[:, None, None] & (jnp.arange(w) < size[1])[:, None]
        vertical, horizontal = self.factor
        conv = functools.partial(conv2d, batching=self.batching) if self.batching else conv2d
        dtype, precision = arithmetic(self.precision)
        hidden = jnp.asarray(x, dtype)
        for i in range(self.layers):
            last = i == self.layers - 1
            gain = 0.1 if last else self.init_variance
            outputs = vertical * horizontal * channels if last else self.features
            shape = (3, 3, hidden.shape[-1], outputs)
            if size is not None:  # 'SAME' padding must begin at the border of the images
                hidden = jnp.where(inside, hidden, 0)
            kernel = jnp.asarray(self.param(f"conv{i}", scaled_normal(gain), shape), dtype)
            hidden = conv(hidden, kernel, precision=precision)
            if not last:
                hidden = nn.relu(hidden)
        hidden = widened(hidden)
        if self.factor == (1, 1):
            return x + hidden
        pixels = hidden.reshape(n, h, w, vertical, horizontal, channels).transpose(0, 1, 3, 2, 4, 5)
        return resize(x, scale=self.factor, size=size) + pixels.reshape(
            n, h * vertical, w * horizontal, channels
        )
