"""Retargeting without learning, for comparison: seam carving, and bidirectional similarity.

Images are NumPy arrays (H, W, C) in [0, 1]; a size (H', W') may be any size.
"""

import math
from collections.abc import Iterator

import numpy as np

from deepinternal.ops.patches.search import grid
from deepinternal.ops.resizing import output_size, resize

# Seam carving


def energy(image: np.ndarray) -> np.ndarray:
    """Returns the gradient energy (H, W): absolute differences to the four neighbours, over channels.

    At the border the single neighbour along an axis counts twice, since seams would prefer the border
    otherwise.
    """
    total = 0
    for axis in (0, 1):
        if image.shape[axis] == 1:
            continue
        steps = np.abs(np.diff(image, axis=axis)).sum(axis=-1)
        steps = np.pad(steps, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        total = total + np.take(steps, range(image.shape[axis]), axis) + np.delete(steps, 0, axis)
    return total


def least_seam(cost: np.ndarray) -> np.ndarray:
    """Finds the connected path of least sum from the first row to the last, by dynamic programming.

    Args:
        cost: (H, W).

    Returns:
        The column in each row, (H,); from row to row it changes by at most 1.
    """
    h, w = cost.shape
    sums = np.array(cost, np.float64)
    padded = np.full(w + 2, np.inf)
    for y in range(1, h):
        padded[1:-1] = sums[y - 1]
        sums[y] += np.minimum(np.minimum(padded[:-2], padded[2:]), padded[1:-1])
    seam = np.zeros(h, np.int64)
    seam[-1] = np.argmin(sums[-1])
    for y in range(h - 2, -1, -1):
        first = max(seam[y + 1] - 1, 0)
        seam[y] = first + np.argmin(sums[y, first : seam[y + 1] + 2])
    return seam


def remove_seams(image: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Removes vertical seams of least energy, one after another.

    Args:
        image: (H, W, C).
        count: Number of seams, less than W.

    Returns:
        The narrower image (H, W - count, C), and the columns of its pixels in the image (H, W - count).
    """
    h, w = image.shape[:2]
    columns = np.broadcast_to(np.arange(w), (h, w))
    for _ in range(count):
        keep = np.ones(columns.shape, bool)
        keep[np.arange(h), least_seam(energy(image))] = False
        image = image[keep].reshape(h, -1, image.shape[-1])
        columns = columns[keep].reshape(h, -1)
    return image, columns


def insert_seams(image: np.ndarray, count: int) -> np.ndarray:
    """Doubles the vertical seams that would be removed first.

    Args:
        image: (H, W, C).
        count: Number of seams, less than W.

    Returns:
        (H, W + count, C). Of the two copies of a pixel, one is averaged with the left neighbour and the
        other with the right neighbour.
    """
    h, w = image.shape[:2]
    kept = remove_seams(image, count)[1]
    doubled = np.ones((h, w), bool)
    np.put_along_axis(doubled, kept, False, axis=1)
    repeats = 1 + doubled.reshape(-1)
    padded = np.pad(image, ((0, 0), (1, 1), (0, 0)), mode="edge")
    means = (padded[:, 1:] + padded[:, :-1]) / 2  # between columns, both borders included
    left = np.where(doubled[..., None], means[:, :-1], image)
    right = np.where(doubled[..., None], means[:, 1:], image)
    left, right = (
        np.repeat(x.reshape(h * w, -1), repeats, axis=0).reshape(h, w + count, -1)
        for x in (left, right)
    )
    order = np.repeat(np.cumsum(repeats) - repeats, repeats)  # first position of a pixel's copies
    second = (np.arange(order.size) > order).reshape(h, w + count, 1)
    return np.where(second, right, left)


def seam_carving(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Changes the width, then the height, by removing or doubling seams.

    An axis that grows by more than half grows in rounds of at most one half, each with new seams.

    References:
        Avidan, Shamir: Seam Carving for Content-Aware Image Resizing. SIGGRAPH 2007, sections 3 and
        4.3 (energy e1).
    """
    for length in reversed(size):
        while image.shape[1] < length:
            image = insert_seams(image, min(length - image.shape[1], max(image.shape[1] // 2, 1)))
        image = remove_seams(image, image.shape[1] - length)[0]
        image = image.swapaxes(0, 1)
    return image


# Bidirectional similarity


def _patches(image: np.ndarray, patch: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the patches (N, D) of `grid` and their upper left pixels (N, 2)."""
    places = np.stack(
        np.meshgrid(*grid(image.shape[:2], patch, stride=stride), indexing="ij"), axis=-1
    )
    places = places.reshape(-1, 2)
    windows = np.lib.stride_tricks.sliding_window_view(image, (patch, patch), (0, 1))
    chosen = np.moveaxis(windows[places[:, 0], places[:, 1]], 1, -1)  # channels last
    return chosen.reshape(len(places), -1), places


def _nearest(queries: np.ndarray, searched: np.ndarray) -> np.ndarray:
    """Returns the exact indices of the nearest rows; with NumPy, since JAX would compile each size."""
    half = np.sum(searched**2, axis=1) / 2
    length = max(2**24 // len(searched), 1)
    chunks = (queries[i : i + length] for i in range(0, len(queries), length))
    return np.concatenate([np.argmin(half - c @ searched.T, axis=1) for c in chunks])


def _vote(sums: np.ndarray, weights: np.ndarray, patches, places, patch: int, weight: float):
    """Adds patches with a weight to the pixels that they cover, in place."""
    values = patches.reshape(len(patches), patch, patch, -1)
    for y in range(patch):
        for x in range(patch):
            at = (places[:, 0] + y, places[:, 1] + x)
            np.add.at(sums, at, weight * values[:, y, x])
            np.add.at(weights, at, weight)


def improve(source: np.ndarray, target: np.ndarray, patch: int, stride: int) -> np.ndarray:
    """Takes one step of expectation and maximisation of the bidirectional similarity.

    Every patch of the target votes for the colours of its nearest patch in the source. Every patch of
    the source votes for its own colours at its nearest patch in the target.

    Args:
        source: (H, W, C).
        target: (H', W', C).
        patch: Side of a patch in pixels.
        stride: Stride of the patches that vote, at most `patch`; all patches are searched.

    Returns:
        The new target (H', W', C): the mean of the votes, where those of each direction are weighted by
        one over their number (eq. 3).
    """
    all_source, _ = _patches(source, patch, 1)
    all_target, target_at = _patches(target, patch, 1)
    some_source, _ = _patches(source, patch, stride)
    some_target, some_at = _patches(target, patch, stride)
    sums, weights = np.zeros(target.shape), np.zeros((*target.shape[:2], 1))
    found = _nearest(some_target, all_source)
    _vote(sums, weights, all_source[found], some_at, patch, 1 / len(some_target))
    found = _nearest(some_source, all_target)
    _vote(sums, weights, some_source, target_at[found], patch, 1 / len(some_source))
    return np.float32(sums / weights)


def _path(start: tuple[int, int], end: tuple[int, int], factor: float) -> Iterator[tuple[int, int]]:
    """Returns the sizes after `start` up to `end`, each within `factor` of the previous one."""
    ratio = max(max(a, b) / min(a, b) for a, b in zip(start, end))
    count = max(math.ceil(math.log(ratio) / math.log(factor)), 1)
    for i in range(1, count + 1):
        yield tuple(round(a * (b / a) ** (i / count)) for a, b in zip(start, end))


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.clip(np.asarray(resize(image, output_shape=size)), 0, 1)


def bidirectional(
    image: np.ndarray,
    size: tuple[int, int],
    *,
    patch: int = 7,
    smallest: int = 24,
    iterations: tuple[int, int] = (4, 3),
    factor: float = 1.1,
) -> np.ndarray:
    """Retargets an image by bidirectional similarity.

    Each of several scales is half of the previous one. At the coarsest scale the size changes
    gradually; every other scale starts from the enlarged result of the coarser one.

    Args:
        image: (H, W, C).
        size: (H', W').
        patch: Side of a patch in pixels, at every scale.
        smallest: Least side in pixels at the coarsest scale.
        iterations: Numbers of calls of `improve` for every size at the coarsest scale, and at each of
            the other scales.
        factor: Greatest factor between successive sizes.

    Returns:
        (H', W', C).

    Raises:
        ValueError: A side is shorter than a patch.

    References:
        Simakov, Caspi, Shechtman, Irani: Summarizing Visual Data Using Bidirectional Similarity.
        CVPR 2008, section 3. Here colours are used as given, the patches of the finer scales vote only
        at every second or third position, and the search for nearest patches is exact.
    """
    image = np.asarray(image, np.float32)
    levels = max(int(math.log2(min(*image.shape[:2], *size) / smallest)), 0)
    target = None
    for level in range(levels, -1, -1):
        smaller, end = (output_size(s, (0.5**level,) * 2) for s in (image.shape[:2], size))
        source = _resized(image, smaller)
        coarsest = target is None
        sizes = _path(smaller, end, factor) if coarsest else [end]
        target = source if coarsest else target
        stride = 1 if coarsest else 3 if level == 0 else 2
        for step in sizes:
            target = _resized(target, step)
            for _ in range(iterations[0 if coarsest else 1]):
                target = improve(source, target, patch, stride)
    return target
