"""What all ways to make an image again at other sizes have in common."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepinternal import numerics
from deepinternal.codecs import image_io
from deepinternal.config import spelled
from deepinternal.files import file_name
from deepinternal.methods.ingan import paths, retargeting
from deepinternal.methods.ingan.config import parse_scale
from deepinternal.types import InputError

Size = tuple[int, int]


class Resizer:
    """What makes an image again at other sizes: `frames` makes them, and `make` a single one.

    Attributes:
        image: The image.
    """

    image: image_io.ImageFile

    def make(self, size: Sequence[int], *, shifts: Sequence[float] | None = None) -> np.ndarray:
        """Makes an image (H, W, C) float32 in [0, 1] of a size (H, W) in pixels."""
        (made,) = self.frames([(size, shifts)])
        return made

    def frames(
        self, wanted: Iterable[tuple[Sequence[int], Any]], *, coherent: bool = False
    ) -> Iterator[np.ndarray]:
        """Makes images of the wanted sizes and shifts one after the other, see `Retargeter`."""
        raise NotImplementedError

    def shapes(self) -> np.ndarray:
        """Makes a grid (H, W, C) of non-rectangular images."""
        raise NotImplementedError

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

    @numerics.entry
    def write(self, path: Path, sizes: Sequence[tuple[int, int]]) -> list[Path]:
        """Writes images of these sizes; several are named PATH-HxW. Returns their paths."""
        named = lambda size: path.with_name(
            file_name(path.stem, "-{}x{}{}".format(*size, path.suffix))
        )
        files = [path] if len(sizes) == 1 else [named(size) for size in sizes]
        for file, made in zip(files, self.frames([(size, None) for size in sizes])):
            depth = self.image.bit_depth
            image_io.write_image(file, made, bit_depth=depth, about=self.image.metadata)
        return files

    @numerics.entry
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
        wanted = [(size, frame[2:] if any(frame[2:]) else None) for size, frame in zip(sizes, way)]
        for onto, made in zip(canvas, self.frames(wanted, coherent=True), strict=True):
            (h, w), (top, left) = made.shape[:2], map(_middle, onto.shape, made.shape[:2])
            onto[top : top + h, left : left + w] = made
        return canvas

    @numerics.entry
    def collage(self, factors: Sequence[float] = (2, 1.25, 1, 0.66, 0.33)) -> np.ndarray:
        """Returns a (H, W, C) grid of images for all pairs of factors, with the input framed."""
        pairs, full = list(itertools.product(factors, factors)), self.image.pixels
        sizes = [retargeting.target(full.shape[:2], pair) for pair in pairs if pair != (1, 1)]
        made = self.frames([(size, None) for size in sizes])
        images = [retargeting.framed(full) if pair == (1, 1) else next(made) for pair in pairs]
        return retargeting.grid(rows(images, len(factors)))


def parse_size(text: str) -> tuple[int, int]:
    """Parses a size (H, W). Raises InputError unless the text is two whole numbers."""
    try:
        height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--size={text}: give height,width in pixels, such as 224,544") from None
    return height, width


def rows(images: list, length: int) -> list[list]:
    """Cuts a list into lists of a length."""
    return [images[i : i + length] for i in range(0, len(images), length)]


def _middle(outer: int, inner: int) -> int:
    return (outer - inner) // 2
