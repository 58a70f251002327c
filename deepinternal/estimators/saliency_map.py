"""Internal saliency: the parts of an image that differ from the rest, and hints derived from them."""

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.ops.correlating import all_patches
from deepinternal.ops.resizing import resize
from deepinternal.types import Array

_SIDE = 56  # longer side of the image in the comparison
_PATCH = 5
_SCALES = (1.0, 0.7, 0.4)
_SIMILAR = 64  # number of most similar patches that each patch is compared with
_POSITION = 3.0  # weight of the distance of positions in the image
_CENTRE = 0.35  # standard deviation of the centre prior relative to the sides


def saliency(image: Array) -> np.ndarray:
    """Measures how much each pixel's patch differs from the most similar patches, at several scales.

    The distance of two patches is the distance of their colours (CIELAB), divided by 1 + 3 times the
    distance of their positions. A pixel is salient if even the patches that are most similar to its
    patch are distant. Pixels near the centre have more weight. The function runs on the host and cannot
    be traced.

    Args:
        image: (H, W, C) in [0, 1], C = 1 or 3.

    Returns:
        float32 (H, W), from 0 to 1.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.full((16, 16, 3), 0.5)
        >>> image[6:10, 6:10] = [1.0, 0.0, 0.0]
        >>> salient = di.estimators.saliency(image)
        >>> salient.shape, bool(salient[8, 8] > salient[1, 1])
        ((16, 16), True)

    References:
        Goferman, Zelnik-Manor, Tal: Context-Aware Saliency Detection. CVPR 2010, section 3.
    """
    from skimage.color import rgb2lab

    size = image.shape[:2]
    total = 0
    for scale in _SCALES:
        factor = min(1.0, _SIDE / max(size)) * scale
        shape = tuple(max(round(n * factor), _PATCH) for n in size)
        small = np.clip(
            np.asarray(resize(jnp.asarray(image), output_shape=shape, method="box")), 0, 1
        )
        lab = rgb2lab(np.broadcast_to(small, (*shape, 3))) / 100
        distinct = _distinctness(jnp.asarray(lab, jnp.float32))
        total = total + resize(distinct[..., None], output_shape=size, method="linear")[..., 0]
    y, x = (np.linspace(-0.5, 0.5, n) for n in size)
    centre = np.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * _CENTRE**2))
    total = np.asarray(total, np.float64) * centre
    return ((total - total.min()) / max(np.ptp(total), 1e-12)).astype(np.float32)


@jax.jit
def _distinctness(lab: Array) -> Array:
    """1 - exp(-4 * mean distance to the most similar patches), (H, W)."""
    h, w = lab.shape[:2]
    reach = _PATCH // 2
    padded = jnp.pad(lab, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    patches = all_patches(padded, _PATCH)[0].reshape(h * w, -1) / _PATCH
    norms = jnp.sum(patches**2, axis=1)
    products = jnp.matmul(patches, patches.T, precision="highest")
    squared = norms[:, None] + norms[None] - 2 * products
    y, x = jnp.meshgrid(jnp.arange(h), jnp.arange(w), indexing="ij")
    places = jnp.stack([y, x], axis=-1, dtype=jnp.float32).reshape(-1, 2) / max(h, w)
    apart = jnp.linalg.norm(places[:, None] - places[None], axis=-1)
    distance = jnp.sqrt(jnp.maximum(squared, 0)) / (1 + _POSITION * apart)
    nearest = -jax.lax.top_k(-distance, min(_SIMILAR + 1, h * w))[0]
    return (1 - jnp.exp(-4 * nearest[:, 1:].mean(axis=1))).reshape(h, w)


def hints(salient: Array, *, share: float = 0.06) -> tuple[np.ndarray, np.ndarray]:
    """Returns hints for foreground and background: the most and the least salient pixels.

    Args:
        salient: (H, W), the saliency.
        share: Fraction of the pixels in each hint, less than 0.5.

    Returns:
        Foreground and background, (H, W) booleans each, of at least one pixel, which do not overlap.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> foreground, background = di.estimators.hints(np.arange(6.0).reshape(2, 3), share=0.2)
        >>> foreground
        array([[False, False, False],
               [False, False,  True]])

    References:
        Double-DIP (Gandelsman, Shocher, Irani, CVPR 2019), supplementary material: thresholds after a
        histogram equalisation.
    """
    salient = np.asarray(salient)
    count = max(int(share * salient.size), 1)
    order = np.argsort(salient, axis=None, kind="stable")
    found = []
    for chosen in (order[-count:], order[:count]):
        hint = np.zeros(salient.size, bool)
        hint[chosen] = True
        found.append(hint.reshape(salient.shape))
    return tuple(found)


def moving_hints(frames: np.ndarray, *, share: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Returns hints for the frames of a video, whose foreground is assumed to move and to be salient.

    Args:
        frames: (T, H, W, C) in [0, 1].
        share: Fraction of the pixels of each frame that are hinted as foreground, less than 0.5. For
            the background, which is most of a frame, the fraction is 0.3.

    Returns:
        Foreground and background, (T, H, W) booleans each, which do not overlap.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> frames = np.full((3, 16, 16, 3), 0.5)
        >>> for number, frame in enumerate(frames):
        ...     frame[6:10, 5 * number : 5 * number + 4] = 1.0
        >>> foreground, background = di.estimators.moving_hints(frames)
        >>> foreground.shape, bool((foreground & background).any())
        ((3, 16, 16), False)
    """
    from scipy.ndimage import gaussian_filter

    moving = np.abs(frames - np.median(frames, axis=0)).mean(axis=-1)
    moving = gaussian_filter(moving, (0, 2, 2))
    peak = max(np.quantile(moving, 0.99), 1e-6)
    # If nothing moves by more than the noise, saliency alone decides.
    motion = np.clip(moving / peak, 0, 1) * min(peak / 0.02, 1)
    foreground, background = [], []
    for frame, change in zip(frames, motion):
        salient = saliency(frame)
        score = change * (0.7 + 0.3 * salient) + 0.02 * salient
        top, _ = hints(score, share=share)
        _, bottom = hints(score, share=0.3)
        foreground.append(top)
        background.append(bottom & ~top)
    return np.stack(foreground), np.stack(background)
