"""Spreads the hints of a segmentation to all pixels, first to similar patches, then to neighbours.

The functions run on the host, once before a fit, and cannot be traced.
"""

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.ops.patches.search import nearest
from deepinternal.ops.resizing import resize
from deepinternal.types import Array

_SIDE = 128  # longer side of the image whose patches are compared
_PATCH = 5
_COLOUR, _TEXTURE = 0.3, 0.6  # weights relative to the weight of sorted patches
_PLACE, _PLACE_IN_VIDEO = 2.0, 0.3  # weights of positions, which are less informative in a video
_NEAREST = 5
_HINTED = 600  # greatest number of patches of each hint in the comparison
_TRUST = 0.03  # weight of the likeness relative to a link of weight 1 between neighbours
_SLOPE = 8.0  # slope of the logistic function from likeness to probability
_LINK = 0.01  # least weight of a link between neighbours
_TIME = 0.05  # weight of links between frames, low because objects move
_search = jax.jit(nearest, static_argnames=("patch", "count"))


def spread(images: Array, foreground: Array, background: Array) -> np.ndarray:
    """Estimates the probability of the foreground at each pixel, by a `walk` guided by `likeness`.

    Args:
        images: (T, H, W, C) in [0, 1], frames of a video, or one image; C = 1 or 3.
        foreground: (T, H, W) booleans; the hints of each frame apply to all frames.
        background: (T, H, W) booleans.

    Returns:
        float32 (T, H, W) in [0, 1]; 0.5 everywhere if one of the hints is empty.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.zeros((1, 16, 16, 3))
        >>> image[:, :, 8:] = 1.0
        >>> foreground, background = np.zeros((2, 1, 16, 16), bool)
        >>> foreground[0, 8, 12] = background[0, 8, 4] = True
        >>> probability = di.estimators.spread(image, foreground, background)
        >>> probability[0, 2, [2, 14]] > 0.5
        array([False,  True])
    """
    images = np.asarray(images, np.float32)
    foreground, background = np.asarray(foreground, bool), np.asarray(background, bool)
    if not (foreground.any() and background.any()):
        return np.full(images.shape[:3], 0.5, np.float32)
    like = likeness(images, foreground, background)
    return walk(images, like, foreground, background)


