"""A small net that classifies pixels by their features."""

from collections.abc import Sequence

from flax import linen as nn

from deepinternal.ops.initializers import scaled_normal
from deepinternal.types import Array


class PixelNet(nn.Module):
    """A multilayer perceptron from the features of a pixel to the log-odds of a class.

    Attributes:
        hidden: Number of units of each hidden layer, followed by ReLUs.

    Example:
        >>> import jax, deepinternal as di
        >>> features = jax.ShapeDtypeStruct((16, 16, 10), "float32")
        >>> init = di.nets.PixelNet().init_with_output
        >>> jax.eval_shape(init, jax.random.key(0), features)[0].shape
        (16, 16)
    """

    hidden: Sequence[int] = (64, 64)

    @nn.compact
    def __call__(self, features: Array) -> Array:
        """Maps features (..., n) to log-odds (...)."""
        x = features
        for units in self.hidden:
            x = nn.relu(nn.Dense(units, kernel_init=scaled_normal(2.0))(x))
        return nn.Dense(1, kernel_init=scaled_normal(2.0))(x)[..., 0]
