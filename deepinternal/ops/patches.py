"""How well an image keeps the patches of another: nearest patches, their statistics, diversity.

For images of different sizes (a retargeted image and its source), of which no pixel corresponds to
one of the other. Images are (H, W, C), float32 in [0, 1], one C for both.

The distance of two patches is their mean squared difference per value, so it depends neither on the
size of a patch nor on the number of channels. Memory is bounded: patches are cut out in chunks.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.ops.resize import resize
from deepinternal.types import Array

_QUERIES, _SEARCHED = 1024, 2048  # patches in a chunk


class BidirectionalSimilarity(NamedTuple):
    """Distances in both directions; less is more similar.

    Attributes:
        coherence: mean distance of the target's patches to the nearest of the source; scalar, mean
            over the scales. Great where the target shows what the source does not.
        completeness: mean distance of the source's patches to the nearest of the target; scalar.
            Great where the target lacks what the source shows.
        coherences: (S,), for each scale.
        completenesses: (S,).
    """

    coherence: Array
    completeness: Array
    coherences: Array
    completenesses: Array


def grid(size: tuple[int, int], patch: int, stride: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Where patches lie: every `stride`-th row and column, and the last ones.

    Args:
        size: (H, W) of the image.
        patch: side of a patch.
        stride: rows and columns from a patch to the next.

    Returns:
        Rows (h,) and columns (w,) of the patches' upper left pixels; with them a stride of at most
        `patch` leaves no pixel uncovered.

    Raises:
        ValueError: a side shorter than a patch.
    """
    if min(size) < patch:
        raise ValueError(f"an image of {size[0]}x{size[1]} has no patches of {patch}x{patch}")
    last = [n - patch for n in size]
    return tuple(np.append(np.arange(0, n, stride), n) for n in last)


def cut(image: Array, rows: Array, columns: Array, patch: int) -> Array:
    """Patches at given places.

    Args:
        image: (H, W, C).
        rows: (N,), of the patches' upper left pixels.
        columns: (N,).
        patch: side of a patch.

    Returns:
        (N, patch * patch * C).
    """
    shape = (patch, patch, image.shape[-1])
    one = lambda y, x: lax.dynamic_slice(image, (y, x, jnp.zeros_like(y)), shape)
    return jax.vmap(one)(rows, columns).reshape(len(rows), -1)


def _chunks(rows: np.ndarray, columns: np.ndarray, length: int) -> tuple[Array, Array]:
    """All pairs of a row and a column, (chunks, length) each, the last one repeated at the end."""
    places = [m.reshape(-1) for m in np.meshgrid(rows, columns, indexing="ij")]
    count = math.ceil(len(places[0]) / length)
    length = math.ceil(len(places[0]) / count)
    padded = (np.pad(m, (0, count * length - len(m)), mode="edge") for m in places)
    return tuple(jnp.asarray(m.reshape(count, length), jnp.int32) for m in padded)


def _search(queries: Array, searched: Array, chunks: tuple[Array, Array], patch: int) -> Array:
    """Places (N, 2) of the patches of `searched` that are nearest to the queries (N, D)."""

    def closer(best, candidates):
        patches = cut(searched, *candidates, patch)
        products = jnp.matmul(queries, patches.T, precision=lax.Precision.HIGHEST)
        distances = jnp.sum(patches**2, axis=1) - 2 * products  # less the query's square
        least = jnp.min(distances, axis=1)
        # Not argmin, which XLA does not vectorise on CPU.
        order = jnp.arange(len(patches), dtype=jnp.int32)
        first = jnp.min(jnp.where(distances <= least[:, None], order, len(patches) - 1), axis=1)
        found = jnp.stack([c[first] for c in candidates], axis=-1)
        better = least < best[0]
        place = jnp.where(better[:, None], found, best[1])
        return (jnp.where(better, least, best[0]), place), None

    start = (jnp.full(len(queries), jnp.inf), jnp.zeros((len(queries), 2), jnp.int32))
    (_, place), _ = lax.scan(closer, start, chunks)
    return place


