"""Images made from overlapping patches of another image, by weighted means."""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.ops.patches.search import nearest
from deepinternal.ops.resizing import resize
from deepinternal.types import Array


def detailed(made: Array, small: Array, full: Array, *, patch: int = 7, passes: int = 1) -> Array:
    """Enlarges an image with the detail of another image that has similar patches.

    Each patch of `made` is replaced by the part of `full` that belongs to its nearest patch of `small`.
    Overlapping patches are averaged, with weights that fall with the distance from a patch's centre.

    Args:
        made: (h', w', C).
        small: (h, w, C), `full` at a smaller size.
        full: (H, W, C). It is resized if its sides are no whole multiples of those of `small`.
        patch: Side in pixels of the patches of `made` and `small`.
        passes: Number of passes, at least 1; between them the result is reduced to the size of `made`.

    Returns:
        (factor * h', factor * w', C), factor = ceil(max(H / h, W / w)).

    Raises:
        ValueError: A side is shorter than a patch, or the numbers of channels differ.

    References:
        Freeman, Jones, Pasztor: Example-based super-resolution. IEEE CG&A 2002; here the examples
        are those of one image. Voting: Simakov et al., CVPR 2008, section 3.
    """
    (h, w), channels = small.shape[:2], small.shape[-1]
    factor = max(math.ceil(a / b) for a, b in zip(full.shape[:2], (h, w)))
    if full.shape[:2] != (factor * h, factor * w):
        full = resize(full, output_shape=(factor * h, factor * w))
    cells = (
        jnp.asarray(full).reshape(h, factor, w, factor, channels).swapaxes(1, 2).reshape(h, w, -1)
    )
    for _ in range(passes):
        found = _voted(nearest(made, small, patch=patch)[1], cells, patch)
        found = found.reshape(*made.shape[:2], factor, factor, channels)
        made = found.mean((2, 3))
    height, width = made.shape[:2]
    return found.swapaxes(1, 2).reshape(factor * height, factor * width, channels)


def _voted(place: Array, cells: Array, patch: int) -> Array:
    """Averages the patches at positions (h, w, 2) of `cells` (H, W, F): (h + patch - 1, ..., F)."""
    distances = np.square(np.arange(patch) - (patch - 1) / 2)
    weights = np.exp(-(distances[:, None] + distances) / (2 * (patch / 4) ** 2))
    size = [n + patch - 1 for n in place.shape[:2]]

    def vote(sums, at):
        offset, weight = at
        cell = cells[tuple(jnp.moveaxis(place + offset, -1, 0))]
        share = weight * jnp.concatenate([cell, jnp.ones_like(cell[..., :1])], -1)
        start = (*offset, jnp.zeros_like(offset[0]))
        before = lax.dynamic_slice(sums, start, share.shape)
        return lax.dynamic_update_slice(sums, before + share, start), None

    offsets = jnp.asarray(np.indices((patch, patch)).reshape(2, -1).T, jnp.int32)
    start = jnp.zeros((*size, cells.shape[-1] + 1), cells.dtype)
    sums, _ = lax.scan(vote, start, (offsets, jnp.asarray(weights.reshape(-1), jnp.float32)))
    return sums[..., :-1] / sums[..., -1:]
