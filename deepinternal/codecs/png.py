"""PNG: an encoder for 8 and 16 bits, a check that a file is complete, and a decoder of 16-bit colour.

libpng encodes, because Pillow cannot write 16-bit colour. Pillow also reads only its high bytes, and
fills the missing pixels of a truncated file silently.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # number of channels by colour type
_HEADER = 33  # bytes of the signature and of the chunk IHDR
_METADATA = (b"cHRM", b"gAMA", b"sRGB", b"iCCP", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"eXIf")
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2))  # fmt: skip


def encode(samples: np.ndarray, extra: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """Encodes uint8 or uint16 samples (H, W, C), C = 1 to 4, as a PNG.

    Args:
        samples: The samples.
        extra: Further chunks, (kind, data), which precede the samples.
    """
    import imagecodecs

    whole = np.ascontiguousarray(samples)
    data = bytes(imagecodecs.png_encode(whole[..., 0] if whole.shape[2] == 1 else whole, level=6))
    chunks = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in extra
    )
    return data[:_HEADER] + chunks + data[_HEADER:]


def size(head: bytes) -> tuple[int, int]:
    """Returns the (width, height) from the first 24 bytes of a PNG."""
    return struct.unpack_from(">II", head, 16)


def check(file: BinaryIO) -> tuple[BinaryIO, int, list[str]]:
    """Checks that a PNG is complete.

    Pillow shows missing rows as black if the compressed data ends early. It refuses a file for a wrong
    checksum in any chunk, and for damaged metadata, even though the image does not need them.

    Returns:
        The file, without damaged ancillary chunks; its bits per sample; and remarks on what was left
        out.

    Raises:
        ValueError: A critical chunk or a part of the pixel data is missing or damaged.
    """
    from PIL.PngImagePlugin import PngStream

    file.seek(len(SIGNATURE))
    stream = PngStream(file)
    inflater, count, expected, depth, colour, damaged = zlib.decompressobj(), 0, 0, 8, 3, []
    while True:
        start, head = file.tell(), file.read(8)
        length, kind = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
        data, checksum = file.read(length), file.read(4)
        if len(data) < length or len(checksum) < 4:
            raise ValueError("the file ends early")
        if zlib.crc32(kind + data) != int.from_bytes(checksum):
            if not (kind.isalpha() and kind[:1].islower()):
                raise ValueError(f"wrong checksum in chunk {kind.decode('ascii', 'replace')}")
            damaged.append(
                (f"the checksum of the chunk {kind.decode()} is wrong", start, file.tell())
            )
        elif (kind in _METADATA and not _is_accepted(stream, kind, data)) or (
            kind == b"tRNS" and colour in (0, 2) and np.frombuffer(data, ">u2").max() >> depth
        ):
            damaged.append((f"the chunk {kind.decode()} is damaged", start, file.tell()))
        elif kind == b"IHDR":
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
    remarks = [f"{reason}; the chunk is ignored" for reason, _, _ in damaged]
    return _without(file, [(start, stop) for _, start, stop in damaged]), depth, remarks


def _is_accepted(stream: Any, kind: bytes, data: bytes) -> bool:
    """Whether Pillow's reader of chunks accepts one."""
    stream.fp = io.BytesIO(data)
    try:
        stream.call(kind, 0, len(data))
    except Exception:  # it raises several kinds
        return False
    return True


def _without(file: BinaryIO, spans: Sequence[tuple[int, int]]) -> BinaryIO:
    """Returns the file without the bytes of some spans, which are in order."""
    if not spans:
        return file
    file.seek(0)
    data = file.read()
    edges = [0, *(edge for span in spans for edge in span), len(data)]
    kept = zip(edges[::2], edges[1::2], strict=True)
    return io.BytesIO(b"".join(data[start:stop] for start, stop in kept))


def decode_wide(file: BinaryIO, layout: str) -> tuple[np.ndarray, Any]:
    """Returns all 16 bits of a PNG with several channels, of which Pillow keeps only the high bytes.

    Pillow's unpacker for the other byte order returns the low bytes. Grey with alpha has as many bytes
    per pixel as 8-bit RGBA and is unpacked as such.

    Args:
        file: A PNG.
        layout: Pillow's name for the layout of its samples, such as 'RGB;16B'.

    Returns:
        uint16 (H, W, C), and the loaded Pillow image (for its metadata).
    """
    from PIL import Image

    def unpack(layout: str) -> tuple[np.ndarray, Any]:
        file.seek(0)
        opened = Image.open(file, formats=("PNG",))
        opened.tile = [tile._replace(args=layout) for tile in opened.tile]
        return np.asarray(opened).astype(np.uint16), opened

    if layout == "LA;16B":
        packed, opened = unpack("RGBA")
        return packed[..., 0::2] << 8 | packed[..., 1::2], opened
    high, opened = unpack(layout)
    low, _ = unpack(layout.replace("16B", "16L"))
    return high << 8 | low, opened
