"""Convolutions in cells: the pixels of a small square become channels of one pixel.

A convolution of images with few channels, or with a stride, is one with stride 1, more channels and a
smaller kernel, which CPUs are several times faster with. x is (..., H, W, C_in), w (..., kh, kw, C_in,
C_out), y and its gradient g (..., H', W', C_out), without padding: H' = (H - kh) // stride + 1.

Cells of x have `side` x `side` pixels, those of y `side / stride`. Each function is linear, so that
`jax.linear_transpose` leads back.
"""

import dataclasses

import jax.numpy as jnp
from jax import lax

from deepinternal.types import Array


@dataclasses.dataclass(frozen=True)
class Cells:
    """How a convolution is cut into cells.

    Attributes:
        side: of a cell of the input, a multiple of `stride`.
        stride: of the convolution.
        kernel: (kh, kw).
        image: (H, W).
    """

    side: int
    stride: int
    kernel: tuple[int, int]
    image: tuple[int, int]

    def _counts(self) -> list[tuple[int, int]]:
        """Cells of the kernel and of the output, for both axes."""
        steps = self.side // self.stride
        return [
            (
                -(-(k + self.stride * (steps - 1)) // self.side),
                -(-((size - k) // self.stride + 1) // steps),
            )
            for k, size in zip(self.kernel, self.image, strict=True)
        ]

    @property
    def cell_kernel(self) -> tuple[int, int]:
        """(kh, kw) of the convolution of cells."""
        return tuple(kernel for kernel, _ in self._counts())

    @property
    def cell_image(self) -> tuple[int, int]:
        """(H, W) of its input."""
        return tuple(kernel + output - 1 for kernel, output in self._counts())

    def of_input(self, x: Array) -> Array:
        """Cells of x."""
        return _gather(x, self.cell_image, self.side)

    def of_output(self, y: Array) -> Array:
        """Cells of y, or of g."""
        return _gather(y, tuple(output for _, output in self._counts()), self.side // self.stride)

    def of_kernel(self, w: Array) -> Array:
        """The kernel that takes cells of x to cells of y."""
        lead, (kh, kw, c_in, c_out) = w.shape[:-4], w.shape[-4:]
        rows, columns = self.cell_kernel
        side, starts = self.side, range(0, self.side, self.stride)

        def shifted(top: int, left: int) -> Array:
            high, wide = side * rows - kh - top, side * columns - kw - left
            none = [(0, 0)] * len(lead)
            w_here = jnp.pad(w, [*none, (top, high), (left, wide), (0, 0), (0, 0)])
            return w_here.reshape(*lead, rows, side, columns, side, c_in, c_out)

        every = jnp.stack([shifted(i, j) for i in starts for j in starts], -2)
        return jnp.swapaxes(every, -6, -5).reshape(*lead, rows, columns, side * side * c_in, -1)


def _gather(x: Array, count: tuple[int, int], side: int) -> Array:
    """(..., H, W, C) to (..., *count, side^2 C); zeros are added, or pixels dropped, at the end."""
    if side == 1:
        return x
    *lead, h, w, c = x.shape
    edges = [(0, n * side - size, 0) for n, size in zip(count, (h, w), strict=True)]
    none = (0, 0, 0)
    x = lax.pad(x, jnp.zeros((), x.dtype), [*[none] * len(lead), *edges, none])
    x = x.reshape(*lead, count[0], side, count[1], side, c)
    return jnp.swapaxes(x, -4, -3).reshape(*lead, *count, side * side * c)
