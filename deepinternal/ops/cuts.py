"""Minimum cuts of pixel grids: masks that follow the evidence of each pixel and the image's edges.

A mask m of zeros and ones costs the sum of `cost * m` over the pixels, plus the weight of every link
whose two pixels have different values. The least cost is a minimum cut of a graph. Relaxed to values in
[0, 1], the problem is convex and has the same minimum, and any threshold of a minimiser is a minimum
cut. A primal-dual iteration solves it with operations on whole arrays, which can be jitted, vmapped and
run on accelerators.

References:
    Boykov, Jolly: Interactive Graph Cuts for Optimal Boundary & Region Segmentation of Objects in N-D
    Images. ICCV 2001.
    Pock, Chambolle: Diagonal preconditioning for first order primal-dual algorithms in convex
    optimization. ICCV 2011, algorithm 1.
"""

import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array

OFFSETS = ((0, 1), (1, 0), (1, 1), (1, -1))  # from a pixel to half of its eight neighbours
_OUTWEIGHS = 1e4  # cost of a hinted pixel on the wrong side


def contrast_links(image: Array, *, weight: float) -> Array:
    """Weighs the links between neighbours by their similarity.

    A link of length d between colours a and b weighs `weight * exp(-|a - b|^2 / (2 * mean)) / d`, where
    the mean is that of |a - b|^2 over all links.

    Args:
        image: (H, W, C), in a space where distances correspond to perceived differences, such as
            CIELAB.
        weight: The weight of a link of length 1 between equal colours.

    Returns:
        (4, H, W), for each pixel the links to its neighbours at `OFFSETS`; 0 where there is none.

    References:
        Rother, Kolmogorov, Blake: GrabCut. SIGGRAPH 2004, equations 4 and 5.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import cuts
        >>> links = jax.jit(lambda x: cuts.contrast_links(x, weight=4.0))(np.ones((2, 3, 1)))
        >>> links[0].tolist()  # to the pixels on the right
        [[4.0, 4.0, 0.0], [4.0, 4.0, 0.0]]
    """
    inside = [_moved(jnp.ones(image.shape[:2]), offset) for offset in OFFSETS]
    squares = [
        valid * jnp.sum(jnp.square(_moved(image, offset) - image), axis=-1)
        for offset, valid in zip(OFFSETS, inside)
    ]
    mean = sum(map(jnp.sum, squares)) / sum(map(jnp.sum, inside))
    lengths = [(y * y + x * x) ** 0.5 for y, x in OFFSETS]
    links = [
        weight / length * valid * jnp.exp(-square / jnp.maximum(2 * mean, 1e-12))
        for square, valid, length in zip(squares, inside, lengths)
    ]
    return jnp.stack(links)


def minimum_cut(
    cost: Array, links: Array, *, start: Array | None = None, steps: int = 300
) -> Array:
    """Minimises the cost of a relaxed mask.

    Args:
        cost: (H, W), the cost of a pixel inside the mask; negative for pixels that belong there.
        links: (4, H, W), the cost of different values of a pixel and its neighbour at `OFFSETS`; at
            least 0, and 0 where there is no neighbour.
        start: (H, W) in [0, 1], a mask near the solution; None: where the cost is negative.
        steps: Number of iterations.

    Returns:
        (H, W) in [0, 1]; its values above 0.5 are the mask.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from deepinternal.ops import cuts
        >>> cost = jnp.array([[-3.0, 1.0, 3.0]])  # the pixel in the middle is almost undecided
        >>> links = jnp.zeros((4, 1, 3)).at[0, 0, 0].set(2.0)  # but it looks like the left one
        >>> (jax.jit(cuts.minimum_cut)(cost, links) > 0.5).tolist()
        [[True, True, False]]
    """
    # Masks have values near 1, and flows have values near the weights of the links; after the division,
    # one step length suits both.
    scale = jnp.maximum(jnp.max(links), 1e-6)
    cost, links = cost / scale, links / scale
    start = jnp.where(cost < 0, 1.0, 0.0) if start is None else start
    forward, back = 0.5, 1 / (2 * len(OFFSETS))

    def step(_, state):
        mask, ahead, flow = state
        slopes = [_moved(ahead, offset) - ahead for offset in OFFSETS]
        flow = jnp.clip(flow + forward * jnp.stack(slopes), -links, links)
        out = sum(_moved(f, (-y, -x)) - f for f, (y, x) in zip(flow, OFFSETS))
        new = jnp.clip(mask - back * (out + cost), 0.0, 1.0)
        return new, 2 * new - mask, flow

    begun = (start, start, jnp.zeros_like(links))
    return lax.fori_loop(0, steps, step, begun)[0]


