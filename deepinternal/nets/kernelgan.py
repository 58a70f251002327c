"""The two nets of KernelGAN (Bell-Kligler, Shocher, Irani, NeurIPS 2019, section 4.1 and 4.2).

The generator is linear: all its layers together are one convolution, with a kernel of 13x13 pixels that
can be computed from their weights alone. So it is: the kernel first, then one convolution. For crops of
64x64 that is a five-hundredth of the layers' multiplications. Results and gradients are those of the
layers one by one.
"""

import functools

import jax.numpy as jnp
from flax import linen as nn

from deepinternal.ops.correlation import composed, correlate, patches
from deepinternal.ops.initializers import unit_norm
from deepinternal.types import Array

SIZES = (7, 5, 3, 1, 1, 1)  # of the generator's kernels
KERNEL_SIZE = sum(SIZES) - len(SIZES) + 1
STRIDE = 2
PATCH = 7  # side of what the discriminator judges
_EPSILON = 1e-5
_INITIAL = functools.partial(nn.initializers.variance_scaling, 0.01, "fan_avg", "normal")


class LinearGenerator(nn.Module):
    """Downscales an image by 2 with a kernel that is the product of several layers.

    Convolutions without biases or activations, one channel in and out, each colour alike.

    Attributes:
        features: channels between the layers.
    """

    features: int = 64

    def setup(self):
        """Makes the layers' weights, `conv0` to `conv5`."""
        ends = [1, *[self.features] * (len(SIZES) - 1), 1]
        shapes = [(k, k, a, b) for k, a, b in zip(SIZES, ends[:-1], ends[1:])]
        self.layers = [self.param(f"conv{i}", _INITIAL(), s) for i, s in enumerate(shapes)]

    def kernel(self) -> Array:
        """The kernel of all layers together, (13, 13), for correlation."""
        made = self.layers[-1][..., 0]
        for weights in reversed(self.layers[:-1]):
            made = composed(weights, made)
        return made[..., 0]

    def __call__(self, x: Array) -> Array:
        """Downscales.

        Args:
            x: (H, W, C).

        Returns:
            ((H - 13) // 2 + 1, (W - 13) // 2 + 1, C): no padding.
        """
        return correlate(x, self.kernel(), STRIDE)


class Discriminator(nn.Module):
    """Tells for each 7x7 patch whether it could be of the image.

    Layers of 1x1 pixels on top of one of 7x7, each but the first and the last with batch normalisation
    (over the patches of one image) and ReLU. Kernels are meant to be normalised, see `ops.spectral`.

    Attributes:
        features: channels.
        hidden: layers of 1x1 before the last.
    """

    features: int = 64
    hidden: int = 5

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Judges.

        Args:
            x: (H, W, C).

        Returns:
            ((H - 6) * (W - 6),) in (0, 1), row by row.
        """
        y, _ = patches(x, PATCH)
        y = _Conv(self.features, PATCH, name="conv0")(y.reshape(y.shape[0], -1))
        for i in range(1, self.hidden + 1):
            y = _Conv(self.features, name=f"conv{i}")(y)
            norm = self.param(f"norm{i}", unit_norm, self.features)
            y = y - y.mean(0)
            deviation = jnp.sqrt(jnp.square(y).mean(0) + _EPSILON)
            y = nn.relu(y * (norm["scale"] / deviation) + norm["shift"])
        return nn.sigmoid(_Conv(1, name=f"conv{self.hidden + 1}")(y))[:, 0]


class _Conv(nn.Module):
    """A convolution of (size, size) on patches (N, size * size * C), as a product."""

    features: int
    size: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.size, self.size, x.shape[-1] // self.size**2, self.features)
        kernel = self.param("kernel", _INITIAL(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return x @ kernel.reshape(-1, self.features) + bias
