"""Pictures as a page holds them: addresses of themselves, reduced to what a screen shows."""

import base64
import io
import struct
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from deepinternal.codecs.image_io import decode, to_array
from deepinternal.codecs.png import encode
from deepinternal.types import InputError

PREVIEW = 2048  # longest side of a picture in a page, in pixels
READABLE = 150_000_000  # pixels, most that a file to be reduced may have
THUMBNAIL = 128  # longest side of a small picture, in pixels


def link(name: str) -> dict[str, str]:
    """A file or folder beside a page: its name and the reference to it."""
    return {"name": name, "href": quote(name)}


def address(data: bytes, kind: str = "png") -> str:
    """The address of an image file that holds the file itself."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def reduce(samples: np.ndarray, longest: int) -> np.ndarray:
    """Means over blocks of (H, W[, C]) samples, so that no side is longer than `longest`."""
    height, width = samples.shape[:2]
    step = -(-max(height, width) // longest)
    if step == 1:
        return samples
    y, x = min(step, height), min(step, width)
    blocks = samples[: height // y * y, : width // x * x]
    mean = blocks.reshape(height // y, y, width // x, x, -1).mean((1, 3), dtype=np.float32)
    return (mean.round() if samples.dtype.kind == "u" else mean).astype(samples.dtype)


def of_file(folder: Path, name: str, samples: np.ndarray | None = None) -> dict[str, Any]:
    """A PNG file for a page: its address and size there.

    The address of one that is too large even for reducing is empty: there is just the link to it.
    `file` is the name where the address holds the file itself, '' where it holds a smaller picture.

    Args:
        folder: of the page.
        name: of the file, below it.
        samples: what it holds, where that is known; else it is decoded if it must be reduced.
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
        small = reduce(decode(path, width * height) if samples is None else samples, PREVIEW)
        picture["size"] = small.shape[1::-1]
        data, whole = encode(small), ""
    return picture | {"src": address(data), "file": whole}


def of_samples(samples: np.ndarray, name: str, href: str = "") -> dict[str, Any]:
    """Samples or pixels (H, W, C) for a page, without a file of their own beside it."""
    pixels = to_array(reduce(samples, PREVIEW)).pixels
    src = address(encode(np.round(pixels * 255).astype(np.uint8)))
    sizes = {"full": samples.shape[1::-1], "size": pixels.shape[1::-1]}
    return {"name": name, "href": href, **sizes, "src": src, "file": ""}


def thumbnail(samples: np.ndarray) -> str:
    """The address of a small JPEG."""
    from PIL import Image

    small = to_array(reduce(samples, 2 * THUMBNAIL)).pixels
    pixels = np.round(small * 255).astype(np.uint8)
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=75)
    return address(file.getvalue(), "jpeg")


def thumbnail_of_file(path: Path) -> str:
    """The address of a small JPEG of an image file; empty where there is none."""
    try:
        return thumbnail(decode(path, READABLE))
    except InputError:
        return ""
