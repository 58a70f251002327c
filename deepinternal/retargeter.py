"""A trained InGAN: made by a call, or read from a work folder; applied to any size and shape."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.codecs import image_io
from deepinternal.config import spelled
from deepinternal.engine.telemetry import free_memory
from deepinternal.in_memory import train_task
from deepinternal.loading import Folder
from deepinternal.methods.ingan import RECIPE, Config, paths, reduced, retargeting
from deepinternal.methods.ingan.config import parse_scale
from deepinternal.ops import shear
from deepinternal.result import Result
from deepinternal.task import Image, read
from deepinternal.types import Callback, InputError, PyTree


@dataclasses.dataclass(frozen=True, repr=False)
class Retargeter:
    """A trained generator and the image that it is applied to.

    Attributes:
        config: of the method.
        weights: of the generator, see `retargeting.trained`.
        image: what it is applied to.
    """

    config: Config
    weights: PyTree
    image: image_io.ImageFile

    def applied_to(self, image: image_io.ImageFile) -> "Retargeter":
        """The same net, applied to another image.

        Raises:
            InputError: it has another number of channels, or is too small.
        """
        have, wants = image.pixels.shape[-1], self.image.pixels.shape[-1]
        if have != wants:
            raise InputError(
                f"{image.path}: has {have} channels, the net was trained on {wants}: give an image "
                "of as many"
            )
        reduced(self.config, image.pixels)
        return dataclasses.replace(self, image=image)

    def size(self, scale: Any) -> tuple[int, int]:
        """The size (H, W) of an image at a scale.

        Args:
            scale: factor, or (vertical, horizontal) factors, from 0.05 to 8; or such as text: '1,2'.

        Raises:
            InputError: something else.
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

    def make(self, size: Sequence[int], *, shifts: Sequence[float] | None = None) -> np.ndarray:
        """An image of a size, or of a shape with white around it.

        Args:
            size: (H, W) in pixels, both at least 8.
            shifts: of two corners, see `ops.shear`; |s0 + s1| < 0.95.

        Returns:
            (H, W, C) float32 in [0, 1].

        Raises:
            InputError: a size or shifts out of range.
        """
        height, width = size = _checked_size(size)
        if min(size) < 8:
            raise InputError(f"size {height}x{width}: both sides must be at least 8 pixels")
        full, small = self.image.pixels, self._small
        net_size = retargeting.fitted(full.shape[:2], small.shape[:2], size)
        given: tuple[Any, ...] = (self.weights, small)
        if shifts is not None:
            s0, s1 = _checked_shifts(shifts)
            if not (abs(s0) <= 0.9 and abs(s1) <= 0.9 and abs(s0 + s1) < 0.95):
                raise InputError(
                    f"shifts {s0:g},{s1:g}: each must be from -0.9 to 0.9, and their sum within 0.95"
                )
            given += (jnp.array([s0, s1], jnp.float32),)
        made = self._program(net_size, given)(*given)
        made = _brought_to(made, size, small, full, self.config.detail)
        if shifts is not None and made.shape[:2] != net_size:
            inside = shear.inside(shear.homography(given[-1]), size)
            made = jnp.where(inside[..., None], made, 1.0)
        return np.asarray(made)

    def _program(self, size: tuple[int, int], given: tuple) -> Callable:
        """`retargeting.generate` at a size of the net, compiled once, if memory allows."""
        key = size, len(given)
        if key not in self._programs:
            function = lambda w, x, s=None: retargeting.generate(self.config, w, x, size, shifts=s)
            program = jax.jit(function).lower(*given).compile()
            analysis, free = program.memory_analysis(), free_memory(jax.local_devices()[0])
            needed = analysis.temp_size_in_bytes + analysis.output_size_in_bytes if analysis else 0
            if needed > free:
                raise InputError(
                    f"size {size[0]}x{size[1]} of the net takes {needed / 1e9:.1f} GB of memory, "
                    f"{free / 1e9:.1f} GB are free: ask for a smaller one"
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
        """Writes images of these sizes, several to PATH-HxW; returns their paths."""
        named = lambda size: path.with_stem("{}-{}x{}".format(path.stem, *size))
        files = [path] if len(sizes) == 1 else [named(size) for size in sizes]
        for file, size in zip(files, sizes):
            image_io.write_image(file, self.make(size), bit_depth=self.image.bit_depth)
        return files

    def video(self, name: str, *, frames: int = 60, seed: int = 0) -> np.ndarray:
        """Frames along a named path, in the middle of a white canvas.

        Args:
            name: see `methods.ingan.paths`.
            frames: how many.
            seed: of the path 'random'.

        Returns:
            (T, H, W, C) float32 in [0, 1].

        Raises:
            InputError: no such path, or fewer than 2 frames.
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
        """Images of all pairs of factors in one, the input framed among them: (H, W, C) in [0, 1]."""
        made = lambda scale: self.make(retargeting.target(self.image.pixels.shape[:2], scale))
        framed = lambda scale: (
            retargeting.framed(self.image.pixels) if scale == (1, 1) else made(scale)
        )
        return retargeting.grid([[framed((v, h)) for h in factors] for v in factors])

    def shapes(self, shifts: Sequence[float] = (-0.45, -0.2, 0.0, 0.2, 0.45)) -> np.ndarray:
        """Non-rectangular images of all pairs of shifts, in rows: (H, W, C) in [0, 1]."""
        size = self.image.pixels.shape[:2]
        return retargeting.grid(
            [[self.make(size, shifts=(s0, s1)) for s1 in shifts] for s0 in shifts]
        )


_brought_to = jax.jit(retargeting.brought_to, static_argnums=(1, 4))


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
        image: (H, W[, C]); uint8, uint16, or float in [0, 1]. Alpha is left out.
        preset: 'fast'; 'lite', which takes longer; or '' for the published settings; see
            `presets("ingan")`.
        seed: of all random draws.
        progress: as of `run`.
        callback: as of `run`.
        full: whether to return a `Result`, which `retarget` takes, too. Its `outputs` are made when
            they are asked for.
        **options: fields of the config, see `fields("ingan")`.

    Returns:
        What `retarget` takes: a `Retargeter`, or with `full` a `Result`.

    Raises:
        InputError: an image or an option that cannot be used.

    References:
        Shocher, Bagon, Isola, Irani: InGAN. ICCV 2019.
    """
    config = RECIPE.build(preset, **{**options, "seed": seed, "together": False})
    task = read(RECIPE, config, image, {}, {})
    result = train_task(task, progress=progress, callback=callback)
    return result if full else of_result(result)


def of_result(result: Result) -> Retargeter:
    """The generator of a run of InGAN, and the (first) image that it was trained on.

    Raises:
        InputError: a run of another method.
    """
    if result.task is None or result.task.recipe.name != RECIPE.name:
        raise InputError(
            f"trained: is a run of {result.method.name!r}; give what train_retargeter or load returns "
            "for 'ingan'"
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
        trained: as `train_retargeter` returns it, or `load` of a work folder of InGAN.
        size: (H, W) in pixels; or
        scale: factor, or (vertical, horizontal) factors, from 0.05 to 8.
        shifts: of two corners, for a shape with white around it, see `ops.shear`.

    Returns:
        (H, W, C) float32 in [0, 1], C = 1 or 3.

    Raises:
        InputError: both or neither of size and scale, or one out of range.
    """
    if isinstance(trained, Result):
        trained = of_result(trained)
    if not isinstance(trained, Retargeter):
        raise InputError(
            f"trained: is of type {type(trained).__name__}; give what train_retargeter returns"
        )
    if (size is None) == (scale is None):
        raise InputError("retarget: give size=(H, W) or scale=(vertical, horizontal)")
    return trained.make(trained.size(scale) if size is None else size, shifts=shifts)


def parse_size(text: str) -> tuple[int, int]:
    """A size (H, W) from text. Raises InputError where no two whole numbers stand there."""
    try:
        height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--size={text}: give height,width in pixels, such as 224,544") from None
    return height, width


def load(workdir: str, stem: str = "", *, step: int | None = None) -> Retargeter:
    """The trained net of a work folder, from its newest checkpoint that can be read.

    Args:
        workdir: as given to `launch.main`.
        stem: which of its images; may be left empty where there is one.
        step: of a permanent checkpoint (`config.snapshot_every`), instead of the newest.

    Raises:
        InputError: no such folder, no trained InGAN in it, several and no stem; no such checkpoint.
    """
    return of_result(Folder(workdir, dashes="--", method=RECIPE.name).load(stem, step=step))
