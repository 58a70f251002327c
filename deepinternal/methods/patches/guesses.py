"""Guesses of the result: their fixed pixels, their samples, and parts of the image moved at random."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.methods.patches.config import Size
from deepinternal.ops.resizing import mirror_index, resize
from deepinternal.types import Array, Inputs

_CELLS = 4  # random distances along each side, see `scattered`
_TOGETHER = 2**18  # pixels of results that are made side by side
_UNSURE = 0.1  # weight in distances of pixels that are not fixed, next to those that are


def of_samples(function: Callable[..., Any], *args: Array, pixels: int) -> Any:
    """Applies a function to each sample, to as many at once as memory allows.

    Args:
        function: Takes the arguments of one sample and returns a tree of arrays.
        *args: (N, ...) each, for N samples.
        pixels: Number of pixels of a result.

    Returns:
        The tree with N as the first axis of its arrays.
    """
    # On CPU, loops over samples are faster than batches.
    together = 1 if jax.default_backend() == "cpu" else max(_TOGETHER // pixels, 1)
    if args[0].shape[0] == 1:
        return jax.tree.map(lambda x: x[None], function(*(x[0] for x in args)))
    batch = together if together > 1 else None
    return lax.map(lambda xs: function(*xs), args, batch_size=batch)


def fixed_pixels(inputs: Inputs) -> Array:
    """Returns the fixed pixels of the input `guess`, 0 elsewhere, and a channel that is 1 at them."""
    fixed = jnp.asarray(inputs["fixed"], jnp.float32)[..., None]
    return jnp.concatenate([fixed * inputs["guess"], fixed], axis=-1)


def counts_with(stays: Array | None) -> Array | None:
    """Returns the weights (H, W) of pixels in distances, with fixed pixels (H, W, C + 1) or without."""
    return None if stays is None else _UNSURE + (1 - _UNSURE) * stays[..., -1]


def with_fixed(made: Array, stays: Array | None) -> Array:
    """Returns a result (H, W, C) with the fixed pixels (H, W, C + 1), if there are any."""
    return made if stays is None else stays[..., :-1] + (1 - stays[..., -1:]) * made


def scattered(key: Array, image: Array, size: Size, *, amount: float) -> Array:
    """Moves the parts of an image by random distances, which vary smoothly.

    Args:
        key: PRNG key.
        image: (H, W, C), with the image in the upper left.
        size: (h, w) of the image.
        amount: Greatest distance, relative to the sides of the image.

    Returns:
        (H, W, C); what comes from outside of the image is mirrored.
    """
    grid = jax.random.uniform(key, (_CELLS * _CELLS * 2,)).reshape(_CELLS, _CELLS, 2)
    shifts = (2 * resize(grid, output_shape=size) - 1) * amount * jnp.asarray(size)
    places = jnp.round(jnp.moveaxis(jnp.indices(size), 0, -1) + shifts).astype(jnp.int32)
    rows, columns = (mirror_index(places[..., i], n) for i, n in enumerate(size))
    return image.at[: size[0], : size[1]].set(image[rows, columns])
