"""Pictures in a page: data addresses, reduced to screen size."""

import base64
import io
import struct
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from deepinternal.codecs.decoding import decode
from deepinternal.codecs.image_io import from_float, to_array
from deepinternal.codecs.metadata import NONE, Metadata, colours_of, png_chunks
from deepinternal.codecs.png import encode
from deepinternal.codecs.profiles import to_srgb
from deepinternal.codecs.transparency import on_white
from deepinternal.types import InputError

PREVIEW = 2048  # longest side of a picture in a page, in pixels
READABLE = 150_000_000  # maximum number of pixels of a file that is reduced
THUMBNAIL = 128  # longest side of a small picture, in pixels


def link(name: str) -> dict[str, str]:
    """Returns the name of a file or folder beside a page, and the reference to it."""
    return {"name": name, "href": quote(name)}


def address(data: bytes, kind: str = "png") -> str:
    """Returns a data address that contains an image file."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def reduce(samples: np.ndarray, longest: int) -> np.ndarray:
    """Averages (H, W[, C]) samples over blocks, so that no side is longer than `longest`."""
    height, width = samples.shape[:2]
    step = -(-max(height, width) // longest)
    if step == 1:
        return samples
    y, x = min(step, height), min(step, width)
    blocks = samples[: height // y * y, : width // x * x]
    mean = blocks.reshape(height // y, y, width // x, x, -1).mean((1, 3), dtype=np.float32)
    return (mean.round() if samples.dtype.kind == "u" else mean).astype(samples.dtype)


def of_file(folder: Path, name: str, samples: np.ndarray | None = None) -> dict[str, Any]:
    """Returns a PNG file for a page: its address and its size there.

    The address of a file that is too large even for reducing is empty, and the page only links to
    it. `file` is the name if the address contains the file itself, '' if it contains a smaller
    picture.

    Args:
        folder: The folder of the page.
        name: The path of the file below it.
        samples: Its contents, if known; otherwise it is decoded if it must be reduced.
    """
    path = folder / name
    with path.open("rb") as file:
        data = file.read(24)
        width, height = struct.unpack(">II", data[16:24])
        picture = link(name) | {"full": (width, height), "size": (width, height)}
        if samples is None and width * height > READABLE:
            return picture | {"src": "", "file": ""}
        data += file.read()
    whole = name
    if max(width, height) > PREVIEW:
        small = reduce(
            decode(path, width * height).samples if samples is None else samples, PREVIEW
        )
        picture["size"] = small.shape[1::-1]
        data, whole = encode(small, png_chunks(colours_of(path), (*small.shape, 1)[:3])), ""
    return picture | {"src": address(data), "file": whole}


def of_samples(
    samples: np.ndarray, name: str, href: str = "", *, about: Metadata = NONE
) -> dict[str, Any]:
    """Returns samples or pixels (H, W, C) for a page, without a file of their own beside it.

    Args:
        samples: The picture.
        name: Its name.
        href: What it links to.
        about: The description of its colours.
    """
    image = to_array(reduce(samples, PREVIEW))
    small = from_float(image.pixels, np.empty((1, 1, 1), np.uint8), alpha=image.alpha)
    src = address(encode(small, png_chunks(about.colours, small.shape)))
    sizes = {"full": samples.shape[1::-1], "size": small.shape[1::-1]}
    return {"name": name, "href": href, **sizes, "src": src, "file": ""}


def thumbnail(samples: np.ndarray, about: Metadata = NONE) -> str:
    """Returns the address of a small JPEG in sRGB, on white; `about` describes the colours."""
    from PIL import Image

    small = on_white(to_array(reduce(samples, 2 * THUMBNAIL)))
    if about.fits(small.shape[2]):
        small = to_srgb(small, about.profile)
    pixels = np.round(small * 255).astype(np.uint8)
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=75)
    return address(file.getvalue(), "jpeg")


def thumbnail_of_file(path: Path) -> str:
    """Returns the address of a small JPEG of an image file; '' if it cannot be read."""
    try:
        found = decode(path, READABLE)
        return thumbnail(found.samples, found.metadata)
    except InputError:
        return ""
