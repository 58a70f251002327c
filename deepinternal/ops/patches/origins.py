"""Where the patches of an image come from: how much of a source is used, and what is copied."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.types import Array


class Usage(NamedTuple):
    """How the patches of an image use the pixels of the source that they come from.

    Attributes:
        share: Share of the source's pixels that are used at all, a scalar.
        evenness: exp(entropy) of the distribution over the source's pixels, divided by their number:
            1 if all of them are used equally often, 1 / n if one of n is.
        counts: (H, W), how often a pixel is used, divided by the number of patches that contain it.
    """

    share: Array
    evenness: Array
    counts: Array


def usage(place: Array, size: tuple[int, int], *, patch: int = 7) -> Usage:
    """Measures how much of a source is used, and how evenly.

    Args:
        place: int32 (h, w, 2), for each patch of an image the place of its nearest patch in the
            source, see `search.nearest`.
        size: (H, W) of the source.
        patch: Side of a patch in pixels.

    Returns:
        The usage; all of it is 1 for the source itself with a stride of 1.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import origins
        >>> measure = jax.jit(lambda place: origins.usage(place, (2, 4), patch=2))
        >>> used = measure(np.zeros((1, 1, 2), int))
        >>> used.share.tolist(), used.counts.tolist()
        (0.5, [[1.0, 0.5, 0.0, 0.0], [1.0, 0.5, 0.0, 0.0]])
    """
    ones = [np.ones(n - patch + 1, np.float32) for n in size]
    possible = np.outer(*(np.convolve(x, np.ones(patch, np.float32)) for x in ones))
    used = jnp.zeros(list(map(len, ones))).at[place[..., 0], place[..., 1]].add(1.0)
    for window in ((patch, 1), (1, patch)):
        pad = [(n - 1, n - 1) for n in window]
        used = lax.reduce_window(used, 0.0, lax.add, window, (1, 1), pad)
    counts = used / possible
    shares = counts / jnp.sum(counts)
    entropy = -jnp.sum(shares * jnp.log(jnp.where(shares > 0, shares, 1)))
    return Usage(jnp.mean(jnp.float32(counts > 0)), jnp.exp(entropy) / counts.size, counts)


def largest_copy(place: Array, at: Sequence[Array]) -> Array:
    """Measures the largest region of an image that is copied from one region of a source.

    Args:
        place: int32 (h, w, 2), for each patch of the image the place of its nearest patch in the
            source.
        at: Rows (h,) and columns (w,) of the image's patches, see `places.grid`.

    Returns:
        The size of the largest region, connected by sides, in which the offset from a patch to its
        nearest patch is constant, as a share of the patches.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import origins
        >>> place = np.array([[[0, 5], [0, 6], [0, 0]]])  # two of three patches are moved by 5 pixels
        >>> share = jax.jit(origins.largest_copy)(place, (np.arange(1), np.arange(3)))
        >>> round(float(share), 3)
        0.667
    """
    offset = place - jnp.stack(jnp.meshgrid(*map(jnp.asarray, at), indexing="ij"), axis=-1)
    labels = _regions(offset)
    sizes = jnp.zeros((labels.shape[0] + 1) * (labels.shape[1] + 1), jnp.int32)
    sizes = sizes.at[labels.reshape(-1)].add(1)
    return jnp.max(sizes) / labels.size


def _regions(values: Array) -> Array:
    """Labels the regions of equal values (h, w, C): int32 (h, w), from 0 to (h + 1) * (w + 1) - 1.

    A label names a place in its region. The label there becomes the least that a neighbour of the
    region's pixels has, and then each label becomes the label at the place that it names, so that the
    number of iterations grows with the logarithm of a region's size (Zhang, Azad, Hu: FastSV, 2020).
    """
    h, w = values.shape[:2]
    # A frame that equals no value, on two sides, separates what `roll` would join.
    values = jnp.pad(values, ((0, 1), (0, 1), (0, 0)))
    inside = jnp.pad(jnp.ones((h, w), bool), ((0, 1), (0, 1)))

    def rolled(x):
        return [jnp.roll(x, by, axis) for axis in (0, 1) for by in (1, -1)]

    same = [
        jnp.all(values == other, axis=-1) & inside & there
        for other, there in zip(rolled(values), rolled(inside))
    ]

    def step(state):
        labels, least = state[0], state[0]
        for joined, other in zip(same, rolled(labels)):
            least = jnp.where(joined, jnp.minimum(least, other), least)
        flat = labels.reshape(-1).at[labels.reshape(-1)].min(least.reshape(-1))
        flat = jnp.minimum(flat, least.reshape(-1))
        found = flat[flat].reshape(labels.shape)
        return found, jnp.any(found != labels)

    start = jnp.arange(inside.size, dtype=jnp.int32).reshape(inside.shape)
    return lax.while_loop(lambda state: state[1], step, (start, jnp.array(True)))[0][:h, :w]