def likeness(images: np.ndarray, foreground: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Measures whether patches are more similar to hinted foreground or to hinted background.

    Patches are compared by their sorted CIELAB values, which do not depend on positions within the
    patch, by mean colour, contrast and orientation at larger scales, and by their positions in the
    image.

    Args:
        images: (T, H, W, C) in [0, 1].
        foreground: (T, H, W) booleans, not all False.
        background: (T, H, W) booleans, not all False.

    Returns:
        float32 (T, H, W): (b - f) / (f + b) for the mean distances f and b to the nearest hinted
        patches of foreground and background.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.zeros((1, 16, 16, 3))
        >>> image[:, :, 8:] = 1.0
        >>> foreground, background = np.zeros((2, 1, 16, 16), bool)
        >>> foreground[0, 8, 12] = background[0, 8, 4] = True
        >>> di.estimators.likeness(image, foreground, background)[0, 2, [2, 14]] > 0
        array([False,  True])
    """
    size = images.shape[1:3]
    factor = min(1.0, _SIDE / max(size))
    shape = tuple(max(round(n * factor), _PATCH) for n in size)
    features = _features(np.stack([_resized(image, shape, "box") for image in images]))
    means = []
    for hint in (foreground, background):
        small = np.stack([_resized(np.float32(h)[..., None], shape, "box")[..., 0] for h in hint])
        chosen = features[small > min(0.5, 0.999 * small.max())]
        picked = np.random.default_rng(0).permutation(len(chosen))[:_HINTED]
        means.append(_mean_distance(features, chosen[picked]))
    like = (means[1] - means[0]) / (means[0] + means[1] + 1e-6)
    return np.stack([_resized(x[..., None], size, "linear")[..., 0] for x in like])


def walk(
    images: np.ndarray, like: np.ndarray, foreground: np.ndarray, background: np.ndarray
) -> np.ndarray:
    """Computes the probability that a random walk from each pixel ends in the foreground.

    The walk steps to neighbours, also in the previous and the next frame, with a probability that grows
    with their similarity. It always ends when it reaches a hint. At other pixels it ends with a small
    probability, and then their likeness decides.

    Args:
        images: (T, H, W, C) in [0, 1].
        like: (T, H, W), positive where foreground is more likely.
        foreground: (T, H, W) booleans.
        background: (T, H, W) booleans.

    Returns:
        float32 (T, H, W) in [0, 1].

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image, unknown = np.zeros((1, 1, 5, 3)), np.zeros((1, 1, 5))
        >>> foreground, background = np.zeros((2, 1, 1, 5), bool)
        >>> foreground[0, 0, 0] = background[0, 0, 4] = True
        >>> di.estimators.walk(image, unknown, foreground, background)[0, 0].round(2)
        array([1.  , 0.75, 0.5 , 0.25, 0.  ], dtype=float32)

    References:
        Grady: Multilabel Random Walker Image Segmentation Using Prior Models. CVPR 2005, equation 8.
    """
    from scipy import sparse

    lab, places = _lab(images), np.arange(like.size).reshape(like.shape)
    evidence = 1 / (1 + np.exp(-_SLOPE * np.clip(like, -1, 1)))
    hinted = foreground | background
    evidence = np.where(hinted, foreground, evidence).ravel()
    trust = np.where(hinted, 1e3, _TRUST).ravel()
    squares = [np.sum(np.diff(lab, axis=axis) ** 2, axis=-1) for axis in range(3)]
    usual = max(np.mean(np.concatenate([x.ravel() for x in squares[1:]])), 1e-8)
    rows, columns, weights = [], [], []
    for axis, square in enumerate(squares):
        moved = np.moveaxis(places, axis, 0)
        rows.append(np.moveaxis(moved[:-1], 0, axis).ravel())
        columns.append(np.moveaxis(moved[1:], 0, axis).ravel())
        link = np.exp(-square / (3 * usual)).ravel() + _LINK
        weights.append(link * (1 if axis else _TIME))
    pair = (np.concatenate(rows), np.concatenate(columns))
    links = sparse.coo_matrix((np.concatenate(weights), pair), (like.size,) * 2).tocsr()
    links = links + links.T
    diagonal = np.asarray(links.sum(axis=1)).ravel() + trust
    system = sparse.diags(diagonal).tocsr() - links
    solved = _solve(system, trust * evidence, evidence, diagonal)
    return np.clip(solved, 0, 1).astype(np.float32).reshape(like.shape)


def _solve(system, right: np.ndarray, start: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
    """Solves a linear system by conjugate gradients, preconditioned by the diagonal."""
    from scipy.sparse import diags
    from scipy.sparse.linalg import cg

    return cg(system, right, x0=start, rtol=1e-5, maxiter=1000, M=diags(1 / diagonal))[0]


def _features(images: np.ndarray) -> np.ndarray:
    """Features (T, h, w, n) of patches; each group except the positions is scaled to variance 1."""
    from scipy.ndimage import gaussian_filter

    size, longest = images.shape[1:3], max(images.shape[1:3])
    lab = _lab(images)
    patches = np.stack([_sorted_patches(x) for x in lab])
    patches = patches / np.sqrt(max(patches.var((0, 1, 2)).sum(), 1e-8))
    textures = np.stack([_texture(x) for x in lab])
    textures = textures / (textures.std((0, 1, 2)) + 1e-3) / np.sqrt(textures.shape[-1])
    places = np.stack(np.mgrid[: size[0], : size[1]], axis=-1) / longest
    weight = _PLACE if len(lab) == 1 else _PLACE_IN_VIDEO
    places = np.sqrt(weight) * np.broadcast_to(places, (*lab.shape[:3], 2))
    groups = [patches, np.sqrt(_TEXTURE) * textures, places]
    for scale in (0.6, 2):
        colours = gaussian_filter(lab, (0, scale, scale, 0), truncate=2.5)
        colours = colours / np.maximum(colours.std((0, 1, 2)), 0.02) / np.sqrt(colours.shape[-1])
        groups.append(np.sqrt(_COLOUR) * colours)
    return np.concatenate(groups, axis=-1).astype(np.float32)


def _sorted_patches(lab: np.ndarray) -> np.ndarray:
    """Sorted values (h, w, n) of each channel in the patches of an image."""
    h, w = lab.shape[:2]
    reach = _PATCH // 2
    padded = np.pad(lab, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_PATCH, _PATCH), (0, 1))
    return np.sort(windows.reshape(h, w, -1, _PATCH**2), axis=-1).reshape(h, w, -1)


def _texture(lab: np.ndarray) -> np.ndarray:
    """Contrast and orientation (h, w, n) around each pixel of an image, at two scales."""
    from scipy.ndimage import gaussian_filter

    def blur(x, sigma):
        return gaussian_filter(x, (sigma, sigma, 0), truncate=2.5)

    lab = lab * np.float32([100 / 30, 100 / 15, 100 / 15])
    light = lab[..., :1]
    down, across = (gaussian_filter(light, (0.5, 0.5, 0), order=o) for o in ((1, 0, 0), (0, 1, 0)))
    fine, found = light - blur(light, 1), []
    for scale in (2, 4):
        variance = np.maximum(blur(lab**2, scale) - blur(lab, scale) ** 2, 0)
        xx, yy, xy = (blur(p, scale) for p in (across**2, down**2, across * down))
        energies = [variance, blur(fine**2, scale), xx + yy]
        found += [np.log(np.sqrt(x) + 0.05) for x in energies]
        found += [(xx - yy) / (xx + yy + 0.01), 2 * xy / (xx + yy + 0.01)]
    return np.concatenate(found, axis=-1)


def _lab(images: np.ndarray) -> np.ndarray:
    """Converts images (..., C) to CIELAB values divided by 100."""
    from skimage.color import rgb2lab

    return np.float32(
        rgb2lab(np.broadcast_to(np.clip(images, 0, 1), (*images.shape[:-1], 3))) / 100
    )


def _resized(image: np.ndarray, shape: tuple[int, int], method: str) -> np.ndarray:
    return np.asarray(resize(jnp.asarray(image), output_shape=shape, method=method))


def _mean_distance(features: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The mean distance (T, h, w) of features (T, h, w, n) to the nearest of `chosen` (m, n)."""
    rows, count = features.reshape(-1, *features.shape[2:]), min(_NEAREST, len(chosen))
    found = _search(rows, chosen[:, None], patch=1, count=count).distance
    found = np.sqrt(features.shape[-1] * np.asarray(found))
    return found.reshape(*features.shape[:3], count).mean(axis=-1)
