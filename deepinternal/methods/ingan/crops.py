"""The inputs of InGAN's nets in a step: random crops, with swapped rectangles, and with noise."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from deepinternal.types import Array

_SEAM = 5  # pixels on both sides of a swapped rectangle's border that the loss ignores


def crops(key: Array, images: Sequence[Array], size: tuple[int, int]) -> Array:
    """Takes a random crop of each image.

    Args:
        key: The key of the draw.
        images: N images (H, W, C) in [0, 1], possibly of different sizes.
        size: (h, w) of the crops.

    Returns:
        (N, h, w, C) in [-1, 1].
    """
    found = []
    for number, image in enumerate(images):
        room = jnp.array(image.shape[:2]) - jnp.array(size) + 1
        where = jax.random.uniform(jax.random.fold_in(key, number), (2,)) * room
        start = (*jnp.floor(where).astype(jnp.int32), 0)
        found.append(jax.lax.dynamic_slice(image, start, (*size, image.shape[-1])))
    return 2 * jnp.stack(found) - 1


def swapped(key: Array, x: Array) -> tuple[Array, Array]:
    """Swaps two random rectangles of the images.

    Args:
        key: The key of the draw, which is the same for all images.
        x: (N, h, w, C).

    Returns:
        The images (N, h, w, C), and a mask (h, w, 1) that is 0 near the rectangles' borders and 1
        elsewhere.
    """
    h, w = x.shape[1:3]
    drawn = jax.random.uniform(key, (6,))
    limit = jnp.array([h, w], jnp.float32)
    low = jnp.minimum(32.0, limit / 4)
    sides = jnp.floor(low + drawn[:2] * (jnp.minimum(256.0, limit / 2) - low))
    corners = jnp.floor(drawn[2:].reshape(2, 2) * (limit - sides + 1))
    y, x_ = (jnp.arange(n, dtype=jnp.float32) for n in (h, w))

    def within(corner, margin):
        """Which pixels (h, w) lie in the rectangle widened by a margin."""
        rows = (y >= corner[0] - margin) & (y < corner[0] + sides[0] + margin)
        columns = (x_ >= corner[1] - margin) & (x_ < corner[1] + sides[1] + margin)
        return rows[:, None] & columns

    rows, columns = jnp.broadcast_to(y[:, None], (h, w)), jnp.broadcast_to(x_, (h, w))
    seams = jnp.zeros((h, w), bool)
    for here, there in (corners, corners[::-1]):
        chosen = within(here, 0)
        rows = jnp.where(chosen, y[:, None] + there[0] - here[0], rows)
        columns = jnp.where(chosen, x_ + there[1] - here[1], columns)
        seams |= within(here, _SEAM) & ~within(here, -_SEAM)
    places = (rows * w + columns).astype(jnp.int32).reshape(-1)
    flat = x.reshape(x.shape[0], h * w, -1)
    return flat[:, places].reshape(x.shape), (~seams)[..., None].astype(jnp.float32)


def noisy(key: Array, x: Array, noise_std: float) -> Array:
    """Adds uniform noise.

    Args:
        key: The key of the draw.
        x: An array of any shape in [-1, 1].
        noise_std: Standard deviation of the noise, for images in [0, 1].
    """
    most = 2 * math.sqrt(3) * noise_std
    noise = jax.random.uniform(key, (x.size,), minval=-most, maxval=most)
    return x + noise.reshape(x.shape)
