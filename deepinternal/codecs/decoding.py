"""Decodes image files to their samples as stored.

Pillow reads most formats, after a check for files that it would misread. `tiff` reads TIFF, which has
many kinds of samples, and pillow-heif reads HEIC if it is installed.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from deepinternal import files
from deepinternal.codecs import heic, jpeg_check, metadata, png, profiles, tiff
from deepinternal.codecs.metadata import NONE, Metadata
from deepinternal.types import InputError

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "AVIF")
_READABLE = "a PNG, JPEG, TIFF, BMP, WebP, GIF, AVIF or HEIC image"
_CONVERT = {"1": "L", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
    """The contents of an image file.

    Attributes:
        samples: The samples as stored, upright: (H, W) or (H, W, C), alpha last.
        metadata: The metadata of the file.
        remarks: What the user should know about the file, one sentence each.
    """

    samples: np.ndarray
    metadata: Metadata = NONE
    remarks: tuple[str, ...] = ()


def decode(path: str | os.PathLike, max_pixels: int) -> Decoded:
    """Returns the contents of an image file.

    Raises:
        InputError: The file is missing, unreadable, damaged, truncated, animated or too large, or has
            samples that cannot be read correctly.
    """
    with _opened(path, max_pixels) as (file, name):
        if (kind := _kind(file)) == "TIFF":
            return _decode_tiff(file, name, max_pixels)
        if kind == "HEIC":
            return _decode_heic(file, name, max_pixels)
        return _decode_pillow(file, kind, name, max_pixels)


def shape(path: str | os.PathLike, max_pixels: int) -> tuple[int, int, int]:
    """Returns the shape (H, W, C), C = 1 or 3 without alpha, of the samples, from the header.

    Raises:
        InputError: The file is missing, unreadable or too large. Damage after the header is ignored.
    """
    with _opened(path, max_pixels) as (file, name):
        if (kind := _kind(file)) == "TIFF":
            page = _tiff_page(file, name, max_pixels)
            size = page.imagelength, page.imagewidth
            orientation = page.tags.valueof(tiff.ORIENTATION, 1)
            is_grey = page.photometric in (tiff.WHITE_IS_ZERO, tiff.BLACK_IS_ZERO)
        elif kind == "HEIC":
            image = _open_heic(file, name, max_pixels)
            size, orientation, is_grey = image.size[::-1], 1, image.mode[0] in "LI"
        else:
            try:
                image = _open_pillow(file, name, max_pixels)
            except ValueError:  # `decode` may leave out a damaged chunk, or names the problem
                decoded = _decode_pillow(file, kind, name, max_pixels).samples
                return (*decoded.shape[:2], 1 if _channels(decoded) < 3 else 3)
            size, is_grey = image.size[::-1], _is_grey(image)
            orientation = _orientation(image)
    height, width = size[::-1] if orientation in (5, 6, 7, 8) else size
    return height, width, 1 if is_grey else 3


@contextlib.contextmanager
def _opened(path: str | os.PathLike, max_pixels: int) -> Iterator[tuple[BinaryIO, str]]:
    """Yields an opened file and its name; what a decoder raises becomes an InputError."""
    from PIL import Image

    name = files.show_path(path)
    with files.open_file(path) as file, files.quiet():
        try:
            yield file, name
        except InputError:
            raise
        except Image.DecompressionBombError:
            raise InputError(
                f"{name}: has more pixels than can be read; give at most {max_pixels}."
            ) from None
        except Exception as error:  # a damaged file can make a decoder raise anything
            raise InputError(
                f"{name}: damaged, cut short or of an unknown compression ({files.reason(error)}); "
                f"give {_READABLE}."
            ) from None


def _kind(file: BinaryIO) -> str:
    """Returns the format of a file if Pillow alone does not read it correctly, else ''."""
    head = file.read(256)
    file.seek(0)
    if head[:4] in tiff.MAGIC:
        return "TIFF"
    if head.startswith(png.SIGNATURE):
        return "PNG"
    if head.startswith(jpeg_check.MAGIC):
        return "JPEG"
    return "BMP" if head.startswith(b"BM") else heic.kind(head)


def check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Refuses a (width, height) without pixels or with more than `max_pixels`."""
    width, height = size
    if not 1 <= width * height <= max_pixels:
        raise InputError(
            f"{name}: {width} pixels wide and {height} high; give 1 to {max_pixels} pixels in total."
        )


def _refuse_frames(count: int, name: str) -> None:
    if count > 1:
        raise InputError(f"{name}: has {count} frames or pages; give a file with one image.")


# TIFF


def _tiff_page(file: BinaryIO, name: str, max_pixels: int) -> Any:
    page = tiff.find_page(file, name)
    check_size((page.imagewidth, page.imagelength), name, max_pixels)
    return page


def _decode_tiff(file: BinaryIO, name: str, max_pixels: int) -> Decoded:
    page = _tiff_page(file, name, max_pixels)
    samples, found = tiff.decode(page)
    if page.photometric == tiff.CMYK:
        samples, _ = profiles.cmyk_to_rgb(samples, page.tags.valueof(tiff.PROFILE))
    turned = page.tags.valueof(tiff.ORIENTATION, 1)
    options = {"orientation": turned, "offset": page.offset}
    meta, remarks = metadata.read(file, _channels(samples), **options)
    return Decoded(_upright(samples, turned), meta, (*found, *remarks))


