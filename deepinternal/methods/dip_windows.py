"""Windows of large images: DIP fits them one after another, and blends the results.

The windows of an image have one size. Those of an image with holes cover only the holes. For the net,
a window is an image of its own. All arrays of the image have names that begin with 'full_'.
"""

import math
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.types import Array, InputError, Inputs

SIDES = (512, 768, 1088)  # sides of windows; larger ones are for larger holes
LEAST = 16  # least side of a window
SMALLEST = 256  # least side of a single window that covers all holes
OVERLAP = 32  # width in pixels of the border of a window that its neighbour covers as well
SURROUNDINGS = 64  # width in pixels of the surroundings of the holes in a window
KNOWN = 0.25  # least share of the pixels of a window that are known


def is_large(shape: tuple[int, ...], pixels: int) -> bool:
    """Whether an image (H, W, ...) has more than `pixels` pixels; never if that is 0."""
    return 0 < pixels < shape[0] * shape[1]


def split(inputs: Inputs, *, pixels: int, scale: int = 1) -> dict[str, Array]:
    """Splits the inputs of a fit of a large image into windows, on the host.

    Args:
        inputs: `image` (H, W, C), and of the same size `mask` (H, W, 1), 0 in holes, or others.
        pixels: Greatest number of pixels of a window of the result, unless it is tiny.
        scale: Factor from the image to the result.

    Returns:
        The inputs of the first window by the same names; the full ones as `full_image`, ...; `corners`
        (N, 2) int32, the places (row, column) of the windows; `window`, the number of the current one;
        and `made` (N, scale * h, scale * w, C), the results so far.

    Raises:
        InputError: Windows of this size would lie within a hole.
    """
    image, mask = inputs["image"], inputs.get("mask")
    if mask is None:
        side = max(min(SIDES[0], math.isqrt(pixels)) // scale, LEAST)
        margin = min(OVERLAP // scale, side // 4)
        size, places = _cover(np.ones(image.shape[:2], bool), side, margin)
    else:
        size, places = _around(mask[..., 0] == 0, pixels)
    corners = np.array(places, np.int32).reshape(-1, 2)
    first = tuple(slice(c, c + n) for c, n in zip(corners[0], size))
    return {
        **{name: np.ascontiguousarray(x[first]) for name, x in inputs.items()},
        **{f"full_{name}": x for name, x in inputs.items()},
        "corners": corners,
        "window": np.zeros((), np.int32),
        "made": np.zeros((len(corners), *(scale * n for n in size), image.shape[2]), np.float32),
    }


def _around(holes: np.ndarray, pixels: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Returns the size and the places of the windows that cover holes with the fewest pixels."""
    most = max(math.isqrt(pixels), LEAST)
    found = [_only(holes, min(SMALLEST, most))]
    if found[0][0][0] * found[0][0][1] > most * most:
        found.clear()
    for side in dict.fromkeys(min(side, most) for side in SIDES):
        size, places = _cover(holes, side, min(SURROUNDINGS, side // 4))
        known = min(1 - holes[y : y + size[0], x : x + size[1]].mean() for y, x in places)
        if known >= KNOWN:
            found.append((size, places))
    if not found:
        raise InputError(
            f"config.mask: a hole leaves less than {KNOWN:.0%} of a window of {most}x{most} pixels "
            "known; use `deepinternal inpaint --method=patches`, give a smaller image, or set a "
            "greater config.fit_pixels, which needs more memory"
        )
    return min(found, key=lambda one: one[0][0] * one[0][1] * len(one[1]))


def _only(holes: np.ndarray, least: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Returns the size and the place of one window that covers all holes."""
    size, place = [], []
    for axis, length in enumerate(holes.shape):
        places = np.flatnonzero(holes.any(axis=1 - axis))
        first, last = int(places[0]), int(places[-1]) + 1
        side = min(max(last - first + 2 * SURROUNDINGS, least), length)
        size.append(side)
        place.append(_start(first, last, side, length))
    return tuple(size), [tuple(place)]


def _cover(
    where: np.ndarray, side: int, margin: int
) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Returns the size and the places of windows that cover some pixels with a margin around them."""
    (height, width), places = where.shape, []
    size = min(side, height), min(side, width)
    for top, bottom in _runs(where.any(axis=1), size[0], margin):
        for left, right in _runs(where[top:bottom].any(axis=0), size[1], margin):
            rows = top + np.flatnonzero(where[top:bottom, left:right].any(axis=1))
            ends = (rows[0], rows[-1] + 1), (left, right)
            places.append(tuple(_start(*e, m, n) for e, m, n in zip(ends, size, where.shape)))
    return size, places


def _runs(where: np.ndarray, side: int, margin: int) -> Iterator[tuple[int, int]]:
    """Yields spans that cover all True values, each within a window without its margins.

    A window that ends with the image has no margin there.
    """
    length, places = len(where), np.flatnonzero(where)
    while len(places):
        end = min(max(places[0] - margin, 0), length - side) + side
        within = places[places < (length if end == length else end - margin)]
        yield int(within[0]), int(within[-1]) + 1
        places = places[len(within) :]


def _start(first: int, last: int, side: int, length: int) -> int:
    """Returns the start of a window around [first, last) that lies inside [0, length)."""
    return int(min(max((first + last - side) // 2, 0), length - side))


def following(layers: Mapping[str, Array], inputs: Inputs) -> Inputs:
    """Returns the inputs of the next window; the layer of the current one is kept in `made`."""
    number = inputs["window"] + 1
    corner = jnp.asarray(inputs["corners"])[number]
    cut = lambda name: jax.lax.dynamic_slice(
        inputs[f"full_{name}"], (*corner, 0), inputs[name].shape
    )
    names = [name for name in inputs if f"full_{name}" in inputs]
    made = jnp.asarray(inputs["made"]).at[inputs["window"]].set(layers["image"])
    return {**inputs, **{name: cut(name) for name in names}, "made": made, "window": number}


def blended(layer: Array, inputs: Inputs) -> Array:
    """Returns the result from those of all windows.

    Args:
        layer: (h, w, C), the layer of the last window.
        inputs: The inputs of the last window.

    Returns:
        (H, W, C). The weight of a window falls towards its borders. Pixels outside all windows are
        those of the image.
    """
    made = jnp.asarray(inputs["made"]).at[-1].set(layer)
    image, scale = inputs["full_image"], layer.shape[0] // inputs["image"].shape[0]
    shape = tuple(scale * n for n in image.shape[:2])
    weight = jnp.asarray(_weight(layer.shape[:2], 2 * OVERLAP))[..., None]

    def add(both: tuple[Array, Array], one: tuple[Array, Array]):
        (corner, part), (total, weights) = one, both
        place = (*(scale * corner), 0)
        put = lambda whole, x: jax.lax.dynamic_update_slice(
            whole, jax.lax.dynamic_slice(whole, place, x.shape) + x, place
        )
        return (put(total, weight * part), put(weights, weight)), None

    start = jnp.zeros((*shape, image.shape[2])), jnp.zeros((*shape, 1))
    (total, weights), _ = jax.lax.scan(add, start, (inputs["corners"], made))
    if scale > 1:
        return total / weights
    return jnp.where(weights > 0, total / jnp.maximum(weights, 1e-6), image)


def _weight(size: tuple[int, int], ramp: int) -> np.ndarray:
    """Returns weights (h, w) that rise linearly over `ramp` pixels from the borders."""
    rises = [np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) for n in size]
    rows, columns = (np.minimum(rise / ramp, 1) for rise in rises)
    return np.outer(rows, columns).astype(np.float32)


def remark(inputs: Inputs, pixels: int) -> str:
    """Says into how many windows an image was split."""
    (count, _), (h, w) = inputs["corners"].shape, inputs["image"].shape[:2]
    what = f"a window of {h}x{w} pixels is"
    if count > 1:
        what = f"{count} windows of {h}x{w} pixels are"
    each = ", one after another, each with all its steps" if count > 1 else ""
    rest = "; the rest of the image is known" if "mask" in inputs else ""
    height, width = inputs["full_image"].shape[:2]
    return (
        f"of the image of {height}x{width} pixels, {what} fitted{each}, because of "
        f"config.fit_pixels={pixels}{rest}"
    )
