"""Groups of similar patches: where they are formed and found, and how their estimates are added up.

A step treats one strip of rows of groups, so that large images need bounded memory and can be resumed.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array

_STRIP = 1024  # approximate number of groups in a step
_CACHED = 128  # approximate number of groups whose patches fit into the cache of a CPU


@dataclasses.dataclass(frozen=True)
class Plan:
    """The static part of a pass over an image of a given size."""

    shape: tuple[int, int, int]
    patch: int
    group: int
    estimated: int
    stride: int
    reach: int
    second: bool

    @property
    def settings(self) -> tuple[int, ...]:
        """Everything but the image's size, which may differ between images on one canvas."""
        return dataclasses.astuple(dataclasses.replace(self, shape=self.shape[2:]))

    def count(self, axis: int) -> int:
        """The greatest number of rows or columns of groups."""
        return -(-(self.shape[axis] - self.patch) // self.stride) + 1

    @property
    def rows(self) -> int:
        """The number of rows of groups in a strip."""
        return min(max(_STRIP // self.count(1), 1), self.count(0))

    @property
    def strips(self) -> int:
        """The greatest number of strips."""
        return -(-self.count(0) // self.rows)

    @property
    def span(self) -> int:
        """The number of rows of the image that the patches of a strip cover."""
        return min((self.rows - 1) * self.stride + self.patch, self.shape[0])

    @property
    def window(self) -> int:
        """The number of rows of the image that a strip needs."""
        return min(self.span + 2 * self.reach, self.shape[0])

    def places(self, numbers: Array, length: Array | int) -> tuple[Array, Array]:
        """Returns where groups are formed along an axis, and whether there are that many.

        Args:
            numbers: The numbers of the rows or columns of groups.
            length: The length of the image along that axis.
        """
        last = length - self.patch
        regular = numbers * self.stride
        return jnp.minimum(regular, last), regular < last + self.stride


def cut(image: Array, places: Array, patch: int) -> Array:
    """Cuts patches (..., patch, patch, C) at places (..., 2)."""
    offsets = jnp.arange(patch)
    rows = places[..., 0, None, None] + offsets[:, None]
    return image[rows, places[..., 1, None, None] + offsets]


def find_groups(plan: Plan, luma: Array, rows: Array, width: Array | int) -> Array:
    """Finds the patches that are most similar to those of one strip, by luma.

    Args:
        plan: The pass.
        luma: (window, W), infinite where there is no image.
        rows: The rows of groups, relative to the window.
        width: The width of the image.

    Returns:
        The places (groups, group, 2), relative to the window.
    """
    patch, reach, count = plan.patch, plan.reach, plan.count(1)
    columns, _ = plan.places(jnp.arange(count), width)
    total, top = luma.shape[1], jnp.minimum(rows[0], luma.shape[0] - plan.span)
    here = lax.dynamic_slice_in_dim(luma, top, plan.span)
    padded = jnp.pad(luma, reach, constant_values=jnp.inf)
    side, regular = 2 * reach + 1, jnp.arange(count) * plan.stride <= width - patch

    def distance(shift):
        there = lax.dynamic_slice(padded, (top + shift // side, shift % side), here.shape)
        error = (here - there) ** 2
        sums = sum(error[:, i : total - patch + 1 + i] for i in range(patch))
        last = lax.dynamic_slice_in_dim(sums, width - patch, 1, axis=1)
        sums = jnp.pad(sums[:, :: plan.stride], ((0, 0), (0, 1)))[:, :count]
        sums = jnp.where(regular, sums, last)
        return sum(sums[rows - top + i] for i in range(patch))

    together = None if jax.default_backend() == "cpu" else side
    found = lax.map(distance, jnp.arange(side * side), batch_size=together)
    # Each patch is in its own group even if all patches are equal, so that all pixels are estimated.
    found = jnp.moveaxis(found.at[side**2 // 2].set(-1), 0, -1)
    shift = lax.top_k(-found, plan.group)[1]
    place_rows = rows[:, None, None] + shift // side - reach
    place_columns = columns[:, None] + shift % side - reach
    return jnp.stack([place_rows, place_columns], axis=-1).reshape(-1, plan.group, 2)


def add_patches(total: Array, places: Array, patches: Array) -> Array:
    """Adds patches (groups, estimated, patch, patch, C) to an image at places."""
    windows = lax.ScatterDimensionNumbers(
        update_window_dims=(1, 2, 3),
        inserted_window_dims=(),
        scatter_dims_to_operand_dims=(0, 1),
    )
    patches = patches.reshape(-1, *patches.shape[2:])
    return lax.scatter_add(total, places.reshape(-1, 2), patches, windows, mode="promise_in_bounds")


def in_parts(body, carry, places: Array, real: Array):
    """Scans over parts of the groups on a CPU, so that their patches stay in its cache.

    Args:
        body: `(carry, (places, real)) -> carry, loss`.
        carry: Its first argument.
        places: (N, group, 2).
        real: Bool (N,), which of the groups count.
    """
    count = len(real)
    parts = -(-count // _CACHED) if jax.default_backend() == "cpu" else 1
    if parts == 1:
        return body(carry, (places, real))
    length = -(-count // parts)
    missing = parts * length - count
    places = jnp.pad(places, ((0, missing), (0, 0), (0, 0)), mode="edge")
    real = jnp.pad(real, (0, missing))
    split = lambda x: x.reshape(parts, length, *x.shape[1:])
    return lax.scan(body, carry, (split(places), split(real)))