# HEIC


def _open_heic(file: BinaryIO, name: str, max_pixels: int) -> Any:
    image = heic.opened(file, name)
    check_size(image.size, name, max_pixels)
    _refuse_frames(len(image), name)
    return image


def _decode_heic(file: BinaryIO, name: str, max_pixels: int) -> Decoded:
    from PIL import Image

    image = _open_heic(file, name, max_pixels)
    samples = heic.samples(image)
    shell = Image.new("RGB", (1, 1))  # Pillow has no mode for 16-bit colour
    shell.info.update(image.info)
    return Decoded(samples, *metadata.read(file, _channels(samples), image=shell))


# Other formats


def _open_pillow(file: BinaryIO, name: str, max_pixels: int) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise InputError(f"{name}: is not {_READABLE}, or is damaged.") from None
    check_size(image.size, name, max_pixels)
    return image


def _decode_pillow(file: BinaryIO, kind: str, name: str, max_pixels: int) -> Decoded:
    depth, found = 8, []
    file.seek(0)
    if kind == "PNG":
        check_size(png.size(file.read(24)), name, max_pixels)
        file, depth, found = png.check(file)
    elif kind == "JPEG":
        file, found = jpeg_check.check(file, name)
    elif kind == "BMP":
        _check_bmp(file, name)
    elif kind == "AVIF" and (bits := heic.avif_bits(file)) > 8:
        found = [f"its {bits} bits per sample are read as 8"]
    image = _open_pillow(file, name, max_pixels)
    if image.format != "MPO":  # a JPEG from a camera, followed by a preview or a depth map
        _refuse_frames(getattr(image, "n_frames", 1), name)
    key = image.info.get("transparency") if image.mode != "P" else None
    if depth == 16 and image.mode in ("RGB", "RGBA"):
        samples, image = png.decode_wide(file, image.tile[0].args)
    else:
        image.load()
        samples = _converted(image, name)
    if key is not None:
        samples = _colour_key(samples, np.asarray(key), depth if image.mode == "L" else None)
    orientation = _orientation(image)
    options = {"image": image, "orientation": orientation}
    meta, remarks = metadata.read(file, _channels(samples), **options)
    return Decoded(_upright(samples, orientation), meta, (*found, *remarks))


def _check_bmp(file: BinaryIO, name: str) -> None:
    """Refuses 16-bit pixels with a mask for alpha, which Pillow drops."""
    head = file.read(70)
    if len(head) == 70 and head[14] >= 56 and head[28:30] == b"\x10\0" and any(head[66:70]):
        raise InputError(f"{name}: a BMP with 16 bits per pixel and alpha; save it with 32 bits.")


def _orientation(image: Any) -> int:
    """Returns the EXIF orientation; 1 if there is none, or the EXIF data is broken."""
    from PIL import Image

    try:
        # Not the format's own method, which would decode a PNG.
        return Image.Image.getexif(image).get(274, 1)
    except Exception:
        return 1


def _channels(samples: np.ndarray) -> int:
    return samples.shape[2] if samples.ndim == 3 else 1


def _is_grey(image: Any) -> bool:
    """Whether a Pillow image has one colour channel; 16-bit grey with alpha is opened as RGBA."""
    is_wide = bool(image.tile) and image.tile[0].args == "LA;16B"
    return image.mode[0] in "1LI" or is_wide


def _converted(image: Any, name: str) -> np.ndarray:
    """Returns the samples of a loaded Pillow image as grey or RGB, with alpha if it has one."""
    if image.mode in ("P", "PA"):
        opaque = image.mode == "P" and image.info.get("transparency") is None
        return np.asarray(image.convert("RGB" if opaque else "RGBA"))
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        return np.asarray(image)
    if image.mode == "CMYK":
        return profiles.cmyk_to_rgb(np.asarray(image), image.info.get("icc_profile"))[0]
    if (mode := _CONVERT.get(image.mode)) is not None:
        return np.asarray(image.convert(mode))
    raise InputError(
        f"{name}: pixel type {image.mode} is not supported; save it as 8- or 16-bit RGB."
    )


def _colour_key(samples: np.ndarray, key: np.ndarray, depth: int | None) -> np.ndarray:
    """Appends an alpha channel that is 0 where the samples equal `key`.

    Args:
        samples: (H, W) or (H, W, 3), unsigned.
        key: One value per channel.
        depth: Bits of the value if the samples were stretched from them, else None.
    """
    top = np.iinfo(samples.dtype).max
    if depth is not None:
        key = key * top // (2**depth - 1)
    colours = samples.reshape(*samples.shape[:2], -1)
    alpha = np.where((colours == key).all(-1, keepdims=True), 0, top).astype(samples.dtype)
    return np.concatenate([colours, alpha], axis=-1)


def _upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes an EXIF orientation from 1 to 8; other values have no effect."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
