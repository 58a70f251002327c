"""Propagates the mask of the hinted frames of a video to all frames.

Frames are processed one after another, outwards from the hinted ones. Each pixel takes over the
labels of the most similar pixels around its position in processed frames: in the nearest hinted
frame, whose labels are certain, and in the adjacent frames, which are most similar. Pixels are
compared by their colours, and by how much they differ from the background: other frames are aligned
by the transform that most pixels follow, so that an object that moves differs from them. A minimum
cut then fits the mask to the edges of the frame.

The functions run on the host, once before a fit, and cannot be traced.

References:
    Wang, Jabri, Efros: Learning Correspondence from the Cycle-Consistency of Time. CVPR 2019, section
    4.2 (labels are propagated by similarity; here with features that are not trained).
"""

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.estimators.spreading import spread
from deepinternal.ops import cuts
from deepinternal.ops.alignment import projective_alignment
from deepinternal.ops.color import rgb_to_lab
from deepinternal.ops.label_votes import window_votes
from deepinternal.ops.resizing import resize
from deepinternal.types import Array

_SIDE = 216  # longer side of the frames that are compared
_REACH = 28  # greatest motion of an object from frame to frame, in pixels of these frames
_TEMPERATURE = 0.001  # temperature of the squared distances of features
_PLACE = 1e-6  # weight of the squared distance in pixels
_PATCH = 5
_KEPT, _KEPT_COARSE = 24, 12  # principal components of patches and of their surroundings
_SURROUNDINGS = 1.0  # weight of the surroundings relative to that of the patch
_CHANGE = 0.02  # weight of the change against the background
_OTHERS = 7  # greatest number of other frames that a frame is compared with
_QUANTILE = 0.35  # quantile of the differences from them, most of which show the background
_DISTANCES = 4.0  # weight of the distances to the hints, in log-odds
_UNSURE = 0.03  # smallest probability of each label in the costs of a cut
_NONE = 0.02  # labels below this count as 0
_ISLAND = 0.05  # smallest area of a part of a mask, relative to that of its largest part
_LINK = 2.0  # weight of links between neighbours in the cut
_align = jax.jit(projective_alignment)
_votes = jax.jit(window_votes, static_argnames=("reach",))


