"""The small network of zero-shot Noise2Noise (Mansour and Heckel, CVPR 2023)."""

import jax.numpy as jnp
from flax import linen as nn

from deepinternal.ops.conv.convolution import conv2d
from deepinternal.ops.initializers import scaled_normal
from deepinternal.types import Array


class PairNet(nn.Module):
    """Two 3x3 convolutions and a 1x1 convolution with leaky ReLUs, whose result is added to the input.

    With 48 features and 3 channels the net has 22 275 weights. Its receptive field has 5x5 pixels, and
    the padding is zero 'SAME'.

    Attributes:
        features: Channels between the convolutions.

    Example:
        >>> import jax, deepinternal as di
        >>> image = jax.ShapeDtypeStruct((1, 16, 16, 3), "float32")
        >>> init = di.nets.PairNet().init_with_output
        >>> made, weights = jax.eval_shape(init, jax.random.key(0), image)
        >>> made.shape, sum(w.size for w in jax.tree.leaves(weights))
        ((1, 16, 16, 3), 22275)
    """

    features: int = 48

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Denoises images (N, H, W, C); returns images of the same shape."""
        hidden, channels = x, x.shape[-1]
        for i, (side, outputs) in enumerate(
            ((3, self.features), (3, self.features), (1, channels))
        ):
            shape = (side, side, hidden.shape[-1], outputs)
            kernel = self.param(f"conv{i}", scaled_normal(0.1 if i == 2 else 2.0), shape)
            bias = self.param(f"bias{i}", nn.initializers.zeros, (outputs,))
            hidden = conv2d(hidden, kernel, precision="highest") + bias
            if i < 2:
                hidden = nn.leaky_relu(hidden, 0.2)
        return x + jnp.asarray(hidden, x.dtype)
