"""Figures that say how well a result preserves the patches of its source."""

import math

import jax.numpy as jnp

from deepinternal.ops import fitting
from deepinternal.ops.patches import measures
from deepinternal.types import Array, Output

_SIDE = 256  # greatest side of the source with which results are compared
_PIXELS = 2**17  # greatest number of pixels of a result that is compared


def compared(source: Array, results: Array) -> dict[str, Output]:
    """Compares results with their source, at sides of at most 256 pixels; see `ops.patches.measures`.

    Args:
        source: (H, W, C) in [0, 1].
        results: (N, H', W', C) in [0, 1], of which the first is compared with the source.

    Returns:
        Scalars: `coherence`, `completeness` and `sifid`; `usage`, the share of the source's pixels that
        are used; `layout`, the correlation with the stretched source; `verbatim`, the largest region
        that is copied, as a share of the result; and with several results their `diversity`.
    """
    (height, width), result = results.shape[1:3], results[0]
    factor = max(
        math.ceil(max(source.shape[:2]) / _SIDE), math.ceil(math.sqrt(height * width / _PIXELS))
    )
    pair = [_smaller(x, factor) for x in (source, result)]
    side = min(n for x in pair for n in x.shape[:2])
    scales = tuple(scale for scale in (1.0, 0.5, 0.25) if scale * side >= 7) or (1.0,)
    found = measures.compare(*pair, scales=scales)
    figures = {
        "coherence": found.similarity.coherence,
        "completeness": found.similarity.completeness,
        "sifid": found.sifid,
        "usage": found.usage.share,
        "layout": found.layout,
        "verbatim": found.copied,
    }
    if len(results) > 1:
        figures["diversity"] = measures.diversity(results, source)
    return {name: Output(value, "scalar") for name, value in figures.items()}


def _smaller(image: Array, factor: int) -> Array:
    """Reduces an image by a whole factor, but not to sides of less than 8 pixels."""
    size = tuple(max(-(-n // factor), min(n, 8)) for n in image.shape[:2])
    return jnp.asarray(image) if factor == 1 else fitting.shrunk(image, size)
