"""How well an image keeps the patches of another: similarity, statistics, diversity."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.ops.patches.search import QUERIES, chunks, cut, grid, nearest
from deepinternal.ops.resize import resize
from deepinternal.types import Array


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
    rows, columns = chunks(*places, QUERIES)
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
