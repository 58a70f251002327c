"""The opacity of a mark of one colour at each pixel, by minimum cuts.

I = (1 - m) c + m w, with a known colour w and a known greatest opacity a. With the right m, the clean
image c = (I - m w) / (1 - m) has no edges along the outline of the mark, while the edges of the image
below the mark remain. Therefore m minimises a robust function of the differences of c, summed over
pairs of neighbours. Each step lets any pixels change to one opacity, and takes the best of all such
changes, which is a minimum cut. Several images with the same mark, or several repetitions of a mark
in an image, share m, and their costs are added.

References:
    Boykov, Veksler, Zabih: Fast Approximate Energy Minimization via Graph Cuts. PAMI 2001.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_NEAR = ((0, 1), (1, 0), (1, 1), (1, -1))  # offsets of the two pixels of a pair
_FAR = ((0, 2), (2, 0))  # likewise; a soft edge fits between the two pixels
_FAR_WEIGHT = 0.75
_LEAST = 2 / 255  # contrast below which differences are rounding errors
_BOUND = 2.5  # upper bound of the cost of a difference, in contrasts
_OUTLINE = 0.2  # cost of a pixel of an outline, in contrasts
_AREA = 0.15  # cost of a marked pixel, in contrasts
_EXCESS = 0.02  # distance of a value from [0, 1] that costs one contrast
_WINDOW = 15  # side in pixels of the windows of the local contrast
SHARES = (
    1.0,
    0.5,
    1.0,
    0.0,
)  # multiples of the greatest opacity that pixels may change to, in order
_UNIT = 1000.0  # factor of costs before they are rounded to whole numbers
_FORBIDDEN = 1e4
_OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])


class MarkScene(NamedTuple):
    """Images with a common mark.

    Attributes:
        images: (K, H, W, C), in opponent colours, see `opponent_colours`.
        contrast: (K, H, W, C), the typical difference of neighbours.
        nodes: (H, W) int, the number of the opacity of each pixel; equal where the mark repeats.
        free: (N,) booleans, whether the opacity with this number may exceed 0.
    """

    images: np.ndarray
    contrast: np.ndarray
    nodes: np.ndarray
    free: np.ndarray


def opponent_colours(colours: np.ndarray) -> np.ndarray:
    """Returns colours (..., 3) as brightness and two differences; grey (..., 1) remains unchanged.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> print(di.estimators.opponent_colours(np.ones(3)).round(2) + 0)  # grey has no differences
        [1.73 0.   0.  ]
    """
    return np.asarray(colours, np.float64) @ _OPPONENT.T if colours.shape[-1] == 3 else colours


def mark_scene(
    images: np.ndarray, free: np.ndarray, *, nodes: np.ndarray | None = None
) -> MarkScene:
    """Prepares images with a common mark.

    Args:
        images: (K, H, W, C) in [0, 1].
        free: (H, W) booleans, where the mark may be.
        nodes: (H, W) int, see `MarkScene`; None: each free pixel has a separate opacity.

    Returns:
        The scene.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> free = np.zeros((8, 8), bool)
        >>> free[2:4, 2:6] = True
        >>> scene = di.estimators.mark_scene(np.full((1, 8, 8, 3), 0.5), free)
        >>> scene.images.shape, int(scene.free.sum())
        ((1, 8, 8, 3), 8)
    """
    from scipy import ndimage

    images = opponent_colours(np.asarray(images, np.float64))
    steps = [np.abs(np.diff(images, axis=n, append=images.take([-1], n))) for n in (1, 2)]
    steps = (steps[0] + steps[1]) / 2
    outside = ~free if (~free).any() else np.ones_like(free)
    whole = steps[:, outside].mean(1)[:, None, None] + _LEAST
    near = ndimage.uniform_filter(steps, (0, _WINDOW, _WINDOW, 0)) + _LEAST
    if nodes is None:
        nodes = np.where(free, np.cumsum(free).reshape(free.shape), 0)
    may = np.zeros(nodes.max() + 1, bool)
    may[nodes[free]] = True
    return MarkScene(images, np.sqrt(whole * near), nodes, may)


def without_mark(images: np.ndarray, matte: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Returns images (..., H, W, C) without a mark of an opacity (H, W) and a colour (C,).

    Example:
        >>> import numpy as np, deepinternal as di
        >>> clean, matte = np.full((2, 2, 3), 0.25), np.full((2, 2), 0.5)
        >>> marked = 0.5 * clean + 0.5 * np.ones(3)
        >>> np.allclose(di.estimators.without_mark(marked, matte, np.ones(3)), clean)
        True
    """
    matte = matte[..., None]
    return (images - matte * colour) / np.maximum(1 - matte, 1e-3)


def fit_matte(
    scene: MarkScene, colour: np.ndarray, opacity: float, *, shares: Sequence[float] = SHARES
) -> tuple[np.ndarray, float]:
    """Finds the opacity of each pixel.

    Args:
        scene: The images.
        colour: (C,) of the mark, in [0, 1].
        opacity: The greatest opacity, in (0, 1).
        shares: Multiples of `opacity` to which pixels may change, in order.

    Returns:
        (H, W), and the gain per image: by how much the cost is lower than without a mark.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image, free = np.full((1, 16, 16, 3), 0.25), np.ones((16, 16), bool)
        >>> image[:, 4:8, 4:12] = 0.625  # white with an opacity of 0.5
        >>> scene = di.estimators.mark_scene(image, free)
        >>> matte, gain = di.estimators.fit_matte(scene, np.ones(3), 0.5)
        >>> float(matte[4:8, 4:12].min()), float(matte.sum()), gain > 0
        (0.5, 16.0, True)
    """
    matte, colour = np.zeros(len(scene.free)), opponent_colours(np.asarray(colour, np.float64))
    total = 0.0
    for share in shares:
        changed, gain = _moved(scene, matte, share * opacity, colour, opacity)
        matte = np.where(changed, share * opacity, matte)
        total += gain
    return matte[scene.nodes], total / len(scene.images)


