"""A generator: a network and the fixed input of which it makes a layer."""

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
    """A network and the input that it is given.

    Attributes:
        net: linen module (N, h, w, depth) -> (N, h, w, C); an attribute `multiple` says by what the
            sides must divide (1 without it), a method `weights(key, depth)` gives initial weights
            (its `init` without it).
        depth: channels of the input.
        low, high: range of its uniform noise.
        source: 'noise'; 'meshgrid' (coordinates in [0, 1], depth 2); '=NAME': the input of another
            generator; or the name of an input (H, W, depth) of the method, to be taken as it is.
        jitter: standard deviation of the normal noise added to the input at each step, a number or a
            function of the step. The layer of a finished fit is made without it.
        drift: of frames, the greatest step of the input from one frame to the next; 0: none.
        size: (h, w) of the layer; None: the image's.
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
        """By what the sides of the net's input must divide."""
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
        """The fixed input of the net.

        Args:
            key: of its noise.
            inputs: of the method.
            shape: (h, w), the sides it shall have.
            frames: T of a video; 0: an image.

        Returns:
            (h, w, depth), of a video (T, h, w, depth).
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
        # Reflected at both ends of the range: a walk would leave it.
        extent = self.high - self.low
        walk = (jnp.cumsum(jnp.stack([z, *steps]), axis=0) - self.low) % (2 * extent)
        return self.low + extent - jnp.abs(walk - extent)


def uniform(key: Array, shape: tuple[int, ...], low: float, high: float) -> Array:
    """Uniform noise of any shape, drawn flat: it compiles several times faster."""
    return jax.random.uniform(key, (math.prod(shape),), minval=low, maxval=high).reshape(shape)


def growing(rate: float, every: int, until: int = 1000) -> Callable[[Array], Array]:
    """Double-DIP's perturbation: `rate * (step // every)` before step `until`, then `rate`."""
    return lambda step: rate * jnp.where(step < until, step // every, 1)


def meshgrid(shape: tuple[int, int]) -> Array:
    """Coordinates (H, W, 2), horizontal first, from 0 to 1."""
    y, x = jnp.meshgrid(*(jnp.linspace(0, 1, n) for n in shape), indexing="ij")
    return jnp.stack([x, y], axis=-1)


def pad(x: Array, shape: tuple[int, int], axes: tuple[int, int] = (0, 1)) -> Array:
    """Mirrors an array beyond its borders, evenly on both sides, up to `shape`."""
    widths = [(0, 0)] * x.ndim
    for axis, size in zip(axes, shape):
        missing = size - x.shape[axis]
        widths[axis] = (missing // 2, missing - missing // 2)
    return jnp.pad(x, widths, mode="symmetric")


def crop(x: Array, shape: tuple[int, int], axes: tuple[int, int]) -> Array:
    """The centre of what `pad` made."""
    for axis, size in zip(axes, shape):
        start = (x.shape[axis] - size) // 2
        x = jax.lax.slice_in_dim(x, start, start + size, axis=axis)
    return x
