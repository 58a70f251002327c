"""Measures of how well an image preserves the patches of another: similarity, statistics, diversity."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.ops.patches import origins
from deepinternal.ops.patches.places import chunks, cut, grid
from deepinternal.ops.patches.search import nearest
from deepinternal.ops.resizing import resize
from deepinternal.types import Array

_AT_ONCE = 2**16  # number of patches whose products are summed at once


class BidirectionalSimilarity(NamedTuple):
    """Patch distances between a source and a target in both directions; smaller is more similar.

    Attributes:
        coherence: Mean distance from the target's patches to their nearest patches in the source, a
            scalar, the mean over the scales. It is large if the target has content that the source
            lacks.
        completeness: Mean distance from the source's patches to their nearest patches in the target, a
            scalar. It is large if the target lacks content of the source.
        coherences: (S,), `coherence` at each scale.
        completenesses: (S,), `completeness` at each scale.
    """

    coherence: Array
    completeness: Array
    coherences: Array
    completenesses: Array


class Comparison(NamedTuple):
    """How an image made from the patches of a source compares with it.

    Coherence, completeness and `sifid` alone favour copies of the source, which the other measures
    reveal.

    Attributes:
        similarity: Patch distances in both directions; smaller is better.
        sifid: Distance of the patch statistics, see `sifid`; smaller is better.
        usage: How evenly the target uses the source, see `origins.usage`.
        layout: Correlation with the stretched source, see `layout`; 1 if objects stay in their places.
        copied: Share of the target that is one verbatim copy, see `origins.largest_copy`.
    """

    similarity: BidirectionalSimilarity
    sifid: Array
    usage: origins.Usage
    layout: Array
    copied: Array


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
    """Measures the distances between the patches of two images, in both directions.

    Simakov et al. use the sum of both directions and squared distances in CIELAB. Here the directions
    are separate, and distances are those of the values as given.

    Args:
        source: (H, W, C) in [0, 1].
        target: (H', W', C) in [0, 1].
        patch: Side of a patch in pixels, at every scale.
        scales: Factors by which both images are resized (cubic, antialiased).
        stride: Stride of the patches whose nearest patches are searched, see `grid`; the search is over
            all patches.

    Returns:
        Mean squared differences of the values; 0 is the best.

    Raises:
        ValueError: A side is shorter than a patch at some scale, or the numbers of channels differ.

    References:
        Simakov, Caspi, Shechtman, Irani: Summarizing Visual Data Using Bidirectional Similarity.
        CVPR 2008, section 2.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import measures
        >>> measure = lambda x: measures.bidirectional_similarity(x, x, scales=(1.0,))
        >>> jax.eval_shape(measure, np.ones((16, 16, 3), np.float32)).coherences.shape
        (1,)
    """
    return _similarity(source, target, patch, scales, stride)[0]


def _similarity(source, target, patch, scales, stride) -> tuple[BidirectionalSimilarity, Array]:
    """The similarity, and the places in the source of the target's patches at the first scale."""
    pairs, places = [], []
    for scale in scales:
        small, large = _at(source, scale), _at(target, scale)
        both = ((large, small), (small, large))
        found = [nearest(*b, patch=patch, stride=stride) for b in both]
        pairs.append([jnp.mean(distance) for distance, _ in found])
        places.append(found[0][1])
    coherences, completenesses = jnp.asarray(pairs).T
    means = jnp.mean(coherences), jnp.mean(completenesses)
    return BidirectionalSimilarity(*means, coherences, completenesses), places[0]


def compare(
    source: Array,
    target: Array,
    *,
    patch: int = 7,
    scales: Sequence[float] = (1.0, 0.5, 0.25),
    stride: int = 2,
) -> Comparison:
    """Computes all measures of an image made from the patches of a source.

    Args:
        source: (H, W, C) in [0, 1].
        target: (H', W', C) in [0, 1].
        patch: Side in pixels of the patches whose nearest patches are searched, at every scale.
        scales: Factors by which both images are resized (cubic, antialiased).
        stride: Stride of these patches.

    Returns:
        The measures. Where the target's patches come from is measured at the first scale.

    Raises:
        ValueError: A side is shorter than a patch at some scale, or the numbers of channels differ.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import measures
        >>> measure = lambda x: measures.compare(x, x, scales=(1.0,))
        >>> jax.eval_shape(measure, np.ones((16, 16, 3), np.float32)).usage.counts.shape
        (16, 16)
    """
    similarity, place = _similarity(source, target, patch, scales, stride)
    # Adding this 0 makes the statistics wait for the search. On two cores, XLA can block forever if its
    # matrix products and LAPACK's decompositions run at the same time.
    zero = jnp.minimum(similarity.coherence + similarity.completeness, 0)
    return Comparison(
        similarity,
        sifid(source + zero, target + zero, scales=scales),
        origins.usage(place, _at(source, scales[0]).shape[:2], patch=patch),
        layout(source, target),
        origins.largest_copy(place, grid(_at(target, scales[0]).shape[:2], patch, stride=stride)),
    )


