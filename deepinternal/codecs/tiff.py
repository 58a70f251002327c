"""Reads TIFF files: tifffile decodes the samples, and this module determines their meaning.

Files that cannot be read correctly are refused in a message that names the reason.

References:
    Adobe, TIFF Revision 6.0, 1992, and Photoshop TIFF Technical Note 3, 2005.
"""

import math
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from deepinternal.types import InputError

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
ORIENTATION, PROFILE = 274, 34675  # tags
_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}
_REFUSED = {4: "a transparency mask", 8: "CIE L*a*b* colours", 9: "ICC L*a*b* colours",
            10: "ITU L*a*b* colours", 32803: "raw camera data", 32844: "LogL luminances",
            32845: "LogLuv colours", 34892: "raw camera data"}  # fmt: skip
_PLAIN = (1, 32773)  # compressions without a predictor: none and PackBits
_FAX, _LZW, _JPEG = (2, 3, 4), 5, 7
_BYTEWISE = (*_PLAIN, _LZW, 8, 32946, 34925, 50000)  # also Deflate, LZMA and Zstandard
_WHOLE = {**dict.fromkeys(_FAX, ", CCITT"), _JPEG: ", JPEG", 50001: ", WebP", 50002: ", JPEG XL"}
_KINDS = {1: "unsigned integers", 2: "signed integers", 3: "floats", 4: "undefined values"}
_MEANINGS = {WHITE_IS_ZERO: ", 0 is white", PALETTE: ", palette", CMYK: ", CMYK", YCBCR: ", YCbCr"}
_RIGHT = "save it as grey or RGB with 8 or 16 bits"


def find_page(file: BinaryIO, name: str) -> Any:
    """Returns the only image of a TIFF as a `tifffile.TiffPage`, whose samples are not read yet.

    Thumbnails (NewSubfileType 1) are passed over.

    Raises:
        InputError: There are several images, or one with samples that cannot be read.
        ValueError: The tags are damaged.
    """
    import tifffile

    file.seek(0)
    tiff = tifffile.TiffFile(file, is_ndpi=False, is_lsm=False, is_scanimage=False)
    pages = list(tiff.pages)
    full = [page for page in pages if not page.is_reduced]
    if not full and any(330 in page.tags for page in pages):
        raise InputError(f"{name}: a raw camera file with previews; develop it, and {_RIGHT}.")
    full = full or pages
    if len(full) != 1:
        raise InputError(f"{name}: has {len(full)} frames or pages; give a file with one image.")
    _check(full[0], name)
    return full[0]


def _check(page: Any, name: str) -> None:
    """Refuses images that cannot be read correctly."""
    photometric, compression, bits = page.photometric, page.compression, page.bitspersample
    if photometric not in _COLOURS:
        what = _REFUSED.get(photometric, f"samples of colour type {photometric}")
        raise InputError(f"{name}: a TIFF with {what}; {_RIGHT}.")
    if compression not in _BYTEWISE and compression not in _WHOLE:
        raise InputError(
            f"{name}: a TIFF of compression {compression}; save it without, or with LZW or Deflate."
        )
    if bits not in _readable_bits(page):  # a tuple if they differ
        raise InputError(
            f"{name}: a TIFF with {_KINDS.get(page.sampleformat, 'complex numbers')} of {bits} bits"
            f"{_MEANINGS.get(photometric, '')}{_WHOLE.get(compression, '')}; {_RIGHT}, or as floats "
            "in [0, 1]."
        )
    usable = (1,) if compression in _PLAIN or bits % 8 else (1, 2, 3 if _is_float(page) else 2)
    if compression in _BYTEWISE and page.predictor not in usable:
        raise InputError(
            f"{name}: a TIFF of {bits} bits and compression {compression} with predictor "
            f"{page.predictor}; save it without a predictor."
        )
    channels = page.samplesperpixel
    extra = channels - _COLOURS[photometric]
    # Some programs do not say what the fourth channel of RGB is.
    known = bool(page.extrasamples) or photometric == RGB
    if extra not in (0, 1) or (extra and (not known or photometric in (CMYK, YCBCR))):
        raise InputError(
            f"{name}: a TIFF with {channels} channels; give grey or RGB, at most with one more that "
            "is marked as alpha."
        )
    if photometric == CMYK and page.tags.valueof(332, 1) != 1:
        raise InputError(f"{name}: a TIFF with other inks than CMYK; {_RIGHT}.")


def _is_float(page: Any) -> bool:
    return page.sampleformat == 3


def _readable_bits(page: Any) -> Sequence[int]:
    """Returns the numbers of bits per sample that can be read."""
    photometric, compression = page.photometric, page.compression
    if _is_float(page) and compression in _BYTEWISE and photometric in (BLACK_IS_ZERO, RGB):
        return 16, 32, 64
    if page.sampleformat not in ((1,) if compression == _LZW else (1, 4)):
        return ()
    if compression in _FAX:
        return (1,)
    if compression == _JPEG:
        return (8,)
    return {PALETTE: range(1, 9), CMYK: (8, 16), YCBCR: ()}.get(photometric, range(1, 17))


