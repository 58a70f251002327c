"""Decodes image files to their samples as stored.

Pillow is used, because it can check the header before any pixel is allocated. It reduces 16-bit colour
to 8 bits, which `_decode_wide` avoids. TIFFs that Pillow cannot read (several float or planar 16-bit
channels) are read by imageio's tifffile plugin.
"""

import contextlib
import dataclasses
import os
import sys
from typing import Any, BinaryIO

import numpy as np

from deepinternal import files
from deepinternal.codecs import png
from deepinternal.codecs.metadata import NONE, Metadata
from deepinternal.types import InputError

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
_READABLE = "a PNG, JPEG, TIFF, BMP, WebP or GIF image"
_CONVERT = {"1": "L", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
    """The contents of an image file.

    Attributes:
        samples: The samples as stored, upright: (H, W) or (H, W, C), alpha last.
        metadata: What the file says besides them.
        remarks: What the user should know about the file, one sentence each.
    """

    samples: np.ndarray
    metadata: Metadata = NONE
    remarks: tuple[str, ...] = ()


def decode(path: str | os.PathLike, max_pixels: int) -> Decoded:
    """Returns the contents of an image file.

    Raises:
        InputError: The file is missing, unreadable, damaged, truncated, animated or too large.
    """
    from PIL import Image, UnidentifiedImageError

    name = files.show_path(path)
    with files.open_file(path) as file, files.quiet():
        try:
            try:
                image = Image.open(file, formats=FORMATS)
            except UnidentifiedImageError:
                file.seek(0)
                if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                    raise InputError(f"{name}: is not {_READABLE}, or is damaged.") from None
                return Decoded(_decode_tiff(file, name, max_pixels))
            check_size(image.size, name, max_pixels)
            # MPO is a JPEG from a camera, followed by a preview or a depth map.
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                raise InputError(
                    f"{name}: has {image.n_frames} frames or pages; give a file with one image."
                )
            if image.format == "TIFF" and image.tag_v2.get(284, 1) == 2:  # channels in planes
                bits = np.ravel(image.tag_v2.get(258, 1))
                if bits.max() > 8 or len(bits) == 2:  # Pillow misreads these
                    return Decoded(_decode_tiff(file, name, max_pixels))
            depth = png.check(file) if image.format == "PNG" else 8
            libtiff = any(tile[0] == "libtiff" for tile in image.tile)
            with files.silent_stderr() if libtiff else contextlib.nullcontext():
                return Decoded(_decode_pillow(file, image, depth, name))
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


def check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Refuses a (width, height) without pixels or with more than `max_pixels`."""
    width, height = size
    if not 1 <= width * height <= max_pixels:
        raise InputError(f"{name}: {width}x{height} pixels; give 1 to {max_pixels} pixels.")


def _decode_pillow(file: BinaryIO, image: Any, depth: int, name: str) -> np.ndarray:
    """Returns the samples of an opened Pillow image, upright; a transparent colour becomes alpha."""
    tile = image.tile[0] if image.tile else None
    raw = str(tile.args if isinstance(tile.args, str) else tile.args[0]) if tile else ""
    key = image.info.get("transparency")
    if ";16" in raw and image.mode in ("RGB", "RGBA", "RGBX", "LA"):
        array, image = _decode_wide(file, raw)
    else:
        if image.mode == "F" and tile[0] == "libtiff":
            # libtiff has already swapped big-endian floats; Pillow would swap them again.
            native = f"{raw[:4]}NF"  # such as F;32NF
            image.tile = [t._replace(args=(native, *t.args[1:])) for t in image.tile]
        image.load()
        if image.mode in ("P", "PA"):
            opaque = image.mode == "P" and key is None
            array, key = np.asarray(image.convert("RGB" if opaque else "RGBA")), None
        elif image.mode.startswith("I;16"):
            array = np.asarray(image).astype(np.uint16)
        elif image.mode in ("L", "LA", "RGB", "RGBA", "F"):
            array = np.asarray(image)
        elif (mode := _CONVERT.get(image.mode)) is not None:
            array = np.asarray(image.convert(mode))
        else:
            raise InputError(
                f"{name}: pixel type {image.mode} is not supported; save it as 8- or 16-bit RGB."
            )
    if key is not None and array.dtype.kind == "u":
        array = _colour_key(array, np.asarray(key), depth if image.mode == "L" else 8)
    try:
        orientation = image.getexif().get(274, 1)
    except Exception:  # the pixels can be right although the EXIF block is broken
        orientation = 1
    return _upright(array, orientation)


def _decode_wide(file: BinaryIO, raw: str) -> tuple[np.ndarray, Any]:
    """Returns all 16 bits of a colour image, of which Pillow keeps only the high bytes.

    Pillow's unpacker for the other byte order returns the low bytes. Grey with alpha has as many bytes
    per pixel as 8-bit RGBA and is unpacked as such.

    Args:
        file: A PNG or TIFF.
        raw: Pillow's name for the layout of its samples, such as 'RGB;16B'.

    Returns:
        uint16 (H, W, C), and the loaded Pillow image (for its metadata).
    """
    from PIL import Image

    def unpack(rawmode: str) -> tuple[np.ndarray, Any]:
        file.seek(0)
        opened = Image.open(file, formats=FORMATS)
        opened.tile = [
            tile._replace(args=rawmode if isinstance(tile.args, str) else (rawmode, *tile.args[1:]))
            for tile in opened.tile
        ]
        return np.asarray(opened).astype(np.uint16), opened

    if raw == "LA;16B":
        packed, opened = unpack("RGBA")
        return packed[..., 0::2] * np.uint16(256) + packed[..., 1::2], opened
    layout, order = raw.split(";16")
    straight = layout.replace("a", "A")
    big = order == "B" or (order == "N" and sys.byteorder == "big")
    high, opened = unpack(f"{straight};16{'B' if big else 'L'}")
    low, _ = unpack(f"{straight};16{'L' if big else 'B'}")
    wide = high * np.uint16(256) + low
    if layout == "RGBa":  # colours premultiplied by alpha
        colours = wide[..., :3] * (65535.0 / np.maximum(wide[..., 3:], 1))
        wide[..., :3] = np.minimum(np.round(colours), 65535)
    return wide, opened


def _colour_key(array: np.ndarray, key: np.ndarray, depth: int) -> np.ndarray:
    """Appends an alpha channel that is 0 where the samples equal `key`.

    Args:
        array: (H, W) or (H, W, 3), unsigned.
        key: One value per channel, of `depth` bits if that is less than 8.
        depth: Bits per sample in the file.
    """
    scaled = key * 255 // (2**depth - 1) if depth < 8 else key
    colours = array.reshape(*array.shape[:2], -1)
    top = np.iinfo(array.dtype).max
    alpha = np.where((colours == scaled).all(-1, keepdims=True), 0, top).astype(array.dtype)
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


def _decode_tiff(file: BinaryIO, name: str, max_pixels: int) -> np.ndarray:
    """Returns the samples of a grey or RGB TIFF, upright, with imageio's tifffile plugin."""
    import imageio.v3 as iio

    file.seek(0)
    with iio.imopen(file, "r", plugin="tifffile") as tiff:
        pages = tiff.properties(index=..., page=...).n_images
        if pages != 1:
            raise InputError(f"{name}: has {pages} pages; give a file with one image.")
        tags = tiff.metadata(index=0)
        check_size((tags["ImageWidth"], tags["ImageLength"]), name, max_pixels)
        photometric = int(tags["PhotometricInterpretation"])
        if photometric not in (1, 2):  # grey with 0 = black, RGB
            raise InputError(f"{name}: TIFF colour type {photometric}; save it as grey or RGB.")
        array = tiff.read(index=0)
    if tags.get("PlanarConfiguration") == 2 and array.ndim == 3:
        array = np.moveaxis(array, 0, -1)
    return _upright(array, int(tags.get("Orientation", 1)))
