"""PNG: an encoder for 8 and 16 bits, and a check that a file is complete.

Pillow cannot write 16-bit colour, and it fills the missing pixels of a truncated file silently.
"""

import struct
import zlib
from typing import BinaryIO

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # number of channels by colour type
_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # colour type by number of channels
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2))  # fmt: skip


def encode(samples: np.ndarray) -> bytes:
    """Encodes uint8 or uint16 samples (H, W, C), C = 1 to 4, as a PNG with adaptive row filters.

    References:
        W3C, Portable Network Graphics, sections 9 (filtering; the smallest sum of absolute
        differences picks the filter) and 11 (chunks).
    """
    height, width, channels = samples.shape
    size = samples.dtype.itemsize
    rows = samples.astype(samples.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    deflater, packed = zlib.compressobj(6), []
    previous = np.zeros_like(rows[:1])
    for start in range(0, height, 64):  # in bands, to keep the candidates small
        band = rows[start : start + 64]
        packed.append(deflater.compress(_filter_rows(band, previous, channels * size)))
        previous = band[-1:]
    packed.append(deflater.flush())
    header = struct.pack(">IIBBBBB", width, height, 8 * size, _COLOUR_TYPE[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b"".join(packed)), (b"IEND", b"")]
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def check(file: BinaryIO) -> int:
    """Returns the bits per sample of a complete PNG.

    Pillow shows missing rows as black if the compressed data ends early.

    Raises:
        ValueError: A chunk or a part of the pixel data is missing or damaged.
    """
    file.seek(len(_SIGNATURE))
    inflater, count, expected, depth = zlib.decompressobj(), 0, 0, 8
    while True:
        head = file.read(8)
        length, kind = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
        data, checksum = file.read(length), file.read(4)
        if len(data) < length or len(checksum) < 4:
            raise ValueError("the file ends early")
        if zlib.crc32(kind + data) != int.from_bytes(checksum):
            raise ValueError(f"wrong checksum in chunk {kind.decode('ascii', 'replace')}")
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data)
            bits = depth * _CHANNELS[colour]
            passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
            sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes]
            expected = sum(h * (1 + -(-w * bits // 8)) for w, h in sizes if w > 0 and h > 0)
        elif kind == b"IDAT":
            while data and count < expected:
                count += len(inflater.decompress(data, 1 << 20))
                data = inflater.unconsumed_tail
        elif kind == b"IEND":
            break
    if count < expected:
        raise ValueError("pixel data is missing")
    return depth


def _filter_rows(band: np.ndarray, previous: np.ndarray, pixel_bytes: int) -> bytes:
    """Filters rows and prefixes each with the number of its filter; `previous` is the row above."""
    above = np.concatenate([previous, band[:-1]])
    left, corner = (
        np.pad(x, ((0, 0), (pixel_bytes, 0)))[:, : x.shape[1]].astype(np.int16)
        for x in (band, above)
    )
    up = above.astype(np.int16)
    estimate = left + up - corner
    to_left, to_up, to_corner = (abs(estimate - x) for x in (left, up, corner))
    paeth = np.where(
        (to_left <= to_up) & (to_left <= to_corner),
        left,
        np.where(to_up <= to_corner, up, corner),
    )
    guesses = np.stack([np.zeros_like(up), left, up, (left + up) // 2, paeth]).astype(np.uint8)
    candidates = band - guesses  # modulo 256
    cost = np.minimum(candidates, -candidates).sum(axis=2, dtype=np.int64)
    best = cost.argmin(axis=0)
    chosen = candidates[best, np.arange(len(band))]
    return np.concatenate([best[:, None].astype(np.uint8), chosen], axis=1).tobytes()
