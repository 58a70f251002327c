"""Back-projection: an image is corrected until its downscaled version equals the observed image.

Images are (H, W, C) in [0, 1]; results are clipped to that range at each iteration.

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
    """Repeatedly adds the enlarged difference from the observed image to the estimate.

    Args:
        image: (H', W', C), the estimate.
        observed: (H, W, C), the observed image.
        down: The degradation, (H', W', C) -> (H, W, C).
        up: The enlargement, (H, W, C) -> (H', W', C).
        iterations: Number of iterations; 0 returns the image unchanged.

    Returns:
        (H', W', C).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import back_projection
        >>> down, up = lambda x: x[::2], lambda x: x.repeat(2, 0)
        >>> start, observed = np.zeros((2, 1, 1), np.float32), np.full((1, 1, 1), 0.5, np.float32)
        >>> back_projection.back_project(start, observed, down, up, iterations=1).tolist()
        [[[0.5]], [[0.5]]]
    """

    def refine(x: Array, _) -> tuple[Array, None]:
        return jnp.clip(x + up(observed - down(x)), 0, 1), None

    return jax.lax.scan(refine, image, length=iterations)[0]


def descend(
    image: Array, observed: Array, down: Callable[[Array], Array], *, iterations: int
) -> Array:
    """Back-projection for any differentiable degradation: steepest descent on the squared difference.

    `back_project` converges only if the degradation is close to a downscaling, which a motion blur is
    not: its frequency response has negative parts. Here the transposed derivative of the degradation
    maps the difference back. The step length is the best one along that direction, exactly for a
    linear degradation and to first order for others.

    Args:
        image: (H', W', C), the estimate.
        observed: (H, W, C), the observed image.
        down: The degradation, (H', W', C) -> (H, W, C), differentiable in both modes.
        iterations: Number of iterations; 0 returns the image unchanged.

    Returns:
        (H', W', C).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import back_projection
        >>> down = lambda x: x[::2]
        >>> start, observed = np.zeros((2, 1, 1), np.float32), np.full((1, 1, 1), 0.5, np.float32)
        >>> back_projection.descend(start, observed, down, iterations=1).tolist()
        [[[0.5]], [[0.0]]]
    """

    def refine(x: Array, _) -> tuple[Array, None]:
        small, pull = jax.vjp(down, x)
        difference = observed - small
        (direction,) = pull(difference)
        _, change = jax.jvp(down, (x,), (direction,))
        length = jnp.sum(difference * change) / jnp.maximum(jnp.sum(change**2), 1e-12)
        return jnp.clip(x + length * direction, 0, 1), None

    return jax.lax.scan(refine, image, length=iterations)[0]
