"""The two nets of KernelGAN (Bell-Kligler, Shocher, Irani, NeurIPS 2019, section 4.1 and 4.2).

The generator is linear: its layers together are one convolution, whose kernel of 13x13 pixels depends
only on their weights. Therefore the kernel is computed first, and then a single convolution is applied.
For crops of 64x64 pixels, this takes a five-hundredth of the multiplications of the layers, with the
same results and gradients.
"""

import functools

import jax.numpy as jnp
from flax import linen as nn

from deepinternal.ops.correlating import all_patches, composed, correlate
from deepinternal.ops.initializers import unit_norm
from deepinternal.ops.precision import arithmetic, widened
from deepinternal.types import Array

SIZES = (7, 5, 3, 1, 1, 1)  # sides of the generator's kernels
KERNEL_SIZE = sum(SIZES) - len(SIZES) + 1
STRIDE = 2
PATCH = 7  # side of the patches that the discriminator judges
_EPSILON = 1e-5
_INITIAL = functools.partial(nn.initializers.variance_scaling, 0.01, "fan_avg", "normal")


class LinearGenerator(nn.Module):
    """Downscales an image by 2 with a kernel that is composed of several layers.

    The layers are convolutions without biases or activations. Together they map one channel to one
    channel, and they are applied to each colour channel separately. The kernel and its application are
    computed in float32 at the highest precision.

    Attributes:
        features: Channels between the layers.

    Example:
        >>> import jax, deepinternal as di
        >>> net = di.nets.LinearGenerator()
        >>> image = jax.ShapeDtypeStruct((64, 64, 3), "float32")
        >>> made, weights = jax.eval_shape(net.init_with_output, jax.random.key(0), image)
        >>> made.shape
        (26, 26, 3)
        >>> kernel = lambda weights: net.apply(weights, method="kernel")
        >>> jax.eval_shape(kernel, weights).shape
        (13, 13)
    """

    features: int = 64

    def setup(self):
        """Makes the layers' weights, `conv0` to `conv5`."""
        ends = [1, *[self.features] * (len(SIZES) - 1), 1]
        shapes = [(k, k, a, b) for k, a, b in zip(SIZES, ends[:-1], ends[1:])]
        self.layers = [self.param(f"conv{i}", _INITIAL(), s) for i, s in enumerate(shapes)]

    def kernel(self) -> Array:
        """Returns the correlation kernel (13, 13) of all layers together."""
        made = self.layers[-1][..., 0]
        for weights in reversed(self.layers[:-1]):
            made = composed(weights, made)
        return made[..., 0]

    def __call__(self, x: Array) -> Array:
        """Downscales an image.

        Args:
            x: (H, W, C).

        Returns:
            ((H - 13) // 2 + 1, (W - 13) // 2 + 1, C); there is no padding.
        """
        return correlate(x, self.kernel(), STRIDE)


class Discriminator(nn.Module):
    """Judges for each 7x7 patch whether it could come from the image.

    A 7x7 convolution is followed by 1x1 convolutions. All except the first and the last one have batch
    normalisation (over the patches of one image) and ReLU. Kernels must be normalised before use, see
    `ops.spectral`.

    Attributes:
        features: Channels of the layers.
        hidden: Number of 1x1 convolutions before the last one.
        precision: Arithmetic of the convolutions, see `ops.precision.arithmetic`.

    Example:
        >>> import jax, deepinternal as di
        >>> crop = jax.ShapeDtypeStruct((32, 32, 3), "float32")
        >>> init = di.nets.Discriminator().init_with_output
        >>> jax.eval_shape(init, jax.random.key(0), crop)[0].shape
        (676,)
    """

    features: int = 64
    hidden: int = 5
    precision: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Judges the patches of an image.

        Args:
            x: (H, W, C).

        Returns:
            ((H - 6) * (W - 6),) in (0, 1), row by row.
        """
        y, _ = all_patches(x, PATCH)
        conv = functools.partial(_Conv, precision=self.precision)
        y = conv(self.features, PATCH, name="conv0")(y.reshape(y.shape[0], -1))
        for i in range(1, self.hidden + 1):
            y = conv(self.features, name=f"conv{i}")(y)
            norm = self.param(f"norm{i}", unit_norm, self.features)
            y = y - y.mean(0)
            deviation = jnp.sqrt(jnp.square(y).mean(0) + _EPSILON)
            y = nn.relu(y * (norm["scale"] / deviation) + norm["shift"])
        return nn.sigmoid(conv(1, name=f"conv{self.hidden + 1}")(y))[:, 0]


class _Conv(nn.Module):
    """A (size, size) convolution, applied to patches (N, size * size * C) as a matrix product."""

    features: int
    size: int = 1
    precision: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.size, self.size, x.shape[-1] // self.size**2, self.features)
        kernel = self.param("kernel", _INITIAL(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        dtype, precision = arithmetic(self.precision)
        x, kernel = jnp.asarray(x, dtype), jnp.asarray(kernel.reshape(-1, self.features), dtype)
        return widened(jnp.matmul(x, kernel, precision=precision)) + bias
