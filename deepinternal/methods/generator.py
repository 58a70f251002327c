"""A generator: a network and the fixed input from which it makes a layer."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from deepinternal.types import Array, Inputs, PyTree

Jitter = float | Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class Generator:
    """A network and its fixed input.

    Attributes:
        net: Linen module (N, h, w, depth) -> (N, h, w, C). Optional attributes: `multiple`, of which
            the sides must be multiples (default 1), and `weights(key, depth)`, which returns initial
            weights (default: from its `init`).
        depth: Channels of the input.
        low, high: Range of the input's uniform noise.
        source: 'noise'; 'meshgrid' (coordinates in [0, 1], depth 2); '=NAME', the input of another
            generator; or the name of an input (H, W, depth) of the method.
        jitter: Standard deviation of the normal noise added to the input at each step, a number or a
            function of the step. The layers of a finished fit are made without it.
        drift: For videos, the greatest change of the input from one frame to the next; 0: none.
        size: (h, w) of the layer; None: that of the image.
    """

    net: Any
    depth: int = 2
    low: float = -0.005
    high: float = 0.005
    source: str = "noise"
    jitter: Jitter = 0.0
    drift: float = 0.0
    size: tuple[int, int] | None = None

    @property
    def multiple(self) -> int:
        """The number of which the sides of the net's input must be multiples."""
        return getattr(self.net, "multiple", 1)

    def weights(self, key: Array) -> PyTree:
        """Initial weights of the net."""
        if hasattr(self.net, "weights"):
            return self.net.weights(key, self.depth)
        side = max(self.multiple, 8)
        return self.net.init(key, jnp.zeros((1, side, side, self.depth)))["params"]

    def input(
        self, key: Array, inputs: Inputs, shape: tuple[int, int], *, frames: int = 0
    ) -> Array:
        """Makes the fixed input of the net.

        Args:
            key: The key of its noise.
            inputs: The method's inputs.
            shape: (h, w) of the net's input.
            frames: Number T of frames of a video; 0: an image.

        Returns:
            (h, w, depth), for a video (T, h, w, depth).
        """
        size = (*shape, self.depth)
        if self.source == "meshgrid":
            z = meshgrid(shape)
        elif self.source != "noise":
            z = pad(inputs[self.source], shape)
        else:
            z = uniform(key, size, self.low, self.high)
        if not frames:
            return z
        if not self.drift:
            return jnp.broadcast_to(z, (frames, *z.shape))
        keys = jax.random.split(jax.random.fold_in(key, 1), frames - 1)
        steps = [uniform(k, size, -self.drift, self.drift) for k in keys]
        # Reflected at both ends of the range, which a random walk would leave.
        extent = self.high - self.low
        walk = (jnp.cumsum(jnp.stack([z, *steps]), axis=0) - self.low) % (2 * extent)
        return self.low + extent - jnp.abs(walk - extent)


def uniform(key: Array, shape: tuple[int, ...], low: float, high: float) -> Array:
    """Draws uniform noise of any shape as a flat vector, which compiles several times faster."""
    return jax.random.uniform(key, (math.prod(shape),), minval=low, maxval=high).reshape(shape)


def growing(rate: float, every: int, until: int = 1000) -> Callable[[Array], Array]:
    """Double-DIP's perturbation: `rate * (step // every)` before step `until`, then `rate`."""
    return lambda step: rate * jnp.where(step < until, step // every, 1)


def meshgrid(shape: tuple[int, int]) -> Array:
    """Returns the coordinates (H, W, 2) of the pixels, horizontal first, from 0 to 1."""
    y, x = jnp.meshgrid(*(jnp.linspace(0, 1, n) for n in shape), indexing="ij")
    return jnp.stack([x, y], axis=-1)


def pad(x: Array, shape: tuple[int, int], axes: tuple[int, int] = (0, 1)) -> Array:
    """Pads an array to `shape` by mirroring it, evenly on both sides."""
    widths = [(0, 0)] * x.ndim
    for axis, size in zip(axes, shape):
        missing = size - x.shape[axis]
        widths[axis] = (missing // 2, missing - missing // 2)
    return jnp.pad(x, widths, mode="symmetric")


def crop(x: Array, shape: tuple[int, int], axes: tuple[int, int]) -> Array:
    """Crops an array to the centre of size `shape`; the inverse of `pad`."""
    for axis, size in zip(axes, shape):
        start = (x.shape[axis] - size) // 2
        x = jax.lax.slice_in_dim(x, start, start + size, axis=axis)
    return x
