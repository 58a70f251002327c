"""Where the patches of an image are, and their values."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deepinternal.types import Array, InputError

QUERIES = 1024  # number of patches in a chunk


def grid(size: tuple[int, int], patch: int, *, stride: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions of patches: every `stride`-th row and column, and the last ones.

    Args:
        size: (H, W) of the image.
        patch: Side of a patch in pixels.
        stride: Distance in pixels from one patch to the next.

    Returns:
        Rows (h,) and columns (w,) of the patches' upper left pixels. With a stride of at most `patch`,
        the patches cover every pixel.

    Raises:
        ValueError: A side is shorter than a patch.

    Example:
        >>> from deepinternal.ops.patches import places
        >>> [x.tolist() for x in places.grid((8, 9), 5, stride=2)]
        [[0, 2, 3], [0, 2, 4]]
    """
    if min(size) < patch:
        raise ValueError(f"an image of {size[0]}x{size[1]} has no patches of {patch}x{patch}")
    last = [n - patch for n in size]
    return tuple(np.append(np.arange(0, n, stride), n) for n in last)


def cut(image: Array, rows: Array, columns: Array, patch: int) -> Array:
    """Cuts out the patches at given positions.

    Args:
        image: (H, W, C).
        rows: (N,), rows of the patches' upper left pixels.
        columns: (N,), their columns.
        patch: Side of a patch in pixels.

    Returns:
        (N, patch * patch * C).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import places
        >>> image = np.arange(9).reshape(3, 3, 1)
        >>> places.cut(image, np.array([0, 1]), np.array([1, 1]), 2).tolist()
        [[1, 2, 4, 5], [4, 5, 7, 8]]
    """
    shape = (patch, patch, image.shape[-1])
    one = lambda y, x: lax.dynamic_slice(image, (y, x, jnp.zeros_like(y)), shape)
    return jax.vmap(one)(rows, columns).reshape(len(rows), -1)


def chunks(rows: np.ndarray, columns: np.ndarray, length: int) -> tuple[Array, Array]:
    """Divides all pairs of a row and a column into chunks of bounded size.

    Args:
        rows: (h,).
        columns: (w,).
        length: Greatest number of pairs in a chunk.

    Returns:
        Rows and columns, int32 (chunks, at most `length`) each, with the last pair repeated at the end.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import places
        >>> [x.tolist() for x in places.chunks(np.arange(2), np.arange(2), 3)]
        [[[0, 0], [1, 1]], [[0, 1], [0, 1]]]
    """
    places = [m.reshape(-1) for m in np.meshgrid(rows, columns, indexing="ij")]
    count = math.ceil(len(places[0]) / length)
    length = math.ceil(len(places[0]) / count)
    padded = (np.pad(m, (0, count * length - len(m)), mode="edge") for m in places)
    return tuple(jnp.asarray(m.reshape(count, length), jnp.int32) for m in padded)


def covered(canvas: tuple[int, int], size: Sequence[Array | int]) -> Array:
    """Tells which places of a canvas belong to the array in its upper left.

    Args:
        canvas: (H, W).
        size: (h, w) of the array, possibly traced.

    Returns:
        Bool (H, W).

    Example:
        >>> from deepinternal.ops.patches import places
        >>> places.covered((2, 3), (1, 2)).tolist()
        [[True, True, False], [False, False, False]]
    """
    rows, columns = (jnp.arange(n) < m for n, m in zip(canvas, size))
    return rows[:, None] & columns


def usable(allowed: Array, patch: int) -> Array:
    """Tells which patches of an image consist of allowed pixels only.

    Args:
        allowed: Bool (H, W).
        patch: Side of a patch in pixels.

    Returns:
        Bool (H - patch + 1, W - patch + 1).

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import places
        >>> places.usable(np.array([[1, 1, 0], [1, 1, 1]], bool), 2).tolist()
        [[True, False]]
    """
    sums = jnp.asarray(allowed, jnp.int32)
    for window in ((patch, 1), (1, patch)):
        sums = lax.reduce_window(sums, np.int32(0), lax.add, window, (1, 1), "VALID")
    return sums == patch * patch


def check_allowed(allowed: np.ndarray, *, patch: int = 7) -> None:
    """Checks, on the host, that a mask leaves patches to be found.

    Args:
        allowed: Bool (H, W), the pixels that may be used.
        patch: Side of a patch in pixels.

    Returns:
        Nothing.

    Raises:
        InputError: Every patch has a pixel that may not be used.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import places
        >>> places.check_allowed(np.ones((8, 9), bool), patch=7)
    """
    inside = np.pad(np.asarray(allowed, bool), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    of_patch = inside[patch:, patch:] - inside[:-patch, patch:] - inside[patch:, :-patch]
    if not ((of_patch + inside[:-patch, :-patch]) == patch * patch).any():
        raise InputError(
            f"the mask leaves no whole patch of {patch}x{patch} pixels to take content from: "
            "mark less of the image or choose a smaller patch"
        )


def joined(images: Sequence[Array]) -> tuple[Array, Array]:
    """Puts several images into one, so that one search finds patches of all of them.

    Args:
        images: (H, W, C) each, of any sizes, with the same C.

    Returns:
        image: (max H, sum of W + number of images - 1, C), the images side by side, with a column
            between them, and zeros where there is no image.
        allowed: Bool, the pixels that belong to an image: the argument `allowed` of a search, which
            then finds no patches across the borders.

    Raises:
        InputError: There are no images, or their numbers of channels differ.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops.patches import places
        >>> image, allowed = places.joined([np.ones((2, 2, 1)), np.ones((1, 1, 1))])
        >>> image.shape, allowed.tolist()
        ((2, 4, 1), [[True, True, False, True], [True, True, False, False]])
    """
    if not images or len({x.shape[-1] for x in images}) > 1:
        depths = ", ".join(str(x.shape[-1]) for x in images) or "no"
        raise InputError(f"images of {depths} channels: must be one or more, of equal channels")
    height, last = max(x.shape[0] for x in images), len(images) - 1
    both = []
    for i, x in enumerate(images):
        marked = jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
        both.append(jnp.pad(marked, ((0, height - x.shape[0]), (0, int(i < last)), (0, 0))))
    whole = jnp.concatenate(both, axis=1)
    return whole[..., :-1], whole[..., -1] > 0.5
