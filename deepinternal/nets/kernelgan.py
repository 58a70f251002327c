"""The two nets of KernelGAN (Bell-Kligler, Shocher, Irani, NeurIPS 2019, section 4.1 and 4.2).

The generator is linear: all its layers together are one convolution, with a kernel of 13x13 pixels that
can be computed from their weights alone. So it is: the kernel first, then one convolution. For crops of
64x64 that is a five-hundredth of the layers' multiplications. Results and gradients are those of the
layers one by one.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from deepinternal.ops.initializers import unit_norm
from deepinternal.types import Array, PyTree

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
            made = _composed(weights, made)
        return made[..., 0]

    def __call__(self, x: Array) -> Array:
        """Downscales.

        Args:
            x: (H, W, C).

        Returns:
            ((H - 13) // 2 + 1, (W - 13) // 2 + 1, C): no padding.
        """
        return downscale(x, self.kernel())


def drawn(key: Array, *shapes: PyTree) -> list[PyTree]:
    """Initial weights of both nets from one draw, which compiles four times as fast as their `init`.

    Args:
        key: of the draw.
        *shapes: `jax.eval_shape` of nets' weights.

    Returns:
        Weights of these shapes, with the distributions that the nets' own `init` has.
    """
    leaves = jax.tree.leaves(shapes)
    ends = np.cumsum([math.prod(x.shape) if len(x.shape) == 4 else 0 for x in leaves])
    parts = iter(jnp.split(jax.random.normal(key, (ends[-1],)), ends[:-1]))

    def one(path, x):
        part = next(parts)
        if len(x.shape) == 4:
            fans = math.prod(x.shape[:2]) * (x.shape[2] + x.shape[3]) / 2
            return 0.1 / math.sqrt(fans) * part.reshape(x.shape)
        return jnp.full(x.shape, 1.0 if path[-1].key == "scale" else 0.0)

    return [*jax.tree_util.tree_map_with_path(one, shapes)]


def _composed(weights: Array, after: Array) -> Array:
    """The kernel (k + m - 1, k + m - 1, A) of (k, k, A, B) followed by one of (m, m, B)."""
    k, m = weights.shape[0], after.shape[0]
    products = jnp.einsum("abij,cdj->acbdi", weights, after, precision="highest")
    if m == 1 or k == 1:
        return products.reshape(k + m - 1, k + m - 1, -1)
    # What falls on one place is added up by a product with a constant.
    fold = np.zeros((k + m - 1, k, m), np.float32)
    fold[np.add.outer(np.arange(k), np.arange(m)), np.arange(k)[:, None], np.arange(m)] = 1
    fold = np.einsum("yac,xbd->yxacbd", fold, fold).reshape((k + m - 1) ** 2, -1)
    summed = jnp.matmul(fold, products.reshape(fold.shape[1], -1), precision="highest")
    return summed.reshape(k + m - 1, k + m - 1, -1)


def downscale(x: Array, kernel: Array) -> Array:
    """Correlates (H, W, C) with a (K, K) kernel at every second place where it fits."""
    size = kernel.shape[0]
    patches, shape = _patches(x, size, STRIDE)
    made = jnp.einsum("nkc,k->nc", patches, kernel.reshape(-1), precision="highest")
    return made.reshape(*shape, -1)


def _patches(x: Array, size: int, stride: int) -> tuple[Array, tuple[int, int]]:
    """All (size, size) patches of (H, W, C) that fit, as (N, size * size, C), and their grid."""
    h, w = x.shape[:2]
    starts = [np.arange(0, n - size + 1, stride) for n in (h, w)]
    rows, columns = (s[:, None] + np.arange(size) for s in starts)
    index = rows[:, None, :, None] * w + columns[None, :, None, :]
    index = index.reshape(-1, size * size)
    return x.reshape(h * w, -1)[index], (len(rows), len(columns))


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
        patches, _ = _patches(x, PATCH, 1)
        y = _dense(self, "conv0", patches.reshape(patches.shape[0], -1), self.features, PATCH)
        for i in range(1, self.hidden + 1):
            y = _dense(self, f"conv{i}", y, self.features)
            norm = self.param(f"norm{i}", unit_norm, self.features)
            y = y - y.mean(0)
            deviation = jnp.sqrt(jnp.square(y).mean(0) + _EPSILON)
            y = nn.relu(y * (norm["scale"] / deviation) + norm["shift"])
        return nn.sigmoid(_dense(self, f"conv{self.hidden + 1}", y, 1))[:, 0]


def _dense(module: nn.Module, name: str, x: Array, features: int, size: int = 1) -> Array:
    """A convolution of (size, size) on patches (N, size * size * C), as a product."""

    def initial(key: Array) -> dict[str, Array]:
        shape = (size, size, x.shape[-1] // size**2, features)
        return {"kernel": _INITIAL()(key, shape), "bias": jnp.zeros((features,))}

    weights = module.param(name, initial)
    return x @ weights["kernel"].reshape(-1, features) + weights["bias"]
