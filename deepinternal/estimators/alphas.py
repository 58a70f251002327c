"""Two mixtures of two layers with constant weights: the weights, and the layers given the weights.

I_k = a_k * y1 + (1 - a_k) * y2, k = 1, 2, has the layers y1, y2 as its solution once a_1, a_2 are
known. Of all weights the right ones give layers within [0, 1] whose edges do not coincide.
"""

import jax
import jax.numpy as jnp

from deepinternal.losses.exclusion import exclusion
from deepinternal.ops.resize import resize
from deepinternal.types import Array

_RANGE = 5.0  # weight of values outside of [0, 1]
_LEAST = 0.04  # least difference of the weights: under it noise decides


def solve(
    first: Array,
    second: Array,
    alphas: Array,
    *,
    near: tuple[Array, Array] | None = None,
    trust: float = 0.0,
) -> tuple[Array, Array]:
    """The layers of two mixtures, by least squares.

    Args:
        first: (H, W, C), `a_1 * y1 + (1 - a_1) * y2`.
        second: likewise with a_2.
        alphas: (2,), a_1 and a_2, not equal unless `trust` is over 0.
        near: layers to stay near.
        trust: weight of the squared distance to them, relative to the mixtures' errors.

    Returns:
        y1, y2, not clipped.
    """
    a, b = alphas, 1 - alphas
    near = near or (jnp.zeros_like(first),) * 2
    right1 = a[0] * first + a[1] * second + trust * near[0]
    right2 = b[0] * first + b[1] * second + trust * near[1]
    p, q, r = jnp.sum(a * a) + trust, jnp.sum(a * b), jnp.sum(b * b) + trust
    determinant = p * r - q * q
    return (r * right1 - q * right2) / determinant, (p * right2 - q * right1) / determinant


def mismatch(first: Array, second: Array, alphas: Array) -> Array:
    """How unlikely weights are: edges common to both layers, values outside of [0, 1].

    The exclusion loss is divided by the layers' contrast, for it grows with it.

    Args:
        first: a mixture (H, W, C).
        second: the other.
        alphas: (2,), not equal.

    Returns:
        A scalar.
    """
    layers = solve(first, second, alphas)
    contrast = jnp.sqrt(jnp.std(layers[0]) * jnp.std(layers[1])) + 1e-6
    outside = sum(jnp.mean(jnp.abs(y - jnp.clip(y, 0, 1))) for y in layers)
    return exclusion(*layers) / contrast + _RANGE * outside


def search(first: Array, second: Array, *, side: int = 192) -> Array:
    """The weights of two mixtures with the least `mismatch`, on a grid refined twice.

    Args:
        first: a mixture (H, W, C) in [0, 1].
        second: the other.
        side: the images are looked at with no side over so many pixels.

    Returns:
        (2,) a_1 > a_2: the first layer is the one that is stronger in the first mixture. All weights
        lie in [0.02, 0.98].
    """
    scale = min(1.0, side / max(first.shape[:2]))
    shape = tuple(max(round(n * scale), 8) for n in first.shape[:2])
    small = [resize(jnp.asarray(x), output_shape=shape, method="box") for x in (first, second)]
    score = jax.jit(lambda pair: mismatch(*small, pair))
    centre, step = (0.5, 0.5), 0.08
    for _ in range(3):
        places = [jnp.clip(jnp.arange(-6, 7) * step + c, 0.02, 0.98) for c in centre]
        pairs = [(x, y) for x in places[0] for y in places[1] if x - y >= _LEAST]
        centre = min(pairs, key=lambda pair: float(score(jnp.stack(pair))))
        step = step / 5
    return jnp.stack(centre)