def hinted_cost(cost: Array, foreground: Array, background: Array) -> Array:
    """Returns a cost that keeps hinted pixels on their side.

    Args:
        cost: (H, W), the cost of a pixel inside the mask.
        foreground: (H, W), 1 for the pixels that are hinted to be inside, else 0.
        background: (H, W), the same for those outside.

    Returns:
        (H, W).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import cuts
        >>> cuts.hinted_cost(np.float32([1, 1, 1]), np.array([1, 0, 0]), np.array([0, 0, 1])).tolist()
        [-10000.0, 1.0, 10000.0]
    """
    return jnp.where(foreground > 0.5, -_OUTWEIGHS, jnp.where(background > 0.5, _OUTWEIGHS, cost))


def connected_parts(mask: Array, seeds: Array) -> Array:
    """Keeps the parts of a mask that are connected with a seed, across sides of pixels.

    Args:
        mask: (H, W) booleans.
        seeds: (H, W) booleans; those outside the mask have no effect.

    Returns:
        (H, W) booleans.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import cuts
        >>> mask, seeds = np.array([[[1, 1, 0, 1]], [[1, 0, 0, 0]]], bool)
        >>> cuts.connected_parts(mask, seeds).tolist()
        [[True, True, False, False]]
    """

    def spread(found):
        for window in ((3, 1), (1, 3)):
            found = mask & lax.reduce_window(found, False, lax.bitwise_or, window, (1, 1), "SAME")
        return found

    def advance(state):
        found, _ = state
        new = spread(spread(found))
        return new, jnp.any(new != found)

    start = (mask & seeds, jnp.array(True))
    return lax.while_loop(lambda state: state[1], advance, start)[0]


def cleaned_mask(mask: Array, foreground: Array, background: Array, *, radius: int) -> Array:
    """Removes the parts of a mask that contain no hint, and fills its small holes.

    Args:
        mask: (H, W) booleans.
        foreground: (H, W) booleans, the pixels that are hinted to be inside. A part of the mask
            without such a pixel is removed.
        background: (H, W) booleans, the pixels that are hinted to be outside.
        radius: Radius in pixels. A hole is filled if it has no pixel of `background` and no square of
            side 2 * radius + 1 fits into it.

    Returns:
        (H, W) booleans.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops import cuts
        >>> mask, foreground, background = np.zeros((3, 1, 4), bool)
        >>> mask[0, [0, 2]] = foreground[0, 0] = True
        >>> clean = jax.jit(cuts.cleaned_mask, static_argnames="radius")
        >>> clean(mask, foreground, background, radius=1).tolist()
        [[True, False, False, False]]
    """
    kept = connected_parts(mask | foreground, foreground)
    outside = jnp.pad(~kept, radius, constant_values=True)
    square = (2 * radius + 1,) * 2
    deep = ~lax.reduce_window(~outside, False, lax.bitwise_or, square, (1, 1), "SAME")
    cut = slice(radius, -radius or None)
    return ~connected_parts(~kept, deep[cut, cut] | background)


def _moved(x: Array, offset: tuple[int, int]) -> Array:
    """The value at each pixel's neighbour, (H, W, ...); 0 where there is none."""
    (y, x_), (h, w) = offset, x.shape[:2]
    pads = [(max(-y, 0), max(y, 0)), (max(-x_, 0), max(x_, 0))] + [(0, 0)] * (x.ndim - 2)
    padded = jnp.pad(x, pads)
    return padded[max(y, 0) : max(y, 0) + h, max(x_, 0) : max(x_, 0) + w]
