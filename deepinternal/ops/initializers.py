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

    Example:
        >>> import jax
        >>> from deepinternal.ops import initializers
        >>> init = initializers.scaled_normal(2.0)
        >>> init(jax.random.key(0), (3, 3, 1, 2)).shape
        (3, 3, 1, 2)
    """

    def init(key: Array, shape: Sequence[int], dtype=jnp.float32) -> Array:
        deviation = math.sqrt(gain / math.prod(shape[:-1]))
        return deviation * jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)

    return init


def uniform_conv(key: Array, shape: tuple[int, ...]) -> dict[str, Array]:
    """Draws a kernel and a bias uniformly in +-1 / sqrt(fan_in), as one flat vector.

    Args:
        key: PRNG key.
        shape: (kh, kw, C_in, C_out), the shape of the kernel.

    Returns:
        {'kernel': (kh, kw, C_in, C_out), 'bias': (C_out,)}.

    Example:
        >>> import jax
        >>> from deepinternal.ops import initializers
        >>> weights = initializers.uniform_conv(jax.random.key(0), (3, 3, 1, 2))
        >>> weights["kernel"].shape, weights["bias"].shape
        ((3, 3, 1, 2), (2,))
    """
    count, bound = math.prod(shape), 1 / math.sqrt(math.prod(shape[:-1]))
    drawn = jax.random.uniform(key, (count + shape[-1],), jnp.float32, -bound, bound)
    return {"kernel": drawn[:count].reshape(shape), "bias": drawn[count:]}


def unit_norm(key: Array, features: int | tuple[int, ...]) -> dict[str, Array]:
    """Returns scale 1 and shift 0 for a normalisation.

    Args:
        key: Not used; initialisers take one.
        features: Number of channels, or a shape.

    Returns:
        {'scale': ones, 'shift': zeros}.

    Example:
        >>> from deepinternal.ops import initializers
        >>> {name: x.tolist() for name, x in initializers.unit_norm(None, 2).items()}
        {'scale': [1.0, 1.0], 'shift': [0.0, 0.0]}
    """
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

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import initializers
        >>> shapes = {"conv": {"kernel": np.zeros((3, 3, 1, 2)), "bias": np.zeros(2)}}
        >>> weights = initializers.uniform_weights(jax.random.key(0), shapes)
        >>> weights["conv"]["kernel"].shape
        (3, 3, 1, 2)
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
