"""The weights of two mixtures of two layers: I_k = a_k * y1 + (1 - a_k) * y2, k = 1, 2.

With known a_1 and a_2, `ops.mixtures.solve` computes the layers. The correct weights give layers within
[0, 1] whose edges do not coincide.
"""

import jax
import jax.numpy as jnp

from deepinternal.losses.layers import exclusion
from deepinternal.ops.mixtures import solve
from deepinternal.ops.resizing import resize
from deepinternal.types import Array

_RANGE = 5.0  # weight of values outside [0, 1]
_LEAST = 0.04  # smallest difference of the weights; noise dominates below it


def mismatch(first: Array, second: Array, alphas: Array) -> Array:
    """Scores how unlikely weights are, by edges common to both layers and values outside [0, 1].

    The exclusion loss is divided by the layers' contrast, because it grows with the contrast.

    Args:
        first: A mixture (H, W, C).
        second: The other mixture (H, W, C).
        alphas: (2,), the weights, which must differ.

    Returns:
        A scalar.

    Example:
        >>> import jax, numpy as np, deepinternal as di
        >>> first, second = np.zeros((2, 16, 16, 1))
        >>> first[:, 4:8], second[8:12] = 1, 1
        >>> mixtures = 0.7 * first + 0.3 * second, 0.4 * first + 0.6 * second
        >>> score = jax.jit(di.estimators.mismatch)
        >>> bool(score(*mixtures, np.array([0.7, 0.4])) < score(*mixtures, np.array([0.9, 0.2])))
        True
    """
    layers = solve(first, second, alphas)
    contrast = jnp.sqrt(jnp.std(layers[0]) * jnp.std(layers[1])) + 1e-6
    outside = sum(jnp.mean(jnp.abs(y - jnp.clip(y, 0, 1))) for y in layers)
    return exclusion(*layers) / contrast + _RANGE * outside


def search_alphas(first: Array, second: Array, *, side: int = 192) -> Array:
    """Searches for the weights of two mixtures that minimise `mismatch`, on a grid refined twice.

    Args:
        first: A mixture (H, W, C) in [0, 1].
        second: The other mixture (H, W, C) in [0, 1].
        side: Greatest side in pixels of the images in the search; larger ones are reduced.

    Returns:
        (2,), a_1 > a_2: the first layer is stronger in the first mixture than in the second. Both
        weights lie in [0.02, 0.98].

    Example:
        >>> import numpy as np, deepinternal as di
        >>> first, second = np.zeros((2, 16, 16, 1))
        >>> first[:, 4:8], second[8:12] = 1, 1
        >>> mixtures = 0.7 * first + 0.3 * second, 0.4 * first + 0.6 * second
        >>> print(di.estimators.search_alphas(*mixtures).round(1))
        [0.7 0.4]
    """
    scale = min(1.0, side / max(first.shape[:2]))
    shape = tuple(max(round(n * scale), 8) for n in first.shape[:2])
    small = [resize(jnp.asarray(x), output_shape=shape, method="box") for x in (first, second)]
    score = jax.jit(lambda pair: mismatch(*small, pair))
    centre, step = (0.5, 0.5), 0.08
    for _ in range(3):
        places = [
            jnp.clip(jnp.arange(-6, 7, dtype=jnp.float32) * step + c, 0.02, 0.98) for c in centre
        ]
        pairs = [(x, y) for x in places[0] for y in places[1] if x - y >= _LEAST]
        centre = min(pairs, key=lambda pair: float(score(jnp.stack(pair))))
        step = step / 5
    return jnp.stack(centre)
