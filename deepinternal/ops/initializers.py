"""Initial weights of nets, drawn as flat vectors: draws of four axes compile for seconds on CPU."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.types import Array, PyTree


def scaled_normal(gain: float) -> Callable[..., Array]:
    """Returns a normal initialiser of variance gain / fan_in.

    It is `nn.initializers.variance_scaling(gain, "fan_in", "normal")` for convolutions and dense
    layers, but it draws a flat vector, because XLA takes seconds to compile a draw of four axes on CPU.

    Args:
        gain: Variance times fan_in, which is the product of all axes but the last.

    Returns:
        A function (key, shape, dtype) -> weights, like the initialisers of flax.
    """

    def init(key: Array, shape: Sequence[int], dtype=jnp.float32) -> Array:
        deviation = math.sqrt(gain / math.prod(shape[:-1]))
        return deviation * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)

    return init


def uniform_conv(key: Array, shape: tuple[int, ...]) -> dict[str, Array]:
    """Draws kernel and bias uniformly in +-1 / sqrt(fan-in), as a flat vector."""
    count, bound = math.prod(shape), 1 / math.sqrt(math.prod(shape[:-1]))
    drawn = jax.random.uniform(key, (count + shape[-1],), jnp.float32, -bound, bound)
    return {"kernel": drawn[:count].reshape(shape), "bias": drawn[count:]}


def unit_norm(key: Array, features: int | tuple[int, ...]) -> dict[str, Array]:
    """Returns scale 1 and shift 0 for a normalisation."""
    del key
    return {
        "scale": jnp.ones(features, jnp.float32),
        "shift": jnp.zeros(features, jnp.float32),
    }


def uniform_weights(key: Array, shapes: PyTree) -> PyTree:
    """Draws the weights of `uniform_conv` and `unit_norm` at once; each draw would add compile time.

    Args:
        key: The key of the draw.
        shapes: By layer, {'kernel', 'bias'} or {'scale', 'shift'}, from `jax.eval_shape`.

    Returns:
        Weights of these shapes.
    """
    convs = {name: layer for name, layer in shapes.items() if "kernel" in layer}
    sizes = [x.size for layer in convs.values() for x in (layer["kernel"], layer["bias"])]
    flat = jax.random.uniform(key, (sum(sizes),), jnp.float32, -1.0, 1.0)
    parts = iter(jnp.split(flat, np.cumsum(sizes)[:-1]))
    made = {}
    for name, layer in shapes.items():
        if name not in convs:
            made[name] = unit_norm(key, layer["scale"].shape)
            continue
        kernel = layer["kernel"].shape
        bound = 1 / math.sqrt(math.prod(kernel[:-1]))
        drawn = {"kernel": next(parts).reshape(kernel), "bias": next(parts)}
        made[name] = {part: bound * x for part, x in drawn.items()}
    return made
