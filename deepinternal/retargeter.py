"""Trains an InGAN, or loads one from a work folder, and makes images of any size and shape."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal import numerics
from deepinternal.codecs import image_io
from deepinternal.config import spelled
from deepinternal.engine.memory import free
from deepinternal.files import file_name
from deepinternal.in_memory import train_task
from deepinternal.loading import Folder
from deepinternal.methods.ingan import RECIPE, Config, paths, reduced, retargeting
from deepinternal.methods.ingan.config import parse_scale
from deepinternal.ops import shear
from deepinternal.result import Result
from deepinternal.task import Image, read
from deepinternal.types import Callback, InputError, PyTree

SMALLEST = 8  # side of an image that is made, in pixels


@dataclasses.dataclass(frozen=True, repr=False)
class Retargeter:
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

    def size(self, scale: Any) -> tuple[int, int]:
        """Returns the size (H, W) of an image at a scale.

        Args:
            scale: A factor, or (vertical, horizontal) factors, from 0.05 to 8; or text such as
                '1,2'.

        Raises:
            InputError: The scale is anything else.
        """
        text = spelled(scale)
        try:
            return retargeting.target(self.image.pixels.shape[:2], parse_scale(text))
        except ValueError as error:
            raise InputError(f"scale={text}: {error}") from None

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
        height, width = size = _checked_size(size)
        if min(size) < SMALLEST:
            raise InputError(
                f"size {height}x{width}: both sides must be at least {SMALLEST} pixels"
            )
        full, small = self.image.pixels, self._small
        net_size = retargeting.fitted(full.shape[:2], small.shape[:2], size)
        given: tuple[Any, ...] = (self.weights, small)
        if shifts is not None:
            s0, s1 = _checked_shifts(shifts)
            if not (abs(s0) <= 0.9 and abs(s1) <= 0.9 and abs(s0 + s1) < 0.95):
                raise InputError(
                    f"shifts {s0:g},{s1:g}: each must be from -0.9 to 0.9, and their sum "
                    "within 0.95"
                )
            given += (jnp.array([s0, s1], jnp.float32),)
        config, options = self.config, len(given)
        generate = lambda w, x, s=None: retargeting.generate(config, w, x, net_size, shifts=s)
        made = self._program(("net", net_size, options), generate, given)(*given)
        if net_size != tuple(size):
            detail, parts = config.detail, (made, small, full)
            bring = lambda x, small, full: retargeting.brought_to(x, size, small, full, detail)
            made = self._program(("full", tuple(size)), bring, parts)(*parts)
        if shifts is not None and net_size != tuple(size):
            inside = shear.inside(shear.homography(given[-1]), size)
            made = jnp.where(inside[..., None], made, 1.0)
        return np.asarray(made)

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
    def _small(self) -> np.ndarray:
        return reduced(self.config, self.image.pixels)

    def write(self, path: Path, sizes: Sequence[tuple[int, int]]) -> list[Path]:
        """Writes images of these sizes; several are named PATH-HxW. Returns their paths."""
        named = lambda size: path.with_name(
            file_name(path.stem, "-{}x{}{}".format(*size, path.suffix))
        )
        files = [path] if len(sizes) == 1 else [named(size) for size in sizes]
        for file, size in zip(files, sizes):
            made, depth = self.make(size), self.image.bit_depth
            image_io.write_image(file, made, bit_depth=depth, about=self.image.metadata)
        return files

    def video(self, name: str, *, frames: int = 60, seed: int = 0) -> np.ndarray:
        """Makes the frames of a video along a named path, centred on a white canvas.

        Args:
            name: The name of the path, see `methods.ingan.paths`.
            frames: The number of frames.
            seed: The seed of the path 'random'.

        Returns:
            (T, H, W, C) float32 in [0, 1].

        Raises:
            InputError: The path is unknown, or there are fewer than 2 frames.
        """
        if name not in paths.NAMES:
            raise InputError(f"video path {name!r}: choose one of {', '.join(paths.NAMES)}")
        if frames < 2:
            raise InputError(f"{frames} frames: a video has at least 2")
        way = paths.path(name, frames, seed=seed)
        *_, channels = shape = self.image.pixels.shape
        sizes = [retargeting.target(shape[:2], frame[:2]) for frame in way]
        height, width = map(max, zip(*sizes))
        canvas = np.ones((frames, height, width, channels), np.float32)
        for frame, (h, w), onto in zip(way, sizes, canvas):
            shifts = frame[2:] if any(frame[2:]) else None
            top, left = (height - h) // 2, (width - w) // 2
            onto[top : top + h, left : left + w] = self.make((h, w), shifts=shifts)
        return canvas

    def collage(self, factors: Sequence[float] = (2, 1.25, 1, 0.66, 0.33)) -> np.ndarray:
        """Returns a (H, W, C) grid of images for all pairs of factors, with the input framed."""
        made = lambda scale: self.make(retargeting.target(self.image.pixels.shape[:2], scale))
        framed = lambda scale: (
            retargeting.framed(self.image.pixels) if scale == (1, 1) else made(scale)
        )
        return retargeting.grid([[framed((v, h)) for h in factors] for v in factors])

    def shapes(self, shifts: Sequence[float] = (-0.45, -0.2, 0.0, 0.2, 0.45)) -> np.ndarray:
        """Returns a (H, W, C) grid of non-rectangular images for all pairs of shifts."""
        size = self.image.pixels.shape[:2]
        return retargeting.grid(
            [[self.make(size, shifts=(s0, s1)) for s1 in shifts] for s0 in shifts]
        )


def _checked_size(size: Any) -> tuple[int, int]:
    try:
        height, width = (operator.index(n) for n in size)
    except (TypeError, ValueError):
        raise InputError(f"size={size!r}: give (height, width) in pixels, whole numbers") from None
    return height, width


def _checked_shifts(shifts: Any) -> tuple[float, float]:
    try:
        first, second = map(float, shifts)
    except (TypeError, ValueError):
        raise InputError(f"shifts={shifts!r}: give two numbers") from None
    return first, second


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
    trained: Retargeter | Result,
    size: Sequence[int] | None = None,
    *,
    scale: float | tuple[float, float] | None = None,
    shifts: tuple[float, float] | None = None,
) -> np.ndarray:
    """Makes an image of another size or shape with a trained InGAN.

    Args:
        trained: A result of `train_retargeter`, or of `load` for a work folder of InGAN.
        size: (H, W) in pixels.
        scale: A factor, or (vertical, horizontal) factors, from 0.05 to 8; instead of `size`.
        shifts: The shifts of two corners, for a shape with white around it; see `ops.shear`.

    Returns:
        (H, W, C) float32 in [0, 1], C = 1 or 3.

    Raises:
        InputError: Both or neither of `size` and `scale` are given, or one is out of range.
    """
    if isinstance(trained, Result):
        trained = of_result(trained)
    if not isinstance(trained, Retargeter):
        raise InputError(
            f"trained: is of type {type(trained).__name__}; give the result of train_retargeter"
        )
    if (size is None) == (scale is None):
        raise InputError("retarget: give size=(H, W) or scale=(vertical, horizontal)")
    return trained.make(trained.size(scale) if size is None else size, shifts=shifts)


def parse_size(text: str) -> tuple[int, int]:
    """Parses a size (H, W). Raises InputError unless the text is two whole numbers."""
    try:
        height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--size={text}: give height,width in pixels, such as 224,544") from None
    return height, width


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
