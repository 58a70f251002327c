"""The noise and the compression of an image, measured for methods that adapt their settings to them."""

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.estimators import jpeg, noise
from deepinternal.types import Array

QUIET = 2 / 255  # standard deviation below which noise is ignored
TINY = 24  # smallest side of an image whose noise and compression can be measured
_MIDDLE = 512  # side of the middle of larger images that is measured

_noise_std = jax.jit(noise.noise_std)
_blocking = jax.jit(jpeg.jpeg_blocking)
_quality = jax.jit(jpeg.jpeg_quality)
_jpeg_noise_std = jax.jit(lambda image: jpeg.jpeg_noise_std(image, threshold=-1e9))


def measure(image: np.ndarray, *, compressed: str = "auto") -> dict[str, float]:
    """Measures the noise and the compression of an image, on the host.

    Args:
        image: (H, W, C) in [0, 1], C = 1 or 3.
        compressed: Whether the image counts as a JPEG: 'on', 'off', or 'auto', which looks for the grid
            of its blocks.

    Returns:
        `noise_std`, the standard deviation of the noise, or of the errors of a JPEG, for images in
        [0, 1], and 0 if it is below `QUIET`; `measured_std`, the standard deviation of the noise as it
        was measured; `jpeg_score`, see `estimators.jpeg.jpeg_blocking`; `jpeg_quality`, 0 if the image
        does not count as a JPEG. All are 0 if a side is shorter than `TINY`.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> noise = 0.05 * np.random.default_rng(0).standard_normal((64, 64, 3))
        >>> facts = di.estimators.measure(0.5 + noise)
        >>> round(facts["noise_std"], 2), facts["jpeg_quality"]
        (0.05, 0.0)
    """
    facts = dict.fromkeys(("noise_std", "measured_std", "jpeg_score", "jpeg_quality"), 0.0)
    if min(image.shape[:2]) < TINY:
        return facts
    image = _middle(image)
    facts["measured_std"] = std = float(_noise_std(image))
    blocking = _blocking(image)
    facts["jpeg_score"] = float(blocking.score)
    found = facts["jpeg_score"] > jpeg.THRESHOLD
    if compressed == "on" or (compressed == "auto" and found):
        facts["jpeg_quality"] = float(_quality(image, blocking.phase))
        std = float(_jpeg_noise_std(image))
    facts["noise_std"] = 0.0 if std < QUIET else std
    return facts


def _middle(image: np.ndarray) -> Array:
    """The middle of an image, with sides that are multiples of 8, so that fewer shapes are compiled."""
    h, w = (min(n, _MIDDLE) // 8 * 8 for n in image.shape[:2])
    y, x = ((n - m) // 2 for n, m in zip(image.shape[:2], (h, w)))
    return jnp.asarray(image[y : y + h, x : x + w], jnp.float32)
