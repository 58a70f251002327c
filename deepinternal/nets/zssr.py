"""The network of ZSSR: a small fully-convolutional net with a global residual."""

from flax import linen as nn

from deepinternal.nets.blocks import conv2d
from deepinternal.types import Array

_INIT = nn.initializers.variance_scaling(0.1, "fan_in", "normal")


class ZSSRNet(nn.Module):
    """Refines an interpolated image: conv 3x3 + ReLU, ..., conv 3x3, added to the input.

    No bias, no normalisation, zero 'SAME' padding; weights start normal with variance
    0.1 / fan_in (Shocher et al. 2018, section 3.2, and the authors' settings).

    Attributes:
        layers: number of convolutions.
        features: channels of the hidden layers.
        precision: matmul precision of the convolutions, as in `jax.lax.Precision`; None for the
            backend's default.
    """

    layers: int = 8
    features: int = 64
    precision: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(N, H, W, C) interpolated images -> (N, H, W, C) refined ones."""
        channels = x.shape[-1]
        hidden = x
        for i in range(self.layers):
            last = i == self.layers - 1
            shape = (3, 3, hidden.shape[-1], channels if last else self.features)
            hidden = conv2d(hidden, self.param(f"conv{i}", _INIT, shape), precision=self.precision)
            if not last:
                hidden = nn.relu(hidden)
        return x + hidden
