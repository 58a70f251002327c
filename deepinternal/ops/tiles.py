"""Tiles: the application of a local function to an image that is too large to process at once."""

import math
from collections.abc import Callable
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.types import Array, PyTree

MAX_PERIOD = 64  # input pixels after which a scale's sampling pattern must repeat


def period(scale: float) -> int | None:
    """Returns the number of input pixels after which the sampling pattern of a resizing repeats.

    Args:
        scale: Output pixels per input pixel.

    Returns:
        At most `MAX_PERIOD`; None if the pattern does not repeat.

    Example:
        >>> from deepinternal.ops import tiles
        >>> tiles.period(1.5), tiles.period(3.14159)
        (2, None)
    """
    ratio = Fraction(scale).limit_denominator(MAX_PERIOD)
    return ratio.denominator if abs(ratio - scale) < 1e-9 else None


def tiled(
    function: Callable[[Array], PyTree],
    image: Array,
    *,
    scale: tuple[float, float],
    tile: int,
    halo: int,
) -> PyTree:
    """Applies a local function tile by tile, with the same result as for the whole image.

    Every tile is computed from a window that extends `halo` pixels beyond it, but not beyond the image,
    so that the function sees the border of the image as the border of its input. All windows have one
    shape. They are processed one after the other, so that only one is in memory at a time.

    Args:
        function: (h, w, C) -> arrays (ceil(h * vertical), ceil(w * horizontal), ...). Its result may
            depend on pixels up to `halo` away, but on the position in the image only through the phase
            of the sampling pattern.
        image: (H, W, C).
        scale: (vertical, horizontal) output pixels per input pixel, each with a `period`.
        tile: Least side of a tile in input pixels.
        halo: Reach of the function in input pixels.

    Returns:
        What `function(image)` returns.

    Example:
        >>> import numpy as np
        >>> from deepinternal.ops import tiles
        >>> image = np.arange(36, dtype=np.float32).reshape(6, 6, 1)
        >>> made = tiles.tiled(lambda x: 2 * x, image, scale=(1, 1), tile=2, halo=0)
        >>> bool((made == 2 * image).all())
        True
    """
    axes = [_Axis(n, s, tile, halo) for n, s in zip(image.shape[:2], scale)]
    if all(axis.count == 1 for axis in axes):
        return function(image)
    window = tuple(axis.window for axis in axes)
    spec = jax.eval_shape(function, jax.ShapeDtypeStruct((*window, image.shape[2]), image.dtype))
    shape = tuple(axis.output for axis in axes)
    whole = jax.tree.map(lambda x: jnp.zeros((*shape, *x.shape[2:]), x.dtype), spec)
    grid = np.stack(np.meshgrid(*(np.arange(a.count) for a in axes), indexing="ij"), -1)
    starts = np.stack([a.starts[i] for a, i in zip(axes, grid.reshape(-1, 2).T)], 1)

    def work(whole: PyTree, start: Array) -> tuple[PyTree, None]:
        # For each axis: the start of the window; the start of the tile in the window's output, and in
        # the whole output.
        (y, inner_y, out_y), (x, inner_x, out_x) = start
        zero = jnp.zeros_like(y)
        part = jax.lax.dynamic_slice(image, (y, x, zero), (*window, image.shape[2]))

        def put(whole: Array, part: Array) -> Array:
            rest = (zero,) * (part.ndim - 2)
            size = (*(axis.tile_output for axis in axes), *part.shape[2:])
            part = jax.lax.dynamic_slice(part, (inner_y, inner_x, *rest), size)
            return jax.lax.dynamic_update_slice(whole, part, (out_y, out_x, *rest))

        return jax.tree.map(put, whole, function(part)), None

    return jax.lax.scan(work, whole, jnp.asarray(starts, jnp.int32))[0]


class _Axis:
    """The division of one axis into `count` tiles of equal sizes.

    All tiles and windows, including the last ones, begin at multiples of the scale's period. To this
    end, the sizes are enlarged by the remainder of the image's length.
    """

    def __init__(self, length: int, scale: float, tile: int, halo: int):
        repeat = period(scale)
        if repeat is None:
            raise ValueError(f"scale {scale} has no period up to {MAX_PERIOD} pixels")
        ratio = Fraction(scale).limit_denominator(MAX_PERIOD)
        # An even number of pixels, because the rounding of halves to even repeats after two.
        repeat *= 2
        tile, halo = (math.ceil(n / repeat) * repeat for n in (tile, halo))
        over = (length - tile) % repeat
        self.window = tile + over + 2 * halo
        self.output = math.ceil(length * ratio)
        if self.window >= length:
            self.count, self.window, self.tile_output = 1, length, self.output
            self.starts = np.zeros((1, 3), np.int64)
            return
        self.tile_output = math.ceil((tile + over) * ratio)
        begins = np.minimum(np.arange(0, length - over, tile), length - tile - over)
        windows = np.clip(begins - halo, 0, length - self.window)
        self.count = len(begins)
        outs = [int(begin * ratio) for begin in begins]
        inner = [int((begin - window) * ratio) for begin, window in zip(begins, windows)]
        self.starts = np.stack([windows, inner, outs], 1)
