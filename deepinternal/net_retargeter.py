"""Makes images of any size and shape with a trained InGAN."""

import dataclasses
import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal import numerics
from deepinternal.codecs import image_io
from deepinternal.engine.memory import free
from deepinternal.methods.ingan import Config, reduced, retargeting
from deepinternal.ops import shear
from deepinternal.ops.patches import sharpening, synthesis
from deepinternal.ops.warping import compose
from deepinternal.resizer import Resizer, Size, grid
from deepinternal.types import Array, InputError, PyTree

Shifts = tuple[float, float]
SMALLEST = 8  # smallest side, in pixels, of an image that is made


@dataclasses.dataclass(frozen=True, repr=False)
class Retargeter(Resizer):
    """A trained generator and the image that it is applied to.

    Attributes:
        config: The config of the method.
        weights: The weights of the generator, see `retargeting.trained`.
        image: The image that the generator is applied to.
    """

    config: Config
    weights: PyTree
    image: image_io.ImageFile

    def applied_to(self, image: image_io.ImageFile) -> "Retargeter":
        """Returns the same net, applied to another image.

        Raises:
            InputError: The image has another number of channels, or is too small.
        """
        have, wants = image.pixels.shape[-1], self.image.pixels.shape[-1]
        if have != wants:
            raise InputError(
                f"{image.path}: has {have} channels, but the net was trained on {wants}; give an "
                "image with the same number"
            )
        reduced(self.config, image.pixels)
        return dataclasses.replace(self, image=image)

    def __repr__(self) -> str:
        height, width, channels = self.image.pixels.shape
        count = sum(x.size for x in jax.tree.leaves(self.weights))
        return f"Retargeter of a {height}x{width}x{channels} image: {count} weights"

    def frames(
        self, wanted: Iterable[tuple[Sequence[int], Any]], *, coherent: bool = False
    ) -> Iterator[np.ndarray]:
        """Makes images one after the other.

        Args:
            wanted: The size and the shifts (or None) of each image, see `make`.
            coherent: Whether each image keeps patches of the previous one, as the frames of a video
                should. Then all images share two compiled programs; otherwise, images whose sides
                differ by less than a factor of 2 share them.

        Yields:
            (H, W, C) float32 in [0, 1].

        Raises:
            InputError: A size or shifts are out of range.
        """
        checked = [(_checked_size(size), _checked_shifts(shifts)) for size, shifts in wanted]
        most = max(h for (h, _), _ in checked), max(w for (_, w), _ in checked)
        sheared = coherent and any(shifts is not None for _, shifts in checked)
        before, last = None, None
        for size, shifts in checked:
            shifts = (shifts or (0.0, 0.0)) if sheared else shifts
            canvas = most if coherent else (_room(size[0], most[0]), _room(size[1], most[1]))
            if coherent:
                before = before or sharpening.none_before(self._factors, canvas)
                before = before._replace(matrix=_from_to(shifts, last or shifts))
            made, places = self._frame(size, shifts, canvas, before)
            yield np.asarray(made[: size[0], : size[1]])
            if before:
                sizes = _at_scales(self._factors, size)
                before = before._replace(places=places, sizes=sizes, used=jnp.asarray(True))
                last = shifts

    def _frame(
        self,
        size: Size,
        shifts: Shifts | None,
        canvas: Size,
        before: synthesis.Before | None,
    ) -> tuple[Array, tuple[Array, ...]]:
        """Makes an image on a canvas, together with its patch fields."""
        config, full, small, found = self.config, self.image.pixels, self._small, self._factors
        shapes = full.shape[:2], small.shape[:2]
        net_canvas, within = (retargeting.fitted(*shapes, n) for n in (canvas, size))
        moved = None if shifts is None else jnp.array(shifts, jnp.float32)
        net_size = jnp.array(within, jnp.int32)

        generate = lambda w, x, s, n: retargeting.generate(
            config, w, x, net_canvas, shifts=s, within=n
        )
        given: tuple[Any, ...] = (self.weights, small, moved, net_size)
        made = self._program(("net", net_canvas, moved is None), generate, given)(*given)

        sharp = lambda made, full, n, sizes, s, before: sharpening.sharp(
            made, full, found, canvas, size=n, sizes=sizes, shifts=s, before=before
        )
        given = (made, full, net_size, _at_scales(found, size), moved, before)
        key = ("full", canvas, moved is None, before is None)
        return self._program(key, sharp, given)(*given)

    def _program(self, key: tuple, function: Callable, given: tuple) -> Callable:
        """Returns a function compiled for its arguments, once for each key, if memory allows.

        Args:
            key: What distinguishes the program, among it the size (H, W) of the image it makes.
            function: The function.
            given: Its arguments.
        """
        if key not in self._programs:
            program = jax.jit(function).lower(*given).compile()
            analysis, room = program.memory_analysis(), free(jax.local_devices()[0])
            needed = analysis.temp_size_in_bytes + analysis.output_size_in_bytes if analysis else 0
            if needed > room:
                height, width = key[1]
                raise InputError(
                    f"size {height}x{width}{' of the net' * (key[0] == 'net')} takes "
                    f"{needed / 1e9:.1f} GB of memory, but only {room / 1e9:.1f} GB are free; give "
                    "a smaller size"
                )
            self._programs[key] = program
        return self._programs[key]

    @functools.cached_property
    def _programs(self) -> dict[tuple, Callable]:
        return {}

    @functools.cached_property
    def _factors(self) -> tuple[float, ...]:
        """The factors of the scales of patches."""
        full, small = self.image.pixels.shape[:2], self._small.shape[:2]
        return retargeting.patch_factors(self.config, full, small)

    @functools.cached_property
    def _small(self) -> np.ndarray:
        return reduced(self.config, self.image.pixels)

    @numerics.entry
    def shapes(self, shifts: Sequence[float] = (-0.45, -0.2, 0.0, 0.2, 0.45)) -> np.ndarray:
        """Returns a (H, W, C) grid of non-rectangular images for all pairs of shifts."""
        size, pairs = self.image.pixels.shape[:2], itertools.product(shifts, shifts)
        images = list(self.frames([(size, pair) for pair in pairs]))
        return grid(images, len(shifts))


