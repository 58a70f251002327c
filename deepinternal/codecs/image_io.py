"""Images: read to float32 in [0, 1] at full bit depth, written atomically as PNG.

Whatever is wrong with an input is an `InputError` of one line that names the file. Pillow decodes,
because its header can be checked before any pixel is allocated; it reduces 16-bit colour to 8 bits
unless asked twice (see `_decode_wide`) and cannot write it (see `png.encode`). TIFFs that Pillow
does not know (several float or planar 16-bit channels) go through imageio's tifffile.
"""

import contextlib
import dataclasses
import os
import sys
from typing import Any, BinaryIO

import numpy as np

from deepinternal import files
from deepinternal.codecs import png
from deepinternal.types import InputError

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
_READABLE = "a PNG, JPEG, TIFF, BMP, WebP or GIF image"
_RANGE_SLACK = 1e-6  # float32 arithmetic overshoots 1 by about this much
_CONVERT = {"1": "L", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFile:
    """One decoded image.

    Attributes:
        pixels: float32 (H, W, C) in [0, 1], C = 1 or 3, without alpha.
        alpha: float32 (H, W) in [0, 1], 1 = opaque, or None.
        bit_depth: 8 or 16, the depth in which results are written.
        grey: whether the file has one colour channel.
        path: where it came from, for messages.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    bit_depth: int
    grey: bool
    path: str


def read_image(path: str | os.PathLike, *, max_pixels: int = 100_000_000) -> ImageFile:
    """Reads one still image at its full bit depth, upright (EXIF orientation applied).

    Args:
        path: PNG, JPEG (also CMYK), TIFF (8 or 16 bits, or float in [0, 1]), BMP, WebP or GIF.
            Only 16-bit CMYK loses depth: it becomes 8-bit RGB.
        max_pixels: larger images are refused from their header alone. Pillow's own limit, twice
            `PIL.Image.MAX_IMAGE_PIXELS`, holds as well.

    Raises:
        InputError: missing, unreadable, damaged, truncated, animated or too large file; float
            values that are not finite or not in [0, 1].
    """
    return to_array(decode(path, max_pixels), name=files.show_path(path))


def to_array(image: Any, *, name: str = "image") -> ImageFile:
    """Converts an array as users have it to float32 in [0, 1].

    Args:
        image: (H, W) or (H, W, C) with C = 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA); uint8,
            uint16, float in [0, 1], or bool (False is 0, True is 1).
        name: what to call it in messages.

    Returns:
        The image; its `bit_depth` is 8 for uint8 and bool, 16 for uint16 and float.

    Raises:
        InputError: another dtype or shape, no pixels, NaN or infinite values, floats not in [0, 1].
    """
    array = np.asarray(image)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise InputError(
            f"{name}: shape {array.shape} is not an image; give (H, W) or (H, W, C), C = 1 to 4."
        )
    if array.size == 0:
        raise InputError(f"{name}: shape {array.shape} has no pixels; give at least 1x1.")
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
        values = array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
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


def from_float(pixels: Any, like: Any, *, alpha: Any = None) -> np.ndarray:
    """Converts a result back to the kind of array the user gave; the inverse of `to_array`.

    Args:
        pixels: (H, W, C) or (H, W), float; clipped to [0, 1].
        like: the user's array. uint8 and uint16 give integers (rounded to the nearest), everything
            else float32. If it has no channel axis, a result with one channel has none either.
        alpha: (H, W) appended as the last channel, or None.

    Raises:
        InputError: NaN in the result.
    """
    like = np.asarray(like)
    values = _stack(pixels, alpha, "result")
    if (like.ndim == 2 or np.ndim(pixels) == 2) and values.shape[2] == 1:
        values = values[..., 0]
    return _quantise(values, like.dtype) if like.dtype in (np.uint8, np.uint16) else values


def write_image(
    path: str | os.PathLike, pixels: Any, *, alpha: Any = None, bit_depth: int = 8
) -> None:
    """Writes a PNG atomically: grey, grey + alpha, RGB or RGBA with 8 or 16 bits per channel.

    Args:
        path: ends in .png; the folder exists.
        pixels: (H, W), (H, W, 1) or (H, W, 3), float; clipped to [0, 1], rounded to the nearest.
        alpha: (H, W) in [0, 1], or None.
        bit_depth: 8 or 16.

    Raises:
        InputError: not a .png name, another bit depth or shape, NaN.
        OSError: the file cannot be written.
    """
    name = files.show_path(path)
    if not name.lower().endswith(".png"):
        raise InputError(f"{name}: images are written as PNG; give a name that ends in .png.")
    if bit_depth not in (8, 16):
        raise InputError(f"{name}: bit depth {bit_depth}; give 8 or 16.")
    samples = _quantise(_stack(pixels, alpha, name), np.uint8 if bit_depth == 8 else np.uint16)
    files.atomic_write_bytes(path, png.encode(samples))


def decode(path: str | os.PathLike, max_pixels: int) -> np.ndarray:
    """The samples of an image file as stored, upright: (H, W) or (H, W, C), alpha last.

    Raises:
        InputError: as `read_image`, save for the values.
    """
    from PIL import Image, UnidentifiedImageError

    name = files.show_path(path)
    with files.open_file(path) as file, files.quiet():
        try:
            try:
                image = Image.open(file, formats=_FORMATS)
            except UnidentifiedImageError:
                file.seek(0)
                if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                    raise InputError(f"{name}: is not {_READABLE}, or is damaged.") from None
                return _decode_tiff(file, name, max_pixels)
            _check_size(image.size, name, max_pixels)
            # MPO is a JPEG from a camera with a preview or a depth map behind it.
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                raise InputError(
                    f"{name}: has {image.n_frames} frames or pages; give a file with one image."
                )
            if image.format == "TIFF" and image.tag_v2.get(284, 1) == 2:  # channels in planes
                bits = np.ravel(image.tag_v2.get(258, 1))
                if bits.max() > 8 or len(bits) == 2:  # which Pillow misreads
                    return _decode_tiff(file, name, max_pixels)
            depth = png.check(file) if image.format == "PNG" else 8
            libtiff = any(tile[0] == "libtiff" for tile in image.tile)
            with files.silent_stderr() if libtiff else contextlib.nullcontext():
                return _decode_pillow(file, image, depth, name)
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


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Refuses a (width, height) that is empty or above the limit."""
    width, height = size
    if not 1 <= width * height <= max_pixels:
        raise InputError(f"{name}: {width}x{height} pixels; give 1 to {max_pixels} pixels.")


