"""The metadata of image files: colour profile, EXIF, XMP and resolution.

`read` keeps the metadata that stay true for an upright result of any size. `png_chunks`,
`pillow_options` and `tiff` write them.
"""

import dataclasses
import io
import math
import os
import re
import struct
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from deepinternal.codecs import exif as exif_io
from deepinternal.codecs import profiles

_IN_JPEG = 65_500  # bytes of EXIF or XMP data that a JPEG holds
_MOST_DPI = 100_000
_UNIFORM = 0.02  # relative difference of factors up to which both are the same, rounded
_INCH = 0.0254  # metres
# What Pillow may find besides the samples, and its type; a text of a PNG can have the same name.
_KNOWN: dict[str, type] = {"icc_profile": bytes, "exif": bytes, "xmp": bytes, "dpi": tuple}
_KNOWN |= {"gamma": float, "chromaticity": tuple, "srgb": int}
# Codes of ITU-T H.273 for other colours than sRGB, in a PNG, or a HEIC or AVIF file.
_VIDEO = re.compile(
    rb"\x00\x00\x00\x04cICP(?![\x01\x02][\x01\x02\x06\r])|colrnclx(?!\x00[\x01\x02]\x00[\x01\x02\x06\r])"
)


@dataclasses.dataclass(frozen=True)
class Metadata:
    """The metadata of an image file.

    Attributes:
        profile: The ICC profile of its colours; None: they are sRGB, or not known.
        exif: Its EXIF data, or b"".
        xmp: The XMP packet, or b"".
        dpi: Pixels per inch, (horizontal, vertical), or None.
    """

    profile: bytes | None = None
    exif: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None

    @property
    def colours(self) -> "Metadata":
        """Only the description of the colours."""
        return Metadata(self.profile)

    def scaled(self, vertical: float, horizontal: float) -> "Metadata":
        """Returns the metadata of an image of the same physical size with another number of pixels.

        Factors that differ by more than rounding change the aspect ratio; the physical size is then
        unknown.
        """
        if self.dpi is None or (vertical, horizontal) == (1, 1):
            return self
        factor = math.sqrt(vertical * horizontal)
        uniform = abs(vertical / horizontal - 1) < _UNIFORM
        dpi = (self.dpi[0] * factor, self.dpi[1] * factor) if uniform else None
        return dataclasses.replace(self, dpi=dpi)

    def as_srgb(self) -> "Metadata":
        """Returns the metadata after a conversion of the colours to sRGB."""
        return dataclasses.replace(self, profile=None)

    def fits(self, channels: int) -> bool:
        """Whether the profile is one for images with 1 to 4 channels, alpha included."""
        kind = b"GRAY" if channels <= 2 else b"RGB "
        return self.profile is not None and self.profile[16:20] == kind


NONE = Metadata()


# Reading


def read(
    file: BinaryIO,
    channels: int,
    *,
    image: Any = None,
    orientation: int = 1,
    offset: int | None = None,
) -> tuple[Metadata, tuple[str, ...]]:
    """Returns the metadata of a file that stay true for a result, and remarks.

    A damaged part is left out, with a remark.

    Args:
        file: The file.
        channels: The number of channels of the samples, 1 to 4, alpha included.
        image: The loaded Pillow image; None for a TIFF, whose tags are read.
        orientation: How the samples were turned, from 1 to 8 as in EXIF.
        offset: The position of the directory of the image in a TIFF; None: the first one.
    """
    said, remarks, exif, packet = {}, list[str](), b"", b""
    if image is not None:
        said = _of_pillow(image, file)
        block = said.get("exif", b"").removeprefix(b"Exif\0\0")
        file = io.BytesIO(block or exif_io.EMPTY)
    try:
        exif, tags = exif_io.read(file, offset)
        said = {**tags, **said}
    except Exception:  # Pillow raises several kinds
        remarks.append("the EXIF data are damaged; they are left out")
    try:
        packet = exif_io.cleaned(said["xmp"]) if said.get("xmp") else b""
    except Exception:  # the parser raises several kinds
        remarks.append("the XMP data are damaged; they are left out")
    profile = _profile(said, 1 if channels <= 2 else 3, remarks)
    if said.get("video") and profile is None:
        remarks.append("its colours are those of video (wide or HDR); they are taken as sRGB")
    dpi = _dpi(said)
    if dpi and orientation in (5, 6, 7, 8):
        dpi = dpi[::-1]
    return Metadata(profile, exif, packet, dpi), tuple(remarks)