def layout(source: Array, target: Array, *, factor: int = 8) -> Array:
    """Measures whether objects keep their places: the correlation with the stretched source.

    Args:
        source: (H, W, C).
        target: (H', W', C).
        factor: Both images are resized to the target's size divided by this number (rounded up;
            cubic, antialiased), so that objects may differ in detail.

    Returns:
        A scalar, 1 at most: the correlation of all values, after the mean of each channel was
        subtracted; 0 if an image is constant.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import measures
        >>> image = np.arange(9, dtype=np.float32).reshape(3, 3, 1)
        >>> round(float(measures.layout(image, image, factor=1)), 3)
        1.0
    """
    size = tuple(-(-n // factor) for n in target.shape[:2])
    a, b = (resize(image, output_shape=size) for image in (source, target))
    a, b = (x - jnp.mean(x, axis=(0, 1)) for x in (a, b))
    power = jnp.sum(a * a) * jnp.sum(b * b)
    return jnp.sum(a * b) * jnp.where(power > 0, lax.rsqrt(jnp.where(power > 0, power, 1)), 0)


def moments(image: Array, patch: int) -> tuple[Array, Array]:
    """Returns the mean and the covariance of all patches of an image.

    Args:
        image: (H, W, C).
        patch: Side of a patch in pixels.

    Returns:
        (D,) and (D, D), D = patch * patch * C. The covariance is normalised by the number of patches.

    Raises:
        ValueError: A side is shorter than a patch.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import measures
        >>> image = np.ones((4, 4, 1), np.float32)
        >>> [x.shape for x in jax.eval_shape(lambda x: measures.moments(x, 2), image)]
        [(4,), (4, 4)]
    """
    places = grid(image.shape[:2], patch)
    total = math.prod(map(len, places))
    rows, columns = chunks(*places, _AT_ONCE)
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
    """The symmetric square root of a symmetric matrix; negative eigenvalues count as 0."""
    values, vectors = jnp.linalg.eigh(covariance)
    scaled = vectors * jnp.sqrt(jnp.maximum(values, 0))
    return jnp.matmul(scaled, vectors.T, precision=lax.Precision.HIGHEST)


def frechet(a: tuple[Array, Array], b: tuple[Array, Array]) -> Array:
    """Returns the Frechet distance of two gaussians, |m - n|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2).

    The last trace is computed as the sum of the singular values of A^1/2 B^1/2, without squares, and
    small eigenvalues keep their digits.

    Args:
        a: Mean (D,) and covariance (D, D).
        b: Mean (D,) and covariance (D, D).

    Returns:
        A scalar, at least 0.

    References:
        Dowson, Landau: The Frechet distance between multivariate normal distributions. J. Multivariate
        Analysis 12, 1982.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import measures
        >>> covariance = np.eye(2, dtype=np.float32)
        >>> a, b = (np.zeros(2, np.float32), covariance), (np.ones(2, np.float32), covariance)
        >>> round(float(jax.jit(measures.frechet)(a, b)), 3)
        2.0
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
    """Returns a distance between the patch statistics of two images, like SIFID but of raw values.

    Its values are not comparable with SIFID, which fits gaussians to the features of a pretrained
    Inception net. This function fits gaussians to the patches themselves, at several scales.

    Args:
        source: (H, W, C) in [0, 1].
        target: (H', W', C) in [0, 1].
        patch: Side of a patch in pixels, at every scale.
        scales: Factors by which both images are resized (cubic, antialiased).

    Returns:
        The Frechet distance divided by the number of values in a patch, the mean over the scales; 0 is
        the best.

    Raises:
        ValueError: A side is shorter than a patch at some scale.

    References:
        Rott Shaham, Dekel, Michaeli: SinGAN: Learning a Generative Model from a Single Natural Image.
        ICCV 2019, section 3.2.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from deepinternal.ops.patches import measures
        >>> jax.eval_shape(measures.sifid, *np.ones((2, 20, 20, 3), np.float32)).shape
        ()
    """
    fits = [
        jax.tree.map(lambda *m: jnp.stack(m), *(moments(_at(image, s), patch) for s in scales))
        for image in (source, target)
    ]
    distances = jax.vmap(frechet)(*fits)
    return jnp.mean(distances) / (patch * patch * source.shape[-1])


def diversity(samples: Array, image: Array) -> Array:
    """Measures how much samples differ from each other: 0 if all are equal.

    Args:
        samples: (N, H, W, C), in the range of the image.
        image: (H', W', C), the image from which the samples were generated.

    Returns:
        The standard deviation over the samples, averaged over pixels and channels, divided by the
        standard deviation over the image's pixels, averaged over channels. It is about 1 for samples
        whose pixels are drawn from those of the image.

    References:
        Rott Shaham, Dekel, Michaeli: SinGAN. ICCV 2019, section 3.1.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import measures
        >>> samples, image = np.zeros((2, 1, 2, 1), np.float32), np.float32([[[0], [1]]])
        >>> float(measures.diversity(samples, image))
        0.0
    """
    return jnp.mean(jnp.std(samples, axis=0)) / jnp.mean(jnp.std(image, axis=(0, 1)))