def nearest(
    image: Array, searched: Array, *, patch: int = 7, stride: int = 1
) -> tuple[Array, Array]:
    """The nearest patch of another image for the patches of an image; exact, by matrix products.

    Distances have gradients, as if the places were fixed.

    Args:
        image: (H, W, C), whose patches are looked up.
        searched: (H', W', C), of which all patches are searched.
        patch: side of a patch.
        stride: of the patches of `image`, see `grid`.

    Returns:
        distance: (h, w), mean squared difference per value, where `grid` places the patches.
        place: int32 (h, w, 2), row and column of the nearest patch in `searched`; the first in the
            order of reading where several are equally near, up to rounding.

    Raises:
        ValueError: a side shorter than a patch, or different channels.
    """
    if image.shape[-1] != searched.shape[-1]:
        raise ValueError(f"images of {image.shape[-1]} and {searched.shape[-1]} channels")
    rows, columns = grid(image.shape[:2], patch, stride)
    chunks = _chunks(*grid(searched.shape[:2], patch), _SEARCHED)
    # About their common mean, squares are small: they keep more of float32's digits.
    offset = jnp.mean(searched, axis=(0, 1))
    centred = [lax.stop_gradient(x - offset) for x in (image, searched)]

    def nearest_of(places):
        place = _search(cut(centred[0], *places, patch), centred[1], chunks, patch)
        # Anew, from the values as they were given: exactly 0 where patches are equal.
        apart = cut(image, *places, patch) - cut(searched, *place.T, patch)
        return jnp.mean(jnp.square(apart), axis=1), place

    distance, place = lax.map(nearest_of, _chunks(rows, columns, _QUERIES))
    shape = (len(rows), len(columns))
    count = math.prod(shape)
    distance, place = distance.reshape(-1)[:count], place.reshape(-1, 2)[:count]
    return distance.reshape(shape), place.reshape(*shape, 2)


