"""The network that refines deconvolved images, for ZSSR at a factor of 1."""

import jax.numpy as jnp
from flax import linen as nn

from deepinternal.ops.conv.convolution import conv2d
from deepinternal.ops.filters import box
from deepinternal.ops.initializers import scaled_normal
from deepinternal.ops.precision import arithmetic, widened
from deepinternal.types import Array

_CELL = 2  # side of the blocks of pixels that are the channels of one position
_GAIN = 8.0  # amplification of the inputs, whose differences are small
_RADIUS = 4  # radius of the windows whose means are subtracted


class DeblurNet(nn.Module):
    """3x3 convolutions at half the resolution, whose result is added to a deconvolved image.

    The net sees only differences: the blurred image minus the deconvolved one, another deconvolution
    minus the deconvolved image, and the deconvolved image minus its local means. Hidden layers have
    leaky ReLUs; there are no biases, and the padding is zero 'SAME'.

    Attributes:
        layers: Number of convolutions.
        features: Channels between the convolutions.
        init_variance: Variance of the hidden layers' initial weights times fan-in.
        precision: Arithmetic of the convolutions, see `ops.precision.arithmetic`.

    Example:
        >>> import jax, deepinternal as di
        >>> image = jax.ShapeDtypeStruct((15, 16, 3), "float32")
        >>> init = di.nets.DeblurNet().init_with_output
        >>> jax.eval_shape(init, jax.random.key(0), image, image, image)[0].shape
        (15, 16, 3)
    """

    layers: int = 7
    features: int = 48
    init_variance: float = 0.25
    precision: str | None = None

    @nn.compact
    def __call__(self, sharp: Array, other: Array, blurred: Array) -> Array:
        """Refines an image.

        Args:
            sharp: (H, W, C), the deconvolved image.
            other: (H, W, C), deconvolved in another way.
            blurred: (H, W, C).

        Returns:
            (H, W, C).
        """
        h, w, channels = sharp.shape
        seen = [blurred - sharp, other - sharp, sharp - box(sharp, _RADIUS)]
        x = _GAIN * jnp.concatenate(seen, axis=-1)
        x = jnp.pad(x, ((0, -h % _CELL), (0, -w % _CELL), (0, 0)), mode="edge")
        dtype, precision = arithmetic(self.precision)
        hidden = jnp.asarray(_gathered(x), dtype)[None]
        for i in range(self.layers):
            last = i == self.layers - 1
            outputs = _CELL**2 * channels if last else self.features
            shape = (3, 3, hidden.shape[-1], outputs)
            kernel = self.param(
                f"conv{i}", scaled_normal(0.1 if last else self.init_variance), shape
            )
            hidden = conv2d(hidden, jnp.asarray(kernel, dtype), precision=precision)
            if not last:
                hidden = nn.leaky_relu(hidden, 0.1)
        return sharp + _scattered(widened(hidden)[0])[:h, :w] / _GAIN


def _gathered(x: Array) -> Array:
    """(H, W, C) -> (H / 2, W / 2, 4 C)."""
    h, w, c = x.shape
    x = x.reshape(h // _CELL, _CELL, w // _CELL, _CELL, c).transpose(0, 2, 1, 3, 4)
    return x.reshape(h // _CELL, w // _CELL, _CELL**2 * c)


def _scattered(x: Array) -> Array:
    """(h, w, 4 C) -> (2 h, 2 w, C)."""
    h, w, c = x.shape
    x = x.reshape(h, w, _CELL, _CELL, c // _CELL**2).transpose(0, 2, 1, 3, 4)
    return x.reshape(h * _CELL, w * _CELL, c // _CELL**2)
