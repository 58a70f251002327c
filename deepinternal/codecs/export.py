"""Writes results in the format of a file name: PNG, JPEG, TIFF, WebP or BMP."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from deepinternal import files
from deepinternal.codecs import metadata, profiles
from deepinternal.codecs.decoding import decode

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
_QUALITY = 95  # of JPEG and WebP
_ANY = 2**40  # pixels: the files are our own


def export(source: Path, path: str | os.PathLike) -> str:
    """Writes a PNG file in another format, atomically, with its colours and metadata.

    PNG and TIFF keep 16 bits and transparency. JPEG, WebP and BMP hold 8 bits, to which the samples
    are rounded; JPEG and BMP hold no transparency, which is dropped. BMP holds no colour profile, so
    the colours are converted to sRGB.

    Args:
        source: A PNG file.
        path: A name that ends in one of `SUFFIXES`, in an existing folder.

    Returns:
        The properties of the image that the format cannot hold, such as '16 bits and transparency'; ''
        if there are none.

    Raises:
        InputError: `source` cannot be read.
        OSError: The file cannot be written.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".png":
        files.atomic_write_bytes(path, source.read_bytes())
        return ""
    found = decode(source, _ANY)
    samples = found.samples if found.samples.ndim == 3 else found.samples[..., None]
    if suffix in (".tif", ".tiff"):
        files.atomic_write_bytes(path, metadata.tiff(samples, found.metadata))
        return ""
    lost = ["16 bits"] if samples.dtype == np.uint16 else []
    lost += ["transparency"] if suffix != ".webp" and samples.shape[2] in (2, 4) else []
    kind, about = {".webp": "WEBP", ".bmp": "BMP"}.get(suffix, "JPEG"), found.metadata
    if about.profile and (kind == "BMP" or (kind == "WEBP" and samples.shape[2] <= 2)):
        samples, about = _in_srgb(samples, about.profile), about.as_srgb()
    options, missing = metadata.pillow_options(about, kind, samples.shape)
    files.atomic_write_bytes(path, _pillow(samples, kind, options))
    *first, last = [*lost, *missing] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _in_srgb(samples: np.ndarray, profile: bytes) -> np.ndarray:
    """Returns samples (H, W, C) with their colours converted to sRGB; alpha is kept."""
    top, colours = np.iinfo(samples.dtype).max, 1 if samples.shape[2] <= 2 else 3
    pixels = profiles.to_srgb(samples[..., :colours] / np.float32(top), profile)
    made = np.round(pixels * top).astype(samples.dtype)
    return np.concatenate([made, samples[..., colours:]], axis=-1)


def _pillow(samples: np.ndarray, kind: str, options: dict[str, Any]) -> bytes:
    from PIL import Image

    if samples.dtype == np.uint16:
        samples = np.round(samples / 257.0).astype(np.uint8)
    channels = samples.shape[2]
    if kind == "WEBP" and channels == 2:
        samples = samples[..., [0, 0, 0, 1]]
    elif kind != "WEBP" and channels in (2, 4):
        samples = samples[..., : channels - 1]
    samples = samples[..., 0] if samples.shape[2] == 1 else samples
    quality = {"JPEG": {"quality": _QUALITY, "subsampling": 0}, "WEBP": {"quality": _QUALITY}}
    file = io.BytesIO()
    Image.fromarray(samples).save(file, kind, **quality.get(kind, {}), **options)
    return file.getvalue()
