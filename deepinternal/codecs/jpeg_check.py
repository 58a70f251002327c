"""Checks JPEG files: kinds that Pillow misreads or cannot name, and data that are cut short.

libjpeg fills the missing part of an image with grey, and Pillow does not report it.

References:
    ITU-T T.81, Digital compression and coding of continuous-tone still images, annex B.
"""

import io
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from deepinternal.types import InputError

MAGIC = b"\xff\xd8\xff"
_NEXT = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7}
# Baseline, extended and progressive; the last two are arithmetic.
_READ = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_PROGRESSIVE = (0xC2, 0xCA)
_START_OF_SCAN, _END, _ADOBE, _LOSSLESS = 0xDA, 0xD9, 0xEE, {0xC3, 0xC7, 0xCB, 0xCF, 0xF7}


def check(file: BinaryIO, name: str) -> tuple[BinaryIO, list[str]]:
    """Returns the file in a form in which Pillow notices missing data, and remarks.

    Raises:
        InputError: Pillow cannot read this kind of JPEG.
        ValueError: The file is damaged.
    """
    file.seek(0)
    data = file.read()
    frame, adobe, position = None, False, 2
    while True:
        marker, body, position = _segment(data, position)
        if marker in _FRAMES and frame is None:
            frame = (marker, *struct.unpack_from(">BHHB", body))
            _check_frame(frame, name)
        adobe |= marker == _ADOBE and body.startswith(b"Adobe")
        if marker == _START_OF_SCAN:
            break
    if frame is None:
        raise ValueError("the header is incomplete")
    kind, _, _, _, components = frame
    if components == 4 and not adobe:
        raise InputError(
            f"{name}: a CMYK JPEG that does not say whether its inks are inverted (no Adobe "
            "marker); save it as RGB."
        )
    end = data.find(b"\xff\xd9", position)
    if kind in _PROGRESSIVE:
        scans = [body, *_further_scans(data, position, end)]
        whole = end < 0 or _is_complete(scans, components)
        return file, [] if whole else ["the last scans of the JPEG are missing; it is blurred"]
    if body[0] < components or end < 0:
        return file, []
    # At an end marker, libjpeg would make up what is missing; at the end of the file, Pillow raises an
    # error. The decoder looks a few bytes ahead.
    buffer = io.BytesIO(data)
    buffer.seek(end)
    buffer.write(bytes(16))
    buffer.truncate()
    return buffer, []


def _segment(data: bytes, position: int) -> tuple[int, bytes, int]:
    """Returns the marker and the contents of the next segment, and the position after it."""
    found = _NEXT.search(data, position)
    if found is None or data[found.end() - 1] == _END:
        raise ValueError("the header is incomplete")
    marker, position = data[found.end() - 1], found.end()
    if marker in (0x01, 0xD8):  # without contents
        return marker, b"", position
    (length,) = struct.unpack_from(">H", data, position)
    return marker, data[position + 2 : position + length], position + length


def _further_scans(data: bytes, position: int, end: int) -> Iterator[bytes]:
    """Yields the headers of the scans after the first one; their data contain no such marker."""
    while (position := data.find(b"\xff\xda", position, end)) >= 0:
        _, body, position = _segment(data, position)
        yield body


def _check_frame(frame: tuple[int, ...], name: str) -> None:
    """Refuses kinds of JPEG that Pillow cannot read, and names them."""
    kind, bits, _, _, components = frame
    what = None
    if kind in _LOSSLESS:
        what = "a lossless JPEG"
    elif kind not in _READ:
        what = "a hierarchical JPEG"
    elif bits != 8:
        what = f"a JPEG with {bits} bits per sample"
    elif components not in (1, 3, 4):
        what = f"a JPEG with {components} components"
    if what:
        raise InputError(f"{name}: {what}; save it as PNG or as a baseline JPEG of 8 bits.")


def _is_complete(scans: list[bytes], components: int) -> bool:
    """Whether progressive scans hold all bits of the 64 coefficients of every component."""
    missing: dict[int, set[int]] = {}
    for body in scans:
        count = body[0]
        first, last, bits = body[1 + 2 * count : 4 + 2 * count]
        for component in body[1 : 1 + 2 * count : 2]:
            left = missing.setdefault(component, set(range(64)))
            if bits & 15 == 0:
                left.difference_update(range(first, last + 1))
    return len(missing) == components and not any(missing.values())