def _room(side: int, most: int) -> int:
    """Returns the side of the canvas for an image: `most`, halved as often as the image still fits."""
    while (half := -(-most // 2)) >= side and half < most:
        most = half
    return most


def _at_scales(found: Sequence[float], size: Size) -> Array:
    """Returns the sizes (S, 2) at the scales of patches; without scales, the size itself (1, 2)."""
    return jnp.array(sharpening.scale_sizes(found, size), jnp.int32)


def _from_to(shifts: Shifts | None, before: Shifts | None) -> Array:
    """Returns the 3x3 matrix from coordinates of a shape to those of the previous shape."""
    if shifts is None or before is None:
        return jnp.eye(3)
    here, there = (shear.homography(jnp.array(s, jnp.float32)) for s in (shifts, before))
    return compose(shear.inverse(there), here)


def _checked_size(size: Any) -> Size:
    try:
        height, width = (operator.index(n) for n in size)
    except (TypeError, ValueError):
        raise InputError(f"size={size!r}: give (height, width) in pixels, whole numbers") from None
    if min(height, width) < SMALLEST:
        raise InputError(f"size {height}x{width}: both sides must be at least {SMALLEST} pixels")
    return height, width


def _checked_shifts(shifts: Any) -> Shifts | None:
    if shifts is None:
        return None
    try:
        s0, s1 = map(float, shifts)
    except (TypeError, ValueError):
        raise InputError(f"shifts={shifts!r}: give two numbers") from None
    if not (abs(s0) <= 0.9 and abs(s1) <= 0.9 and abs(s0 + s1) < 0.95):
        raise InputError(
            f"shifts {s0:g},{s1:g}: each must be from -0.9 to 0.9, and their sum within 0.95"
        )
    return s0, s1
