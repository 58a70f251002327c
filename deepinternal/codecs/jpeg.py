"""Writes JPEG files, for degraded images."""

import io
import os
from typing import Any

import numpy as np

from deepinternal import files
from deepinternal.codecs import image_io, metadata
from deepinternal.codecs.metadata import NONE, Metadata
from deepinternal.types import InputError


def write_jpeg(
    path: str | os.PathLike, pixels: Any, *, quality: int, about: Metadata = NONE
) -> None:
    """Writes a baseline JPEG of 8 bits atomically, with colour at half resolution (4:2:0).

    Args:
        path: A name that ends in .jpg or .jpeg, in an existing folder.
        pixels: (H, W), (H, W, 1) or (H, W, 3), float; clipped to [0, 1], rounded to the nearest.
        quality: From 1 (worst) to 100, on the scale of libjpeg.
        about: Its colour profile, EXIF, XMP and resolution.

    Raises:
        InputError: The name, the quality or the shape is not one of these, or a pixel is NaN.
        OSError: The file cannot be written.
    """
    from PIL import Image

    name = files.show_path(path)
    if not name.lower().endswith((".jpg", ".jpeg")):
        raise InputError(f"{name}: not a name for a JPEG; give a name that ends in .jpg.")
    if not 1 <= quality <= 100:
        raise InputError(f"{name}: JPEG quality {quality}; give 1 to 100.")
    samples = image_io.from_float(pixels, np.empty((1, 1), np.uint8))
    file = io.BytesIO()
    options, _ = metadata.pillow_options(about, "JPEG", (*samples.shape, 1)[:3])
    Image.fromarray(samples).save(file, "JPEG", quality=quality, **options)
    files.atomic_write_bytes(path, file.getvalue())