def propagated(images: Array, foreground: Array, background: Array) -> np.ndarray:
    """Estimates the mask of each frame of a video from the hints of some frames.

    Args:
        images: (T, H, W, C) in [0, 1]; C = 1 or 3.
        foreground: (T, H, W) booleans, False in frames without hints. At least one frame has hints of
            both kinds. The mask agrees with the hints of all frames.
        background: (T, H, W) booleans, which do not overlap the foreground.

    Returns:
        float32 (T, h, w) in [0, 1], above 0.5 in the mask and near 0.5 where the mask is uncertain. The
        frames are reduced by a whole factor to a longer side of at most 216 pixels.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> frames = np.full((2, 16, 16, 3), 0.2)
        >>> frames[0, 4:12, 2:8] = frames[1, 4:12, 8:14] = [0.9, 0.6, 0.1]
        >>> foreground, background = np.zeros((2, 2, 16, 16), bool)
        >>> foreground[0, 6:10, 4:6] = background[0, :2] = True
        >>> mask = di.estimators.propagated(frames, foreground, background)
        >>> mask.shape, (mask[1, 8, [4, 10]] > 0.5).tolist()
        ((2, 16, 16), [False, True])
    """
    images = np.asarray(images, np.float32)
    factor = max(-(-max(images.shape[1:3]) // _SIDE), 1)
    shape = tuple(-(-n // factor) for n in images.shape[1:3])
    small = np.stack([_resized(image, shape) for image in images])
    lab = np.asarray(rgb_to_lab(small) / jnp.array([100, 50, 50]))
    features = _features(lab, change(lab))
    masks = np.full(lab.shape[:3], 0.5, np.float32)
    pair = [np.asarray(hint, bool) for hint in (foreground, background)]
    hinted = pair[0].any((1, 2)) & pair[1].any((1, 2))
    pair = [[_resized(np.float32(h)[..., None], shape)[..., 0] > 0.5 for h in x] for x in pair]
    for frame in np.flatnonzero(hinted):
        maps = (hint[frame] for hint in pair)
        masks[frame] = _from_hints(features[frame], small[frame], lab[frame], *maps)
    for frame, sources in _order(hinted):
        votes = _voted(features[frame], features[sources], masks[sources], None)
        masks[frame] = _with_edges(votes, lab[frame], *(hint[frame] for hint in pair))
    return masks


def _order(hinted: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Returns the frames without hints, the nearest to a hinted frame first, each with its sources."""
    done = np.flatnonzero(hinted)
    if not len(done):
        return []
    away = np.abs(np.arange(len(hinted))[:, None] - done)
    found = []
    for frame in np.argsort(away.min(axis=1), kind="stable")[len(done) :]:
        nearest = done[np.argmin(away[frame])]
        step = 1 if nearest > frame else -1
        neighbours = [frame + step, frame + 2 * step]
        # With fewer than three, the hinted frame is repeated, so that all have the same program.
        sources = [n if step * (nearest - n) >= 0 else nearest for n in neighbours]
        found.append((frame, np.array([nearest, *sources])))
    return found


def _from_hints(features, image, lab, foreground: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Returns the mask (h, w) of a frame with hints, from their votes and the distances to them."""
    from scipy.ndimage import distance_transform_edt

    if not (foreground.any() and background.any()):
        return np.full(foreground.shape, 0.5, np.float32)
    hinted = foreground | background
    near, far = (distance_transform_edt(~hint) for hint in (foreground, background))
    votes = _voted(features, features[None], np.float32(foreground)[None], hinted[None])
    votes = _logistic(_odds(votes) + _DISTANCES * (far - near) / (far + near + 1e-6))
    afar = near + far > 2 * _REACH
    if (afar & ~hinted).any():
        votes = np.where(afar, spread(image[None], foreground[None], background[None])[0], votes)
    return _with_edges(votes, lab, foreground, background)


def _voted(features, sources, labels: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """Returns the votes (h, w) of the most similar pixels of other frames."""
    labels = np.where(labels < _NONE, 0, labels)
    known = np.ones(labels.shape, bool) if known is None else known
    options = {"reach": _REACH, "temperature": _TEMPERATURE, "place": _PLACE}
    return np.asarray(_votes(features, sources, labels, known, **options)[0])


def _with_edges(votes, lab, foreground: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Returns the mean of the votes and of their minimum cut; both agree with the hints."""
    votes = np.where(foreground, 1, np.where(background, 0, votes))
    cost = cuts.hinted_cost(-_odds(votes), foreground, background)
    mask = _without_islands(np.asarray(_cut(cost, lab)) > 0.5, foreground)
    return np.float32((mask + votes) / 2)


def _without_islands(mask: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Removes the parts of a mask that are much smaller than the largest one and contain no hint."""
    from scipy.ndimage import label

    parts, count = label(mask)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    kept = sizes >= max(_ISLAND * sizes.max(), 1)
    kept[np.unique(parts[foreground])] = True
    return mask & kept[parts]


@jax.jit
def _cut(cost: Array, lab: Array) -> Array:
    links = cuts.contrast_links(lab * jnp.array([2, 1, 1]), weight=_LINK)
    return cuts.minimum_cut(cost, links)


def _odds(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability, _UNSURE, 1 - _UNSURE)
    return np.log(clipped / (1 - clipped))


def _logistic(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-odds))


def change(lab: np.ndarray) -> np.ndarray:
    """Measures how much each pixel differs from the background, as other frames show it.

    Args:
        lab: (T, h, w, 3), the lightness in [0, 1] and the colours of CIELAB divided by 50.

    Returns:
        float32 (T, h, w), the logarithm of the squared differences, with mean 0 and variance 1.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> lab = np.random.default_rng(0).uniform(size=(2, 16, 16, 3)).astype(np.float32)
        >>> di.estimators.change(lab).shape
        (2, 16, 16)
    """
    count = len(lab)
    steps = [np.eye(3, dtype=np.float32)]  # from each frame to the previous one
    for frame in range(1, count):
        steps.append(
            np.asarray(_align(lab[frame - 1, ..., 0], lab[frame, ..., 0], start=steps[-1]))
        )
    found = []
    for frame in range(count):
        first = int(np.clip(frame - _OTHERS // 2, 0, max(count - 1 - _OTHERS, 0)))
        others = [k for k in range(first, min(first + _OTHERS + 1, count)) if k != frame]
        differences = [_difference(lab[frame], lab[k], _between(steps, frame, k)) for k in others]
        ordered, inside = np.sort(differences, axis=0), np.isfinite(differences).sum(axis=0)
        index = np.maximum(np.round(_QUANTILE * (inside - 1)), 0).astype(int)  # NaN is sorted last
        found.append(np.take_along_axis(ordered, index[None], axis=0)[0])
    found = np.log(np.stack(found) + 1e-4)
    found = np.where(np.isnan(found), np.nanmedian(found), found)
    return np.float32((found - found.mean()) / max(found.std(), 1e-6))


def _between(steps: list[np.ndarray], frame: int, other: int) -> np.ndarray:
    """The 3x3 matrix from pixels of one frame to those of another."""
    matrix = np.eye(3)
    for number in range(max(frame, other), min(frame, other), -1):
        matrix = steps[number].astype(np.float64) @ matrix
    return matrix if other <= frame else np.linalg.inv(matrix)


def _difference(frame: np.ndarray, other: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Returns the smallest squared differences (h, w) of patches in nine shifts; NaN outside."""
    from scipy.ndimage import map_coordinates, uniform_filter

    h, w = frame.shape[:2]
    y, x = np.mgrid[:h, :w]
    moved = np.stack([x, y, np.ones_like(x)], axis=-1) @ matrix.T
    column, row = np.moveaxis(moved[..., :2] / moved[..., 2:], -1, 0)
    sample = lambda c: map_coordinates(c, (row, column), order=1, mode="nearest")
    other = np.stack([sample(c) for c in np.moveaxis(other, -1, 0)], axis=-1)
    shifts = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    squares = (np.square(np.roll(other, s, (0, 1)) - frame).sum(axis=-1) for s in shifts)
    least = np.min([uniform_filter(square, 3) for square in squares], axis=0)
    inside = (row >= 0) & (column >= 0) & (row <= h - 1) & (column <= w - 1)
    return np.where(inside, least, np.nan)


def _features(lab: np.ndarray, changes: np.ndarray) -> Array:
    """Features (T, h, w, n) of pixels: patches, larger surroundings, and changes."""
    from scipy.ndimage import gaussian_filter

    reach = _PATCH // 2
    squares = (np.arange(_PATCH) - reach) ** 2
    weights = np.exp(-np.add.outer(squares, squares) / (2 * (_PATCH / 3) ** 2))
    padded = np.pad(lab, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    patches = np.lib.stride_tricks.sliding_window_view(padded, (_PATCH, _PATCH), (1, 2))
    patches = patches * np.sqrt(weights / weights.sum())
    blurred = gaussian_filter(lab, (0, 3, 3, 0))
    around = [np.roll(blurred, (y, x), (1, 2)) for y in (-6, 0, 6) for x in (-6, 0, 6)]
    around = np.concatenate(around, axis=-1) * np.sqrt(_SURROUNDINGS / 9)
    parts = [
        _components(patches.reshape(*lab.shape[:3], -1), _KEPT),
        _components(around, _KEPT_COARSE),
        np.sqrt(_CHANGE) * changes[..., None],
    ]
    return jnp.asarray(np.concatenate(parts, axis=-1), jnp.float32)


def _components(values: np.ndarray, count: int) -> np.ndarray:
    """The `count` principal components of values (..., n)."""
    values = values - values.mean(axis=(0, 1, 2))
    some = values.reshape(-1, values.shape[-1])[::17]
    _, axes = np.linalg.eigh(some.T @ some)
    return values @ axes[:, -count:]


def _resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(resize(jnp.asarray(image), output_shape=shape, method="box"))
