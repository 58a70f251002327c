"""The network of ZSSR: a small fully-convolutional net with a global residual."""

from flax import linen as nn

from deepinternal.nets.blocks import conv2d, scaled_normal
from deepinternal.types import Array


class ZSSRNet(nn.Module):
    """Refines an interpolated image: conv 3x3 + ReLU, ..., conv 3x3, added to the input.

    No bias, no normalisation, zero 'SAME' padding (Shocher et al. 2018, section 3.2). Weights start
    normal with variance `init_variance` / fan_in, those of the last layer with 0.1 / fan_in. The
    authors' code has 0.1 everywhere: signals then fade to 1e-5 of their size on the way through, and
    some 200 steps pass before the net does anything.

    Attributes:
        layers: number of convolutions.
        features: channels of the hidden layers.
        init_variance: gain of the hidden layers' initialiser; 2 keeps the size of signals.
        precision: matmul precision of the convolutions, as in `jax.lax.Precision`; None for the
            backend's default.
    """

    layers: int = 8
    features: int = 64
    init_variance: float = 2.0
    precision: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(N, H, W, C) interpolated images -> (N, H, W, C) refined ones."""
        channels = x.shape[-1]
        hidden = x
        for i in range(self.layers):
            last = i == self.layers - 1
            gain = 0.1 if last else self.init_variance
            shape = (3, 3, hidden.shape[-1], channels if last else self.features)
            hidden = conv2d(
                hidden, self.param(f"conv{i}", scaled_normal(gain), shape), precision=self.precision
            )
            if not last:
                hidden = nn.relu(hidden)
        return x + hidden
