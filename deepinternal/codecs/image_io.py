"""Reads images to float32 in [0, 1] at full bit depth, and writes them atomically as PNG.

Any defect of an input is reported as an `InputError` of one line that names the file.
"""

import dataclasses
import os
from typing import Any

import numpy as np

from deepinternal import files
from deepinternal.codecs import decoding, metadata, png, profiles
from deepinternal.codecs.metadata import NONE, Metadata
from deepinternal.types import InputError

MAX_PIXELS = 100_000_000  # default maximum number of pixels of an image that is read
_RANGE_SLACK = 1e-6  # float32 arithmetic overshoots 1 by about this much


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFile:
    """One decoded image.

    Attributes:
        pixels: float32 (H, W, C) in [0, 1], C = 1 or 3, without alpha.
        alpha: float32 (H, W) in [0, 1], 1 = opaque, or None.
        bit_depth: 8 or 16, the bit depth with which results are written.
        grey: Whether the file has one colour channel.
        path: The file's path, for messages.
        metadata: The metadata of the file.
        remarks: What the user should know about the file, one sentence each.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    bit_depth: int
    grey: bool
    path: str
    metadata: Metadata = NONE
    remarks: tuple[str, ...] = ()


def read_image(
    path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS, color: str = "keep"
) -> ImageFile:
    """Reads one still image at its full bit depth, upright (EXIF orientation applied).

    Args:
        path: PNG, JPEG, TIFF (up to 16 bits, or float in [0, 1]), BMP, WebP, AVIF, GIF, or HEIC if
            pillow-heif is installed. CMYK becomes RGB. Only AVIF with more than 8 bits loses depth.
        max_pixels: Larger images are refused on the basis of their header. Pillow's own limit, twice
            `PIL.Image.MAX_IMAGE_PIXELS`, applies as well.
        color: 'keep': the colours are as stored, and `metadata` describes them; 'srgb': they are
            converted to sRGB.

    Raises:
        InputError: The file is missing, unreadable, damaged, truncated, animated or too large, or its
            float values are not finite or not in [0, 1].
    """
    found = decoding.decode(path, max_pixels)
    image = to_array(found.samples, name=files.show_path(path))
    image = dataclasses.replace(image, metadata=found.metadata)
    said = [*found.remarks, *_dark(found.samples)]
    profile, colours = found.metadata.profile, image.pixels.shape[2]
    if found.samples.dtype.kind == "f" and profile is None:
        said.append(
            "the file has floating-point values and no colour profile; the values are not converted, "
            "and viewers show the results as sRGB, which is too dark if the values are linear"
        )
    if profile is not None and color == "srgb":
        said.append(f"converted from {profiles.name(profile)!r} to sRGB")
        pixels, kept = profiles.to_srgb(image.pixels, profile), found.metadata.as_srgb()
        image = dataclasses.replace(image, pixels=pixels, metadata=kept)
    if image.metadata.profile is not None:
        said += profiles.remarks(image.metadata.profile, colours)
    return dataclasses.replace(image, remarks=tuple(said))


def _dark(samples: np.ndarray) -> list[str]:
    """Returns a remark on samples that seem to fill only a part of their 16 bits."""
    if samples.dtype != np.uint16:
        return []
    colours = samples[..., : 1 if samples.shape[-1] == 2 else 3] if samples.ndim == 3 else samples
    top = int(colours.max())
    bits = next((n for n in (8, 10, 12) if 0 < top < 2**n), 0)
    if not bits:
        return []
    return [
        f"its samples are at most {top} of 65535, which is dark; if they have {bits} bits, multiply "
        f"them by {2 ** (16 - bits)}"
    ]


def image_shape(path: str | os.PathLike, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int, int]:
    """Returns the shape (H, W, C), C = 1 or 3, with which `read_image` reads a file, from its header.

    Raises:
        InputError: The file is missing, unreadable or too large. Damage after the header is ignored.
    """
    return decoding.shape(path, max_pixels)


def to_array(image: Any, *, name: str = "image") -> ImageFile:
    """Converts a user's array to float32 in [0, 1].

    Args:
        image: (H, W) or (H, W, C) with C = 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA); uint8,
            uint16, float in [0, 1], or bool (False is 0, True is 1).
        name: Name of the image in messages.

    Returns:
        The image; its `bit_depth` is 8 for uint8 and bool, 16 for uint16 and float.

    Raises:
        InputError: The dtype or the shape is not one of these, there are no pixels, or values are NaN,
            infinite or not in [0, 1].
    """
    array = np.asarray(image)
    check_shape(array, name)
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not np.isfinite([low, high]).all():
            raise InputError(f"{name}: NaN or infinite values; give finite values in [0, 1].")
        if low < -_RANGE_SLACK or high > 1 + _RANGE_SLACK:
            raise InputError(
                f"{name}: float values in [{low:g}, {high:g}]; scale them to [0, 1], "
                "or give uint8 or uint16."
            )
        values = np.clip(array.astype(np.float32), 0, 1)
    elif array.dtype in (np.uint8, np.uint16):
        values = np.divide(array, np.float32(np.iinfo(array.dtype).max), dtype=np.float32)
    elif array.dtype == np.bool_:
        values = array.astype(np.float32)
    else:
        raise InputError(
            f"{name}: values of type {array.dtype}; give uint8, uint16, bool or float in [0, 1]."
        )
    values = values.reshape(*values.shape[:2], -1)
    channels = values.shape[2]
    colours = channels - (channels in (2, 4))
    return ImageFile(
        pixels=np.ascontiguousarray(values[..., :colours]),
        alpha=np.ascontiguousarray(values[..., -1]) if channels > colours else None,
        bit_depth=8 if array.dtype in (np.uint8, np.bool_) else 16,
        grey=colours == 1,
        path=name,
    )


def check_shape(array: np.ndarray, name: str, *, what: str = "an image") -> None:
    """Raises InputError unless an array is (H, W) or (H, W, C), C = 1 to 4, and has pixels.

    Args:
        array: The array.
        name: Its name in the message.
        what: What it should be, for the message.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise InputError(
            f"{name}: shape {array.shape} is not {what}; give (H, W) or (H, W, C), C = 1 to 4."
        )
    if array.size == 0:
        raise InputError(f"{name}: shape {array.shape} has no pixels; give at least 1x1.")