def colours_of(path: str | os.PathLike) -> Metadata:
    """Returns the description of the colours in a PNG that this package wrote; NONE without one."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            return Metadata(image.info.get("icc_profile"))
    except (OSError, ValueError, SyntaxError):
        return NONE


def _of_pillow(image: Any, file: BinaryIO) -> dict[str, Any]:
    """Returns the metadata that Pillow and the head of a file contain, by the names of `_KNOWN`."""
    info = image.info
    said = {key: info[key] for key, kind in _KNOWN.items() if isinstance(info.get(key), kind)}
    if "icc_profile" in info:
        said.setdefault("icc_profile", b"")  # Pillow could not read it
    if image.format in ("JPEG", "MPO") and info.get("jfif_unit") not in (1, 2):
        said.pop("dpi", None)  # Pillow's own value, or that of the EXIF data
    file.seek(0)
    video = _VIDEO.search(file.read(1 << 16))
    return said | {"photometric": 5 if image.mode == "CMYK" else None, "video": bool(video)}


def _dpi(said: Mapping[str, Any]) -> tuple[float, float] | None:
    """Returns the pixels per inch, (horizontal, vertical); None if they are impossible or not known."""
    try:
        factor = {None: 1.0, 2: 1.0, 3: 2.54}[said.get("unit")]
        found = [float(v) for v in said.get("dpi") or (said["x"] * factor, said["y"] * factor)]
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    if not all(1 < value < _MOST_DPI for value in found):
        return None
    # PNG and BMP hold whole numbers of pixels per metre.
    x, y = (round(v) if abs(v - round(v)) < _INCH / 1.9 else v for v in found)
    return x, y


def _profile(said: Mapping[str, Any], colours: int, remarks: list[str]) -> bytes | None:
    """Returns the profile of the samples; adds remarks."""
    profile, xy = said.get("icc_profile"), said.get("chromaticity")
    if said.get("photometric") == 5:  # CMYK, which was converted
        remarks.append(profiles.cmyk_to_rgb(np.zeros((1, 1, 4), np.uint8), profile)[1])
        return None
    if profile is not None:
        try:
            profiles.remarks(profile, colours)
            return profile
        except ValueError as error:
            remarks.append(f"the colour profile {error}; it is left out")
    if said.get("adobe_rgb") and colours == 3:
        return profiles.adobe_rgb()
    if "srgb" in said or not ("gamma" in said or xy):
        return None
    given = {"white": xy[:2], "primaries": xy[2:]} if xy else {}
    given |= {"gamma": said["gamma"]} if "gamma" in said else {}
    return profiles.described(colours, **given)


# Writing


def png_chunks(metadata: Metadata, shape: tuple[int, ...]) -> list[tuple[bytes, bytes]]:
    """Returns the chunks of a PNG of the shape (H, W, C) with these metadata."""
    found = []
    if metadata.profile is not None and metadata.fits(shape[2]):
        found.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.profile, 9)))
    if metadata.dpi:
        per_metre = (max(round(dpi / _INCH), 1) for dpi in metadata.dpi)
        found.append((b"pHYs", struct.pack(">IIB", *per_metre, 1)))
    if metadata.exif:
        found.append((b"eXIf", _block(metadata, shape)))
    if metadata.xmp:
        found.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp))
    return found


def _block(metadata: Metadata, shape: tuple[int, ...], **image: Any) -> bytes:
    is_srgb = not metadata.fits(shape[2])
    return exif_io.encode(
        metadata.exif, (shape[0], shape[1]), metadata.dpi, is_srgb=is_srgb, **image
    )


def pillow_options(
    metadata: Metadata, kind: str, shape: tuple[int, ...]
) -> tuple[dict[str, Any], list[str]]:
    """Returns the options with which Pillow writes metadata.

    Args:
        metadata: The metadata.
        kind: 'JPEG', 'WEBP', or 'BMP', which holds only the resolution.
        shape: The shape (H, W, C) of the image.

    Returns:
        The options, and the names of what the format does not hold.
    """
    options: dict[str, Any] = {"dpi": metadata.dpi} if metadata.dpi else {}
    if kind != "BMP" and metadata.fits(shape[2]):
        options["icc_profile"] = metadata.profile
    parts = {"exif": metadata.exif, "xmp": metadata.xmp}
    if metadata.exif or (metadata.dpi and kind == "WEBP"):
        parts["exif"] = b"Exif\0\0" + _block(metadata, shape)
    most = {"JPEG": _IN_JPEG, "BMP": 0}.get(kind, math.inf)
    options |= {key: data for key, data in parts.items() if 0 < len(data) <= most}
    return options, [f"{key.upper()} data" for key, data in parts.items() if len(data) > most]


def tiff(samples: np.ndarray, metadata: Metadata) -> bytes:
    """Encodes uint8 or uint16 samples (H, W, C), C = 1 to 4, as a TIFF with these metadata.

    Pillow writes no 16-bit colour. The block of EXIF data has the structure of a TIFF: with the tags
    of an image it is one, and the only strip follows it.

    References:
        Adobe, TIFF Revision 6.0, and its supplement 2 (Deflate).
    """
    height, width, channels = samples.shape
    order = ">" if metadata.exif[:2] == b"MM" else "<"
    strip = zlib.compress(samples.astype(f"{order}u{samples.itemsize}").tobytes(), 6)
    tags: dict[int, Any] = {256: width, 257: height, 258: (8 * samples.itemsize,) * channels}
    tags |= {259: 8, 262: 2 if channels >= 3 else 1, 273: 0, 277: channels, 278: height}
    tags |= {279: len(strip), 284: 1}
    if channels in (2, 4):
        tags[338] = 2
    if metadata.fits(channels):
        tags[34675] = metadata.profile
    if metadata.xmp:
        tags[700] = metadata.xmp
    return _block(metadata, samples.shape, image=tags) + strip