def detailed(made: Array, small: Array, full: Array, *, patch: int = 7, passes: int = 1) -> Array:
    """Enlarges an image with the detail of another, of which it has the patches.

    Each patch of `made` gives its place to the large original of the patch of `small` that is nearest
    to it; where they overlap, the mean is taken, patches weighing the more the nearer their middle is.

    Args:
        made: (h', w', C).
        small: (h, w, C), `full` at a smaller size.
        full: (H, W, C); resized to whole multiples of `small` where it is not.
        patch: side of the patches of `made` and `small`.
        passes: how often, at least 1; before the others the result is shrunk to the size of `made`.

    Returns:
        (factor * h', factor * w', C), factor = ceil(max(H / h, W / w)).

    Raises:
        ValueError: a side shorter than a patch, or different channels.

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
    """What patches at places (h, w, 2) of `cells` (H, W, F) come to: (h + patch - 1, ..., F)."""
    distances = np.square(np.arange(patch) - (patch - 1) / 2)
    weights = np.exp(-(distances[:, None] + distances) / (2 * (patch / 4) ** 2))
    size = [n + patch - 1 for n in place.shape[:2]]

    def vote(sums, at):
        offset, weight = at
        cell = cells[tuple(jnp.moveaxis(place + offset, -1, 0))]
        share = weight * jnp.concatenate([cell, jnp.ones_like(cell[..., :1])], -1)
        start = (*offset, 0)
        before = lax.dynamic_slice(sums, start, share.shape)
        return lax.dynamic_update_slice(sums, before + share, start), None

    offsets = jnp.asarray(np.indices((patch, patch)).reshape(2, -1).T, jnp.int32)
    start = jnp.zeros((*size, cells.shape[-1] + 1))
    sums, _ = lax.scan(vote, start, (offsets, jnp.asarray(weights.reshape(-1), jnp.float32)))
    return sums[..., :-1] / sums[..., -1:]


def _at(image: Array, scale: float) -> Array:
    return image if scale == 1 else resize(image, scale=scale)


def bidirectional_similarity(
    source: Array,
    target: Array,
    *,
    patch: int = 7,
    scales: Sequence[float] = (1.0, 0.5, 0.25),
    stride: int = 2,
) -> BidirectionalSimilarity:
    """How far the patches of two images are from each other, in both directions.

    Simakov et al. add the two up, with squared distances in CIELAB; here both are told apart, and
    distances are of the values as they are.

    Args:
        source: (H, W, C) in [0, 1].
        target: (H', W', C) in [0, 1].
        patch: side of a patch, at every scale.
        scales: factors by which both images are resized (cubic, antialiased).
        stride: patches whose nearest ones are looked for, see `grid`; all patches are searched.

    Returns:
        Mean squared differences per value; 0 is the best.

    Raises:
        ValueError: at some scale a side is shorter than a patch, or the channels differ.

    References:
        Simakov, Caspi, Shechtman, Irani: Summarizing Visual Data Using Bidirectional Similarity.
        CVPR 2008, section 2.
    """
    pairs = []
    for scale in scales:
        small, large = _at(source, scale), _at(target, scale)
        both = ((large, small), (small, large))
        pairs.append([jnp.mean(nearest(*b, patch=patch, stride=stride)[0]) for b in both])
    coherences, completenesses = jnp.asarray(pairs).T
    return BidirectionalSimilarity(
        jnp.mean(coherences), jnp.mean(completenesses), coherences, completenesses
    )


def moments(image: Array, patch: int) -> tuple[Array, Array]:
    """Mean and covariance of all patches of an image.

    Args:
        image: (H, W, C).
        patch: side of a patch.

    Returns:
        (D,) and (D, D), D = patch * patch * C; the covariance is divided by the number of patches.

    Raises:
        ValueError: a side shorter than a patch.
    """
    places = grid(image.shape[:2], patch)
    total = math.prod(map(len, places))
    rows, columns = _chunks(*places, _QUERIES)
    counts = (jnp.arange(rows.size) < total).reshape(rows.shape).astype(image.dtype)
    offset = jnp.mean(image, axis=(0, 1))
    centred = image - offset

    def add(sums, chunk):
        *at, count = chunk
        patches = cut(centred, *at, patch) * count[:, None]
        squares = jnp.matmul(patches.T, patches, precision=lax.Precision.HIGHEST)
        return (sums[0] + jnp.sum(patches, axis=0), sums[1] + squares), None

    size = patch * patch * image.shape[-1]
    start = (jnp.zeros(size, image.dtype), jnp.zeros((size, size), image.dtype))
    (first, second), _ = lax.scan(add, start, (rows, columns, counts))
    mean = first / total
    return mean + jnp.tile(offset, patch * patch), second / total - jnp.outer(mean, mean)


def _root(covariance: Array) -> Array:
    """Symmetric square root of a symmetric matrix; eigenvalues under 0 count as 0."""
    values, vectors = jnp.linalg.eigh(covariance)
    scaled = vectors * jnp.sqrt(jnp.maximum(values, 0))
    return jnp.matmul(scaled, vectors.T, precision=lax.Precision.HIGHEST)


def frechet(a: tuple[Array, Array], b: tuple[Array, Array]) -> Array:
    """Frechet distance of two gaussians, |m - n|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2).

    The last trace is the sum of the singular values of A^1/2 B^1/2. So nothing is squared, and small
    eigenvalues keep their digits.

    Args:
        a: mean (D,) and covariance (D, D).
        b: mean and covariance.

    Returns:
        Scalar, at least 0.

    References:
        Dowson, Landau: The Frechet distance between multivariate normal distributions. J. Multivariate
        Analysis 12, 1982.
    """
    (mean_a, cov_a), (mean_b, cov_b) = a, b
    product = jnp.matmul(_root(cov_a), _root(cov_b), precision=lax.Precision.HIGHEST)
    shared = jnp.sum(jnp.linalg.svd(product, compute_uv=False))
    apart = jnp.sum(jnp.square(mean_a - mean_b)) + jnp.trace(cov_a) + jnp.trace(cov_b)
    return jnp.maximum(apart - 2 * shared, 0)


def sifid(
    source: Array,
    target: Array,
    *,
    patch: int = 5,
    scales: Sequence[float] = (1.0, 0.5, 0.25),
) -> Array:
    """A distance of two images' patch statistics, like SIFID, but of raw values.

    Not SIFID, and not to be compared with its figures: SIFID fits gaussians to the features of a
    pretrained Inception net, this one to the patches themselves, at several scales.

    Args:
        source: (H, W, C) in [0, 1].
        target: (H', W', C) in [0, 1].
        patch: side of a patch, at every scale.
        scales: factors by which both images are resized (cubic, antialiased).

    Returns:
        Frechet distance divided by the values of a patch, mean over the scales; 0 is the best.

    Raises:
        ValueError: at some scale a side is shorter than a patch.

    References:
        Rott Shaham, Dekel, Michaeli: SinGAN: Learning a Generative Model from a Single Natural Image.
        ICCV 2019, section 3.2.
    """
    fits = [
        jax.tree.map(lambda *m: jnp.stack(m), *(moments(_at(image, s), patch) for s in scales))
        for image in (source, target)
    ]
    distances = jax.vmap(frechet)(*fits)
    return jnp.mean(distances) / (patch * patch * source.shape[-1])


def diversity(samples: Array, image: Array) -> Array:
    """How much samples differ from each other: 0 if they are all the same.

    Args:
        samples: (N, H, W, C), in the image's range.
        image: (H', W', C), what they are samples of; its standard deviation is taken over the pixels
            and averaged over the channels.

    Returns:
        Mean over the pixels and channels of the standard deviation over the samples, divided by that
        of the image: about 1 for samples whose pixels are drawn from the image's.

    References:
        Rott Shaham, Dekel, Michaeli: SinGAN. ICCV 2019, section 3.1.
    """
    return jnp.mean(jnp.std(samples, axis=0)) / jnp.mean(jnp.std(image, axis=(0, 1)))
