"""Reads HEIC images with pillow-heif, and properties of AVIF images that Pillow does not report.

pillow-heif is an optional dependency (the extra `heif`), which is imported when a HEIC image is read.
"""

from typing import Any, BinaryIO

import numpy as np

from deepinternal.types import InputError

_INSTALL = "pip install 'pillow-heif>=1.1'"


def kind(head: bytes) -> str:
    """Returns 'HEIC' or 'AVIF' for the first bytes of such a file, which name it, else ''."""
    brands = head[8 : int.from_bytes(head[:4])] if head[4:8] == b"ftyp" else b""
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    return "HEIC" if any(b in brands for b in (b"hei", b"hev", b"mif1", b"msf1")) else ""


def opened(file: BinaryIO, name: str) -> Any:
    """Returns a HEIC file as a `pillow_heif.HeifFile`, whose pixels are not decoded yet.

    Raises:
        InputError: pillow-heif is not installed.
    """
    try:
        import pillow_heif
    except ImportError:
        raise InputError(
            f"{name}: HEIC images need pillow-heif; {_INSTALL}, or convert the image."
        ) from None
    return pillow_heif.open_heif(file, convert_hdr_to_8bit=False)


def samples(image: Any) -> np.ndarray:
    """Decodes an image: uint8 or uint16, (H, W) or (H, W, C), which libheif has turned upright."""
    stored, bits = np.asarray(image), image.info.get("bit_depth", 8)
    if stored.dtype == np.uint8:
        return stored
    top = (2**bits - 1) << (16 - bits)  # they are in the high bits
    return np.minimum(np.round(stored * np.float32(65535 / top)), 65535).astype(np.uint16)


def avif_bits(file: BinaryIO) -> int:
    """Returns the bits per sample of an AVIF image, of which Pillow keeps 8."""
    file.seek(0)
    head = file.read(1 << 16)
    at = head.find(b"av1C")
    flags = head[at + 6] if 0 <= at < len(head) - 6 else 0
    return 12 if flags & 0x20 else 10 if flags & 0x40 else 8
