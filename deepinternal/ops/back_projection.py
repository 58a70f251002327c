"""Back-projection: an image is corrected until its downscaled version is the one that was observed.

Images are (H, W, C) in [0, 1]; so are the results, clipped at each iteration.

References:
    Irani and Peleg, "Improving resolution by image registration", CVGIP 1991.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from deepinternal.types import Array


def back_project(
    image: Array,
    observed: Array,
    down: Callable[[Array], Array],
    up: Callable[[Array], Array],
    *,
    iterations: int,
) -> Array:
    """Adds the enlarged difference to what was observed, again and again.

    Args:
        image: (H', W', C), the estimate.
        observed: (H, W, C).
        down: the degradation, (H', W', C) -> (H, W, C).
        up: the enlargement, (H, W, C) -> (H', W', C).
        iterations: how often; 0 returns the image as it is.

    Returns:
        (H', W', C).
    """

    def refine(x: Array, _) -> tuple[Array, None]:
        return jnp.clip(x + up(observed - down(x)), 0, 1), None

    return jax.lax.scan(refine, image, length=iterations)[0]


def descend(
    image: Array, observed: Array, down: Callable[[Array], Array], *, iterations: int
) -> Array:
    """The same for any differentiable degradation: steepest descent on the squared difference.

    Enlarging the difference converges only where the degradation is close to a downscaling: not for
    a motion blur, whose frequency response has negative parts. Here the difference goes back through
    the degradation's transposed derivative, with the step length that is best along that direction
    (exactly for a linear degradation, to first order for others).

    Args:
        image: (H', W', C), the estimate.
        observed: (H, W, C).
        down: the degradation, (H', W', C) -> (H, W, C), differentiable in both modes.
        iterations: how often; 0 returns the image as it is.

    Returns:
        (H', W', C).
    """

    def refine(x: Array, _) -> tuple[Array, None]:
        small, pull = jax.vjp(down, x)
        difference = observed - small
        (direction,) = pull(difference)
        _, change = jax.jvp(down, (x,), (direction,))
        length = jnp.sum(difference * change) / jnp.maximum(jnp.sum(change**2), 1e-12)
        return jnp.clip(x + length * direction, 0, 1), None

    return jax.lax.scan(refine, image, length=iterations)[0]
