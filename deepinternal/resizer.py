"""The base class of retargeters, which make an image again at other sizes."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepinternal import numerics, video_paths
from deepinternal.codecs import image_io
from deepinternal.config import spelled
from deepinternal.files import file_name
from deepinternal.methods.factors import parse_scale, scaled
from deepinternal.types import InputError

Size = tuple[int, int]


class Resizer:
    """Makes an image again at other sizes: `frames` makes several images, and `make` makes one.

    Attributes:
        image: The image.
    """

    image: image_io.ImageFile

    @numerics.entry
    def make(self, size: Sequence[int], *, shifts: Sequence[float] | None = None) -> np.ndarray:
        """Makes an image of a given size, optionally sheared, with white around it.

        Args:
            size: (H, W) in pixels; with a net both at least 8.
            shifts: The shifts of two corners, see `ops.shear`, |s0 + s1| < 0.95; only with a net.

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
        """Makes images of the wanted sizes and shifts one after the other, see `make`."""
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
            return scaled(self.image.pixels.shape[:2], parse_scale(text))
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
            name: The name of the path, see `video_paths`.
            frames: The number of frames.
            seed: The seed of the path 'random'.

        Returns:
            (T, H, W, C) float32 in [0, 1].

        Raises:
            InputError: The path is unknown, or there are fewer than 2 frames.
        """
        if name not in video_paths.NAMES:
            raise InputError(f"video path {name!r}: choose one of {', '.join(video_paths.NAMES)}")
        if frames < 2:
            raise InputError(f"{frames} frames: a video has at least 2")
        way = video_paths.path(name, frames, seed=seed)
        *_, channels = shape = self.image.pixels.shape
        sizes = [scaled(shape[:2], frame[:2]) for frame in way]
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
        sizes = [scaled(full.shape[:2], pair) for pair in pairs if pair != (1, 1)]
        made = self.frames([(size, None) for size in sizes])
        images = [_framed(full) if pair == (1, 1) else next(made) for pair in pairs]
        return grid(images, len(factors))


def parse_size(text: str) -> tuple[int, int]:
    """Parses a size (H, W). Raises InputError unless the text is two whole numbers.

    Example:
        >>> from deepinternal.resizer import parse_size
        >>> parse_size("224,544")
        (224, 544)
    """
    try:
        height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--size={text}: give height,width in pixels, such as 224,544") from None
    return height, width


def grid(images: Sequence[np.ndarray], columns: int, *, gap: int = 4) -> np.ndarray:
    """Joins images row by row, with white gaps.

    Args:
        images: (H, W, C) each, of equal height in a row and equal width in a column.
        columns: The number of columns, of which the number of images is a multiple.
        gap: Width of the gaps in pixels.

    Returns:
        (H', W', C).

    Example:
        >>> import numpy as np
        >>> from deepinternal.resizer import grid
        >>> grid([np.zeros((8, 6, 3))] * 4, 2).shape
        (20, 16, 3)
    """
    edge = ((0, gap), (0, gap), (0, 0))
    padded = [np.pad(x, edge, constant_values=1) for x in images]
    rows = [padded[i : i + columns] for i in range(0, len(padded), columns)]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])[:-gap, :-gap]


def _framed(image: np.ndarray) -> np.ndarray:
    """Draws a red frame, or a white one if C is 1, into an image (H, W, C)."""
    width = max(min(image.shape[:2]) // 40, 1)
    made = np.broadcast_to(np.array([1, 0, 0], np.float32)[: image.shape[-1]], image.shape).copy()
    made[width:-width, width:-width] = image[width:-width, width:-width]
    return made


def _middle(outer: int, inner: int) -> int:
    return (outer - inner) // 2
