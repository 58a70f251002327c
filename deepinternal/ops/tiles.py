"""Images in tiles: a local function on an image too large to be taken at once."""

import math
from collections.abc import Callable
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.types import Array, PyTree

MAX_PERIOD = 64  # input pixels after which a scale's sampling pattern must repeat


def period(scale: float) -> int | None:
    """After how many input pixels the sampling pattern of a resizing repeats.

    Args:
        scale: output pixels per input pixel.

    Returns:
        At most `MAX_PERIOD`; None: it does not repeat.
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
    """Applies a local function tile by tile, with the result of applying it to the whole image.

    Every tile is computed from a window that reaches `halo` pixels beyond it, but not beyond the
    image, where a window's border is the image's and the function treats it as such. All windows
    have one shape; they are worked through in turn, so that memory holds one at a time.

    Args:
        function: (h, w, C) -> arrays (ceil(h * vertical), ceil(w * horizontal), ...), which must
            depend on `halo` pixels around and not on the position in the image, save for the phase.
        image: (H, W, C).
        scale: (vertical, horizontal) output pixels per input pixel, each with a `period`.
        tile: least side of a tile, in input pixels.
        halo: reach of the function, in input pixels.

    Returns:
        What `function(image)` returns.
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
        # Per axis: begin of the window; begin of the tile in the window's output, and in the whole's.
        (y, inner_y, out_y), (x, inner_x, out_x) = start
        part = jax.lax.dynamic_slice(image, (y, x, 0), (*window, image.shape[2]))

        def put(whole: Array, part: Array) -> Array:
            rest = (0,) * (part.ndim - 2)
            size = (*(axis.tile_output for axis in axes), *part.shape[2:])
            part = jax.lax.dynamic_slice(part, (inner_y, inner_x, *rest), size)
            return jax.lax.dynamic_update_slice(whole, part, (out_y, out_x, *rest))

        return jax.tree.map(put, whole, function(part)), None

    return jax.lax.scan(work, whole, jnp.asarray(starts, jnp.int32))[0]


class _Axis:
    """How one axis is cut: `count` tiles, each with the same sizes.

    Tiles and windows begin at multiples of the scale's period, and so do the last ones: for that the
    sizes are lengthened by what the image's length leaves over.
    """

    def __init__(self, length: int, scale: float, tile: int, halo: int):
        repeat = period(scale)
        if repeat is None:
            raise ValueError(f"scale {scale} has no period up to {MAX_PERIOD} pixels")
        ratio = Fraction(scale).limit_denominator(MAX_PERIOD)
        # An even number of pixels, for roundings of halves to even numbers repeat after two.
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
