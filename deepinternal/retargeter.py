"""Trains an InGAN, or loads one from a work folder, and makes images of any size and shape."""

import dataclasses
import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from deepinternal import numerics
from deepinternal.codecs import image_io
from deepinternal.engine.memory import free
from deepinternal.in_memory import run, train_task
from deepinternal.loading import Folder
from deepinternal.methods.ingan import RECIPE, Config, reduced, retargeting, sharpening
from deepinternal.ops import shear
from deepinternal.ops.patches import synthesis
from deepinternal.ops.warping import compose
from deepinternal.recipe import preset_names
from deepinternal.resizer import Resizer, Size, rows
from deepinternal.result import Result
from deepinternal.task import Image, read
from deepinternal.types import Array, Callback, InputError, PyTree

Shifts = tuple[float, float]
SMALLEST = 8  # side of an image that is made, in pixels


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

    @numerics.entry
    def make(self, size: Sequence[int], *, shifts: Sequence[float] | None = None) -> np.ndarray:
        """Makes an image of a given size, optionally sheared, with white around it.

        Args:
            size: (H, W) in pixels, both at least 8.
            shifts: The shifts of two corners, see `ops.shear`; |s0 + s1| < 0.95.

        Returns:
            (H, W, C) float32 in [0, 1].

        Raises:
            InputError: The size or the shifts are out of range.
        """
        (made,) = self.frames([(size, shifts)])
        return made

    def frames(
        self, wanted: Iterable[tuple[Sequence[int], Any]], *, coherent: bool = False
    ) -> Iterator[np.ndarray]:
        """Makes images one after the other.

        Args:
            wanted: The size and the shifts (or None) of each image, see `make`.
            coherent: Whether each image keeps patches of the one before, as the frames of a video
                should. All of them then share two compiled programs, and otherwise images whose sides
                are within a factor of 2.

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
                before = before or self._first(canvas)
                before = before._replace(matrix=_from_to(shifts, last or shifts))
            made, places = self._frame(size, shifts, canvas, before)
            yield np.asarray(made[: size[0], : size[1]])
            if before:
                sizes = _at_scales(self._factors, size)
                before = before._replace(places=places, sizes=sizes, used=jnp.asarray(True))
                last = shifts

    def _first(self, canvas: Size) -> synthesis.Before:
        """What takes the place of the frame before the first one."""
        places = tuple(map(jnp.asarray, sharpening.no_places(self._factors, canvas)))
        sizes = _at_scales(self._factors, canvas)
        return synthesis.Before(places, sizes, jnp.eye(3), jnp.asarray(False))

    def _frame(
        self,
        size: Size,
        shifts: Shifts | None,
        canvas: Size,
        before: synthesis.Before | None,
    ) -> tuple[Array, tuple[Array, ...]]:
        """Makes an image on a canvas, and its fields of patches."""
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
        return sharpening.factors(self.config, self.image.pixels.shape[:2], self._small.shape[:2])

    @functools.cached_property
    def _small(self) -> np.ndarray:
        return reduced(self.config, self.image.pixels)

    @numerics.entry
    def shapes(self, shifts: Sequence[float] = (-0.45, -0.2, 0.0, 0.2, 0.45)) -> np.ndarray:
        """Returns a (H, W, C) grid of non-rectangular images for all pairs of shifts."""
        size, pairs = self.image.pixels.shape[:2], itertools.product(shifts, shifts)
        images = list(self.frames([(size, pair) for pair in pairs]))
        return retargeting.grid(rows(images, len(shifts)))


def _room(side: int, most: int) -> int:
    """The side of the canvas for an image: `most` halved as often as the image still fits."""
    while (half := -(-most // 2)) >= side and half < most:
        most = half
    return most


def _at_scales(found: Sequence[float], size: Size) -> Array:
    """The sizes (S, 2) at the scales of patches; without any, the size itself (1, 2)."""
    return jnp.array(sharpening.scale_sizes(found, size) if found else [size], jnp.int32)


def _from_to(shifts: Shifts | None, before: Shifts | None) -> Array:
    """The 3x3 matrix from coordinates of a shape to those of the shape before, see `ops.shear`."""
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


@numerics.entry
def train_retargeter(
    image: Image,
    *,
    preset: str = "fast",
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    full: bool = False,
    **options: Any,
) -> Any:
    """Trains an InGAN on one image.

    Args:
        image: (H, W[, C]); uint8, uint16, or float in [0, 1]. Alpha is ignored.
        preset: 'fast', 'lite', which takes longer, or '' for the published settings; see
            `presets("ingan")`.
        seed: The seed of all random draws.
        progress: See `run`.
        callback: See `run`.
        full: Whether to return a `Result`, which `retarget` also takes. Its `outputs` are computed
            on first access.
        **options: Fields of the config; see `fields("ingan")`.

    Returns:
        A `Retargeter` for `retarget`, or with `full` a `Result`.

    Raises:
        InputError: The image or an option cannot be used.

    References:
        Shocher, Bagon, Isola, Irani: InGAN. ICCV 2019.
    """
    config = RECIPE.build(preset, **{**options, "seed": seed, "together": False})
    task = read(RECIPE, config, image, {}, {})
    result = train_task(task, progress=progress, callback=callback)
    return result if full else of_result(result)


def of_result(result: Result) -> Retargeter:
    """Returns the generator of a run of InGAN, with the (first) image that it was trained on.

    Raises:
        InputError: The run is of another method.
    """
    if result.task is None or result.task.recipe.name != RECIPE.name:
        raise InputError(
            f"trained: is a run of {result.method.name!r}; give the result of train_retargeter, "
            "or of load for 'ingan'"
        )
    config = cast(Config, result.task.config).replace(together=False)
    return Retargeter(config, result.params["generator"], result.task.source.images[0])


def retarget(
    image: Retargeter | Result | ArrayLike,
    size: Sequence[int] | None = None,
    *,
    scale: float | tuple[float, float] | None = None,
    shifts: tuple[float, float] | None = None,
    preset: str = "fast",
    full: bool = False,
    **options: Any,
) -> Any:
    """Makes an image of another size from the patches of an image, or with a trained InGAN.

    Args:
        image: (H, W[, C]); uint8, uint16, or float in [0, 1]: the method 'patches' runs on it. Or a
            result of `train_retargeter`, or of `load` for a work folder of InGAN.
        size: (H', W') in pixels.
        scale: A factor, or (vertical, horizontal) factors, from 0.05 to 8; instead of `size`.
        shifts: With a trained InGAN, the shifts of two corners, for a shape with white around it;
            see `ops.shear`.
        preset: For an image: 'fast' (the defaults), 'bidir', 'seams', ...; see
            `presets("patches")`.
        full: For an image: whether to return a `Result`; see `run`.
        **options: For an image: `seed`, `progress` and `callback`, see `run`, and fields of the
            config, see `fields("patches")`.

    Returns:
        The image (H', W'[, C]), in the dtype of `image` (float32 for floats), or with `full` a
        `Result`. From a trained InGAN: (H', W', C) float32 in [0, 1], C = 1 or 3.

    Raises:
        InputError: Both or neither of `size` and `scale` are given, or the image or an option cannot
            be used.

    Example:
        >>> import numpy as np, deepinternal as di
        >>> image = np.tile(np.uint8([[0, 255], [255, 0]]), (24, 30))
        >>> di.retarget(image, scale=(1, 1.5), preset="smoke").shape
        (48, 90)

    References:
        Granot, Feinstein, Shocher, Bagon, Irani: Drop the GAN: In Defense of Patches Nearest
        Neighbors as Single Image Generative Models. CVPR 2022.
    """
    trained = of_result(image) if isinstance(image, Result) else image
    if (size is None) == (scale is None):
        raise InputError("retarget: give size=(H, W) or scale=(vertical, horizontal)")
    if isinstance(trained, Retargeter):
        if full or options:
            name = next(iter(options), "full")
            raise InputError(f"{name}: is for images; a trained InGAN takes size, scale and shifts")
        return trained.make(trained.size(scale) if size is None else size, shifts=shifts)
    if shifts is not None:
        raise InputError("shifts: need a trained InGAN; give the result of train_retargeter")
    options |= {"result_size": size, "result_scale": scale, "full": full}
    made = run("patches", trained, preset=f"retarget,{preset_names(preset)}", **options)
    return made if full else made["result"]


def load(workdir: str, stem: str = "", *, step: int | None = None) -> Retargeter:
    """Loads the trained net of a work folder from its newest readable checkpoint.

    Args:
        workdir: The folder that was given to `launch.main`.
        stem: The name of an image in it; may be empty if there is only one.
        step: The step of a permanent checkpoint (`config.snapshot_every`) to load instead of the
            newest.

    Raises:
        InputError: The folder does not exist or holds no trained InGAN, it holds several and no
            stem is given, or the checkpoint does not exist.
    """
    return of_result(Folder(workdir, dashes="--", method=RECIPE.name).load(stem, step=step))