def _decode_pillow(file: BinaryIO, image: Any, depth: int, name: str) -> np.ndarray:
    """Samples of an opened Pillow image, upright, a transparent colour turned into alpha."""
    tile = image.tile[0] if image.tile else None
    raw = str(tile.args if isinstance(tile.args, str) else tile.args[0]) if tile else ""
    key = image.info.get("transparency")
    if ";16" in raw and image.mode in ("RGB", "RGBA", "RGBX", "LA"):
        array, image = _decode_wide(file, raw)
    else:
        if image.mode == "F" and tile[0] == "libtiff":
            # libtiff has swapped big-endian floats already; Pillow would swap them again.
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
    except Exception:  # a broken EXIF block says nothing about the pixels
        orientation = 1
    return _upright(array, orientation)


def _decode_wide(file: BinaryIO, raw: str) -> tuple[np.ndarray, Any]:
    """All 16 bits of a colour image, of which Pillow keeps the high bytes only.

    The unpacker for the other byte order takes what is the low byte in this one; grey + alpha has
    as many bytes per pixel as 8-bit RGBA.

    Args:
        file: a PNG or TIFF.
        raw: Pillow's name of the layout of its samples, such as 'RGB;16B'.

    Returns:
        uint16 (H, W, C), and the loaded Pillow image (for its metadata).
    """
    from PIL import Image

    def unpack(rawmode: str) -> tuple[np.ndarray, Any]:
        file.seek(0)
        opened = Image.open(file, formats=_FORMATS)
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
        array: (H, W) or (H, W, 3) unsigned.
        key: one value per channel, in units of `depth` bits where that is less than 8.
        depth: bits per sample in the file.
    """
    scaled = key * 255 // (2**depth - 1) if depth < 8 else key
    colours = array.reshape(*array.shape[:2], -1)
    top = np.iinfo(array.dtype).max
    alpha = np.where((colours == scaled).all(-1, keepdims=True), 0, top).astype(array.dtype)
    return np.concatenate([colours, alpha], axis=-1)


def _upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes an EXIF orientation (1 to 8; others leave the image as it is)."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def _decode_tiff(file: BinaryIO, name: str, max_pixels: int) -> np.ndarray:
    """Samples of a grey or RGB TIFF, upright, by way of imageio's tifffile plugin."""
    import imageio.v3 as iio

    file.seek(0)
    with iio.imopen(file, "r", plugin="tifffile") as tiff:
        pages = tiff.properties(index=..., page=...).n_images
        if pages != 1:
            raise InputError(f"{name}: has {pages} pages; give a file with one image.")
        tags = tiff.metadata(index=0)
        _check_size((tags["ImageWidth"], tags["ImageLength"]), name, max_pixels)
        photometric = int(tags["PhotometricInterpretation"])
        if photometric not in (1, 2):  # grey with 0 = black, RGB
            raise InputError(f"{name}: TIFF colour type {photometric}; save it as grey or RGB.")
        array = tiff.read(index=0)
    if tags.get("PlanarConfiguration") == 2 and array.ndim == 3:
        array = np.moveaxis(array, 0, -1)
    return _upright(array, int(tags.get("Orientation", 1)))


def _stack(pixels: Any, alpha: Any, name: str) -> np.ndarray:
    """Pixels and alpha as float32 (H, W, C) clipped to [0, 1]."""
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
    """Values in [0, 1] to the full range of an unsigned dtype, rounded to the nearest."""
    return np.round(values * np.float32(np.iinfo(dtype).max)).astype(dtype)