def decode(page: Any) -> tuple[np.ndarray, list[str]]:
    """Returns the samples of a page as stored, not yet upright, and remarks.

    Returns:
        (H, W) or (H, W, C), alpha last and not multiplied into the colours: uint8 for up to 8 bits,
        uint16 for up to 16 bits, or floats. Integers fill their range, and 0 is black; CMYK has 4
        channels, in which 0 is no ink.

    Raises:
        ValueError: The file is damaged.
    """
    values, bits = _stored(page), page.bitspersample
    colours, alpha = np.split(values, [_COLOURS[page.photometric]], axis=-1)
    # 0 = unknown, 1 = the alpha that the colours are multiplied by, 2 = alpha
    kind = min((page.extrasamples or (2,))[-1], 2) if alpha.shape[-1] else None
    remarks = []
    if kind == 0:
        remarks.append("its last channel is not marked as alpha; it is ignored")
    if page.photometric == PALETTE:
        colours = _palette(page)[colours[..., 0]]
    elif not _is_float(page):
        colours = _stretched(colours, bits, inverted=page.photometric == WHITE_IS_ZERO)
    if kind:
        alpha = alpha if _is_float(page) else _stretched(alpha, bits, colours.dtype)
        colours = _divided(colours, alpha) if kind == 1 else colours
        colours = np.concatenate([colours, alpha], -1)
    return colours[..., 0] if colours.shape[-1] == 1 else colours, remarks


def _stored(page: Any) -> np.ndarray:
    """Returns the stored values (H, W, C); each has the lowest bits of its type."""
    height, width = page.imagelength, page.imagewidth
    offsets, counts, end = page.dataoffsets, page.databytecounts, page.parent.filehandle.size
    tile = page.tilewidth * page.tilelength * page.tiledepth * page.imagedepth
    if page.is_tiled and tile > 4 * height * width + (1 << 24):
        raise ValueError("tiles much larger than the image")
    if not len(offsets) == len(counts) == math.prod(page.chunked):
        raise ValueError("strips or tiles are missing")
    ends = [offset + count for offset, count in zip(offsets, counts, strict=True)]
    if min(counts) < 1 or sum(counts) > end or max(ends) > end:
        raise ValueError("the file ends early")
    if page.compression == _JPEG and not all(_is_closed(page, stop) for stop in ends):
        raise ValueError("a strip or tile ends early")
    values = _by_libtiff(page) if page.compression == _LZW else _by_tifffile(page)
    if page.planarconfig == 2:
        values = np.moveaxis(values.reshape(-1, height, width), 0, -1)
    return values.reshape(height, width, page.samplesperpixel)


def _by_tifffile(page: Any) -> np.ndarray:
    dtype = np.dtype(np.uint8 if page.bitspersample == 1 else page.dtype)
    values = np.empty(page.shaped, dtype)  # (planes, 1, H, W, channels)
    for part, (plane, _, y, x, _), _ in page.segments():
        if part is None or part.dtype not in (dtype, page.dtype):
            raise ValueError("a strip or tile has samples of another type")
        place = values[plane, :, y : y + part.shape[1], x : x + part.shape[2]]
        place[...] = part[:, : place.shape[1], : place.shape[2]]
    return values


def _by_libtiff(page: Any) -> np.ndarray:
    """Decodes LZW, for which tifffile uses a decoder that damaged data can crash."""
    import imagecodecs

    file = page.parent.filehandle
    file.seek(0)
    data = bytearray(file.read())
    if page.photometric == CMYK:  # libtiff would convert it to RGB
        place = page.tags[262].valueoffset
        data[place : place + 2] = np.array(BLACK_IS_ZERO, f"{page.parent.byteorder}u2").tobytes()
    values = imagecodecs.tiff_decode(data, index=page.index)
    return values.view(np.uint8) if values.dtype == bool else values


def _is_closed(page: Any, stop: int) -> bool:
    """Whether a JPEG that ends at a place of the file has its end marker; libjpeg does not check."""
    file = page.parent.filehandle
    file.seek(stop - 4)
    return b"\xff\xd9" in file.read(4)


def _stretched(
    values: np.ndarray, bits: int, dtype: np.dtype | None = None, *, inverted: bool = False
) -> np.ndarray:
    """Stretches integers of `bits` to the range of uint8, or of uint16 for more than 8 bits."""
    dtype = np.dtype(dtype or (np.uint8 if bits <= 8 else np.uint16))
    levels = np.linspace(0, np.iinfo(dtype).max, 1 << bits).round().astype(dtype)
    if inverted:
        return levels[::-1][values]
    return values if levels[-1] == levels.size - 1 else levels[values]


def _palette(page: Any) -> np.ndarray:
    """Returns the colours, (2**bits, 3): uint8, or uint16 if they need it."""
    colours = np.reshape(page.colormap, (3, 1 << page.bitspersample)).astype(np.uint16).T
    high, low = colours >> 8, colours & 255
    if not high.any():  # some programs write bytes
        return low.astype(np.uint8)
    needed = (low != 0) & (low != high)
    return colours if needed.any() else high.astype(np.uint8)


def _divided(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Returns colours that were multiplied by alpha as they were before; 0 where alpha is 0."""
    top = 1.0 if colours.dtype.kind == "f" else float(np.iinfo(colours.dtype).max)
    values = colours * (top / np.where(alpha > 0, alpha, np.inf))
    if colours.dtype.kind == "u":
        values = np.minimum(values.round(), top)
    return values.astype(colours.dtype)
