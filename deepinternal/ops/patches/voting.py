"""Images made of overlapping patches of another image, by weighted means or medians."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.ops.patches.places import covered
from deepinternal.types import Array


def vote(
    place: Array,
    values: Array,
    *,
    patch: int = 7,
    weights: Array | None = None,
    median: bool = False,
) -> Array:
    """Makes an image from patches of another image that overlap each other.

    Each pixel is the mean of the values that the patches covering it propose, with Gaussian weights
    that fall with the pixel's distance from a patch's centre. Differentiable in `values` and in
    `weights`.

    Args:
        place: int32 (h, w, 2), for each patch of the image the row and column of its upper left pixel
            in `values`.
        values: (H', W', C).
        patch: Side of a patch in pixels.
        weights: (h, w), at least 0, a further weight of each patch.
        median: Whether to take the weighted median of each channel instead of the mean. The median
            follows the majority where patches disagree, and needs patch * patch times the memory of a
            row of the image.

    Returns:
        (h + patch - 1, w + patch - 1, C); 0 where no patch has a weight.

    References:
        Simakov, Caspi, Shechtman, Irani: Summarizing Visual Data Using Bidirectional Similarity.
        CVPR 2008, section 3.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import voting
        >>> values, place = np.ones((5, 5, 3), np.float32), np.zeros((3, 4, 2), np.int32)
        >>> jax.jit(lambda place, values: voting.vote(place, values, patch=2))(place, values).shape
        (4, 5, 3)
    """
    values = jnp.asarray(values)
    offsets, shares = _offsets(patch), _gaussian(patch).astype(values.dtype)
    around = ((patch - 1, patch - 1), (patch - 1, patch - 1))
    places = jnp.pad(place, (*around, (0, 0)))
    one = jnp.ones(place.shape[:2], values.dtype) if weights is None else weights
    of_patch = jnp.pad(one, around)
    size = [n + patch - 1 for n in place.shape[:2]]

    def said(offset, share, start, shape):
        """The values and weights that the patches propose for a part of the image, at one offset."""
        at = start + patch - 1 - offset
        cells = lax.dynamic_slice(places, (*at, jnp.zeros_like(at[0])), (*shape, 2)) + offset
        return values[cells[..., 0], cells[..., 1]], share * lax.dynamic_slice(of_patch, at, shape)

    if median:
        return _by_median(said, offsets, shares, size)
    return _by_mean(said, offsets, shares, (*size, values.shape[-1]))


def _offsets(patch: int) -> Array:
    """The rows and columns of the pixels of a patch, int32 (patch * patch, 2)."""
    return jnp.asarray(np.indices((patch, patch)).reshape(2, -1).T, jnp.int32)


def _gaussian(patch: int) -> Array:
    """The weights (patch * patch,) of the pixels of a patch."""
    distances = np.square(np.arange(patch) - (patch - 1) / 2)
    shares = jnp.asarray(np.exp(-(distances[:, None] + distances) / (2 * (patch / 4) ** 2)))
    return shares.reshape(-1)


def _by_mean(said: Callable, offsets: Array, shares: Array, shape: Sequence[int]) -> Array:
    """The weighted means (H, W, C) of what the patches propose."""
    zero, size = jnp.zeros(2, jnp.int32), shape[:2]

    def add(sums, at):
        found, weight = said(*at, zero, size)
        return (sums[0] + found * weight[..., None], sums[1] + weight), None

    if jax.default_backend() == "cpu":
        start = jnp.zeros(shape, shares.dtype), jnp.zeros(size, shares.dtype)
        (total, weight), _ = lax.scan(add, start, (offsets, shares))
    else:  # few kernels
        found, weight = jax.vmap(lambda *at: said(*at, zero, size))(offsets, shares)
        total, weight = jnp.sum(found * weight[..., None], axis=0), jnp.sum(weight, axis=0)
    return total / jnp.where(weight > 0, weight, 1)[..., None]


def _by_median(said: Callable, offsets: Array, shares: Array, size: Sequence[int]) -> Array:
    """The weighted medians (H, W, C) of what the patches propose, row by row to bound the memory."""
    zero = jnp.zeros(2, jnp.int32)

    def row(y):
        start = zero.at[0].set(y)
        found, weight = jax.vmap(lambda *o: said(*o, start, (1, size[1])))(offsets, shares)
        return _median(found[:, 0], weight[:, 0])

    return lax.map(row, jnp.arange(size[0], dtype=jnp.int32))


def _median(values: Array, weights: Array) -> Array:
    """The weighted median along the first axis of (N, W, C), with weights (N, W).

    It is the least value such that it and the lesser ones have half of the weight.
    """
    weights = jnp.broadcast_to(weights[..., None], values.shape)
    values, weights = lax.sort((values, weights), dimension=0, num_keys=1)
    sums = jnp.cumsum(weights, axis=0)
    first = jnp.argmax(sums >= 0.5 * sums[-1], axis=0)
    found = jnp.take_along_axis(values, first[None], axis=0)[0]
    return jnp.where(sums[-1] > 0, found, 0)


def assembled(
    place: Array, at: Array, values: Array, size: tuple[int, int], *, patch: int = 7, weights: Array
) -> Array:
    """Puts patches of an image at given positions of another one, and averages where they overlap.

    In contrast to `vote`, any number of patches may lie anywhere, and all pixels of a patch have the
    same weight. Differentiable in `values` and in `weights`.

    Args:
        place: int32 (N, 2), rows and columns of the patches' upper left pixels in `values`.
        at: int32 (N, 2), the same in the new image.
        values: (H', W', C).
        size: (H, W) of the new image.
        patch: Side of a patch in pixels.
        weights: (N,), at least 0.

    Returns:
        (H, W, C); 0 where no patch has a weight.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import voting
        >>> values, weights = np.ones((2, 2, 1), np.float32), np.ones(1, np.float32)
        >>> made = voting.assembled([[0, 0]], [[0, 1]], values, (2, 3), patch=2, weights=weights)
        >>> made[..., 0].tolist()
        [[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]
    """
    offsets = _offsets(patch)
    place, at, values, weights = map(jnp.asarray, (place, at, values, weights))

    def add(sums, offset):
        found = values[tuple((place + offset).T)]
        votes = weights[:, None] * jnp.concatenate([found, jnp.ones_like(found[:, :1])], axis=-1)
        return sums.at[tuple((at + offset).T)].add(votes), None

    start = jnp.zeros((*size, values.shape[-1] + 1), values.dtype)
    sums, _ = lax.scan(add, start, offsets)
    return sums[..., :-1] / jnp.where(sums[..., -1:] > 0, sums[..., -1:], 1)


def voted_by_both(
    place: Array,
    back: Array,
    values: Array,
    *,
    patch: int = 7,
    size: Sequence[Array | int] | None = None,
    searched_size: Sequence[Array | int] | None = None,
    weight: float = 1.0,
) -> Array:
    """Makes an image by bidirectional similarity: both images' patches vote, each with its match.

    Each patch of the image votes for the values of its match in the source, and each patch of the
    source for its own values, at its match in the image. All pixels of a patch have the same weight.

    Args:
        place: int32 (h, w, 2), the matches in the source of the image's patches.
        back: int32 (h', w', 2), the matches in the image of the source's patches; -1 for patches that
            do not vote.
        values: (H', W', C), the source.
        patch: Side of a patch in pixels.
        size: (height, width) of the image in the upper left of its canvas, possibly traced. Default:
            it fills the canvas (h + patch - 1, w + patch - 1).
        searched_size: The same for the source.
        weight: Sum of the weights of the source's patches, relative to that of the image's.

    Returns:
        (h + patch - 1, w + patch - 1, C), 0 outside of the image.

    References:
        Simakov, Caspi, Shechtman, Irani: Summarizing Visual Data Using Bidirectional Similarity.
        CVPR 2008, equation 3.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import voting
        >>> values, place = np.ones((2, 2, 1), np.float32), np.zeros((1, 1, 2), np.int32)
        >>> made = jax.jit(lambda *x: voting.voted_by_both(*x, patch=2))(place, place, values)
        >>> made.tolist()
        [[[1.0], [1.0]], [[1.0], [1.0]]]
    """
    in_source, at, votes = _flat(place, size, patch)
    in_image, from_source, votes_back = _flat(back, searched_size, patch)
    return assembled(
        jnp.concatenate([in_source, from_source]),
        jnp.concatenate([at, in_image]),
        values,
        tuple(n + patch - 1 for n in place.shape[:2]),
        patch=patch,
        weights=jnp.concatenate([votes, weight * votes_back]),
    )


def _flat(
    field: Array, size: Sequence[Array | int] | None, patch: int
) -> tuple[Array, Array, Array]:
    """The matches (N, 2), the places (N, 2) and the weights (N,), of sum 1, of a field's patches."""
    shape = field.shape[:2]
    size = [n + patch - 1 for n in shape] if size is None else size
    votes = covered(shape, [n - patch + 1 for n in size]) & (field[..., 0] >= 0)
    own = jnp.stack(jnp.indices(shape, jnp.int32), axis=-1)
    weights = votes.astype(jnp.float32) / jnp.sum(votes)
    return jnp.maximum(field, 0).reshape(-1, 2), own.reshape(-1, 2), weights.reshape(-1)