def _moved(scene: MarkScene, matte: np.ndarray, new: float, colour: np.ndarray, most: float):
    """Returns which opacities (N,) change to `new` in the best change, and the gain."""
    count = len(matte)
    opacities = matte[scene.nodes], np.full(scene.nodes.shape, new)
    cleans = [without_mark(scene.images, opacity, colour) for opacity in opacities]
    excess = [_excess(x, opacity) for x, opacity in zip(cleans, opacities)]
    unary = _AREA * len(scene.images) * (new - matte) / most
    unary = unary + np.bincount(scene.nodes.ravel(), (excess[1] - excess[0]).ravel(), count)
    edges = []
    for offset in _NEAR + _FAR:
        ends = _pair(scene.nodes.shape, offset)
        scale = sum(scene.contrast[:, *end] for end in ends) / (2 if offset in _NEAR else 4 / 3)
        table = []
        for labels in ((0, 0), (0, 1), (1, 0), (1, 1)):
            values = [cleans[label][:, *end] for label, end in zip(labels, ends)]
            pair = [opacities[label][end] for label, end in zip(labels, ends)]
            cost = _difference(values, pair, scale)
            if offset in _NEAR:
                cost = cost + _OUTLINE * len(scene.images) * np.abs(pair[0] - pair[1]) / most
            table.append((_share(offset) * cost).ravel())
        nodes = [scene.nodes[end].ravel() for end in ends]
        unary, edge = _added(unary, nodes, table)
        apart = nodes[0] != nodes[1]
        edges.append(tuple(x[apart] for x in (*nodes, edge)))
    return _cut(np.where(scene.free, unary, _FORBIDDEN), edges)


def _share(offset: tuple[int, int]) -> float:
    """Returns the weight of the pairs at an offset; the sum over all near offsets is 2."""
    lengths = sum(1 / np.hypot(*near) for near in _NEAR)
    return 2 / lengths * (1 / np.hypot(*offset) if offset in _NEAR else _FAR_WEIGHT)


def _difference(values, opacities, scale: np.ndarray) -> np.ndarray:
    """Returns the bounded differences of the clean values of pairs, in contrasts, over all images.

    Removing a mark magnifies the contrast. The differences are those before the magnification, so that
    marking a textured region costs no more than marking a smooth one.
    """
    passed = np.sqrt((1 - opacities[0]) * (1 - opacities[1]))
    step = (np.abs(values[0] - values[1]) / scale).sum(-1) * passed
    return (_BOUND * (1 - np.exp(-step / _BOUND))).sum(0)


def _excess(images: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Returns the cost (H, W) of values outside [0, 1] by more than the magnified 8-bit rounding."""
    colours = images @ _OPPONENT if images.shape[-1] == 3 else images
    beyond = np.maximum(np.abs(colours - 0.5) - 0.5 - _LEAST / (1 - opacity[..., None]), 0)
    return np.minimum(beyond.sum(-1) / _EXCESS, _BOUND).sum(0)


def _added(unary: np.ndarray, nodes, table):
    """Adds a table of costs of pairs to the costs of nodes; the rest is a cost of (0, 1)."""
    none, second, first, both = table
    lack = np.maximum(none + both - first - second, 0)  # the less likely change costs more
    second = second + np.where(second > first, lack, 0)
    first = first + np.where(second > first, 0, lack)
    rest = np.maximum(first + second - none - both, 0)
    for which, cost in zip(nodes, (first - none, both - first)):
        unary = unary + np.bincount(which, cost, len(unary))
    return unary, rest


def _cut(unary: np.ndarray, edges) -> tuple[np.ndarray, float]:
    """Chooses the nodes that minimise their costs, plus those of edges from other nodes to them."""
    from scipy import sparse
    from scipy.sparse import csgraph

    count = len(unary)
    source, sink = count, count + 1
    nodes, chosen = np.arange(count), unary < 0
    from_ = [np.full(chosen.sum(), source), nodes[~chosen]]
    to = [nodes[chosen], np.full((~chosen).sum(), sink)]
    costs = [-unary[chosen], unary[~chosen]]
    for first, second, cost in edges:
        from_, to, costs = [*from_, second], [*to, first], [*costs, cost]
    pair = np.concatenate(from_), np.concatenate(to)
    whole = np.minimum(np.round(_UNIT * np.concatenate(costs)), 1e8)
    graph = sparse.coo_array((whole, pair), (count + 2,) * 2).tocsr().astype(np.int32)
    flow = csgraph.maximum_flow(graph, source, sink).flow
    left = sparse.csr_array((graph - flow) > 0)
    reached = csgraph.breadth_first_order(left, source, return_predecessors=False)
    found = np.isin(np.arange(count), reached)
    cost = unary[found].sum() + sum(c[~found[p] & found[q]].sum() for p, q, c in edges)
    return found, -float(cost)


def _pair(shape: tuple[int, int], offset: tuple[int, int]):
    """Returns the rows and columns of the first and of the second pixels of pairs."""
    (h, w), (y, x) = shape, offset
    return (
        (slice(0, h - y), slice(max(-x, 0), w - max(x, 0))),
        (slice(y, h), slice(max(x, 0), w - max(-x, 0))),
    )