def from_float(pixels: Any, like: Any, *, alpha: Any = None) -> np.ndarray:
    """Converts a result to the kind of array that the user gave; the inverse of `to_array`.

    Args:
        pixels: (H, W, C) or (H, W), float; clipped to [0, 1].
        like: The user's array. For uint8 and uint16 the result has this dtype (rounded to the nearest),
            else float32. If it has no channel axis, a result with one channel has none either.
        alpha: (H, W), which becomes the last channel, or None.

    Raises:
        InputError: The result contains NaN.
    """
    like = np.asarray(like)
    values = _stack(pixels, alpha, "result")
    if (like.ndim == 2 or np.ndim(pixels) == 2) and values.shape[2] == 1:
        values = values[..., 0]
    return _quantise(values, like.dtype) if like.dtype in (np.uint8, np.uint16) else values


def write_image(
    path: str | os.PathLike,
    pixels: Any,
    *,
    alpha: Any = None,
    bit_depth: int = 8,
    about: Metadata = NONE,
) -> None:
    """Writes a PNG atomically: grey, grey + alpha, RGB or RGBA with 8 or 16 bits per channel.

    Args:
        path: A name that ends in .png, in an existing folder.
        pixels: (H, W), (H, W, 1) or (H, W, 3), float; clipped to [0, 1], rounded to the nearest.
        alpha: (H, W) in [0, 1], or None.
        bit_depth: 8 or 16.
        about: Its colour profile, EXIF, XMP and resolution.

    Raises:
        InputError: The name, the bit depth or the shape is not one of these, or a pixel is NaN.
        OSError: The file cannot be written.
    """
    name = files.show_path(path)
    if not name.lower().endswith(".png"):
        raise InputError(f"{name}: images are written as PNG; give a name that ends in .png.")
    if bit_depth not in (8, 16):
        raise InputError(f"{name}: bit depth {bit_depth}; give 8 or 16.")
    samples = _quantise(_stack(pixels, alpha, name), np.uint8 if bit_depth == 8 else np.uint16)
    chunks = metadata.png_chunks(about, samples.shape)
    files.atomic_write_bytes(path, png.encode(samples, chunks))


def _stack(pixels: Any, alpha: Any, name: str) -> np.ndarray:
    """Joins pixels and alpha to float32 (H, W, C) clipped to [0, 1]."""
    values = np.asarray(pixels, dtype=np.float32)
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[2] not in (1, 3) or values.size == 0:
        raise InputError(f"{name}: shape {np.shape(pixels)}; give (H, W), (H, W, 1) or (H, W, 3).")
    if alpha is not None:
        alpha = np.asarray(alpha, dtype=np.float32)
        if alpha.shape != values.shape[:2]:
            raise InputError(f"{name}: alpha of shape {alpha.shape}; give {values.shape[:2]}.")
        values = np.concatenate([values, alpha[..., None]], axis=-1)
    if np.isnan(values).any():
        raise InputError(f"{name}: NaN among the values to write; give finite values.")
    return np.clip(values, 0, 1)


def _quantise(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Maps values in [0, 1] to the full range of an unsigned dtype, rounded; overwrites them."""
    np.multiply(values, np.float32(np.iinfo(dtype).max), out=values)
    return np.round(values, out=values).astype(dtype)
