"""Writes results in the format of a file name: PNG, JPEG, TIFF, WebP or BMP."""

import io
import os
from pathlib import Path

import numpy as np

from deepinternal import files
from deepinternal.codecs.decoding import decode

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
_QUALITY = 95  # of JPEG and WebP
_ANY = 2**40  # pixels: the files are our own


def export(source: Path, path: str | os.PathLike) -> str:
    """Writes a PNG file in another format, atomically.

    PNG and TIFF keep 16 bits and transparency. JPEG, WebP and BMP hold 8 bits, to which the samples
    are rounded; JPEG and BMP hold no transparency, which is dropped.

    Args:
        source: A PNG file.
        path: A name that ends in one of `SUFFIXES`, in an existing folder.

    Returns:
        What the format does not hold of the image, such as '16 bits and transparency'; '' if nothing.

    Raises:
        InputError: `source` cannot be read.
        OSError: The file cannot be written.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".png":
        files.atomic_write_bytes(path, source.read_bytes())
        return ""
    samples = decode(source, _ANY).samples
    if suffix in (".tif", ".tiff"):
        files.atomic_write_bytes(path, _tiff(samples))
        return ""
    files.atomic_write_bytes(path, _pillow(samples, suffix))
    lost = ["16 bits"] if samples.dtype == np.uint16 else []
    lost += ["transparency"] if suffix != ".webp" and samples.shape[2:] in ((2,), (4,)) else []
    return " and ".join(lost)


def _tiff(samples: np.ndarray) -> bytes:
    import tifffile

    file = io.BytesIO()
    colours = samples.shape[2] if samples.ndim == 3 else 1
    extra = ["unassalpha"] if colours in (2, 4) else None
    photometric = "rgb" if colours >= 3 else "minisblack"
    tifffile.imwrite(
        file,
        samples,
        photometric=photometric,
        extrasamples=extra,
        compression="zlib",
        planarconfig="contig" if samples.ndim == 3 else None,
    )
    return file.getvalue()


def _pillow(samples: np.ndarray, suffix: str) -> bytes:
    from PIL import Image

    if samples.dtype == np.uint16:
        samples = np.round(samples / 257.0).astype(np.uint8)
    channels = samples.shape[2] if samples.ndim == 3 else 1
    if suffix == ".webp" and channels == 2:
        samples = samples[..., [0, 0, 0, 1]]
    elif suffix != ".webp" and channels in (2, 4):
        samples = samples[..., : channels - 1]
    samples = samples[..., 0] if samples.ndim == 3 and samples.shape[2] == 1 else samples
    kind = {".webp": "WEBP", ".bmp": "BMP"}.get(suffix, "JPEG")
    options = {"JPEG": {"quality": _QUALITY, "subsampling": 0}, "WEBP": {"quality": _QUALITY}}
    file = io.BytesIO()
    Image.fromarray(samples).save(file, kind, **options.get(kind, {}))
    return file.getvalue()
