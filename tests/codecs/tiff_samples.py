"""A TIFF writer from the specification (TIFF 6.0 and its Technical Note 3), for tests of the reader."""

import lzma
import struct
import zlib

import numpy as np

from tests.codecs.image_samples import pack

NONE, LZW, DEFLATE, PACKBITS, LZMA, ZSTD = 1, 5, 8, 32773, 34925, 50000


def tiff(*pages, order="<", big=False):
    """A file of pages, each (segments, tags), with the bytes of its strips or tiles."""
    pointer = "Q" if big else "I"
    tag_head, size = ("HHQ", 8) if big else ("HHI", 4)
    head = {"<": b"II", ">": b"MM"}[order]
    head += struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42)
    data, links = bytearray(head + bytes(size)), [len(head)]
    for segments, tags in pages:
        offsets = []
        for segment in segments:
            offsets.append(len(data))
            data += segment + bytes(len(segment) % 2)
        tiled = 322 in tags
        tags = tags | {324 if tiled else 273: offsets}
        tags |= {325 if tiled else 279: [len(segment) for segment in segments]}
        entries = b""
        for tag, value in sorted(tags.items()):
            if isinstance(value, bytes):
                kind, count, packed = 7, len(value), value
            elif np.asarray(value).dtype.kind == "f":  # fractions
                kind, count = 5, len(value)
                parts = [part for x in value for part in (round(x * 10000), 10000)]
                packed = struct.pack(f"{order}{2 * count}I", *parts)
            else:
                values = np.ravel(value).tolist()
                kind, code = (3, "H") if max(values) < 65536 and tag not in (273, 324) else (4, "I")
                count, packed = len(values), struct.pack(f"{order}{len(values)}{code}", *values)
            if len(packed) > size:
                place = len(data)
                data += packed + bytes(len(packed) % 2)
                packed = struct.pack(order + pointer, place)
            entries += struct.pack(order + tag_head, tag, kind, count) + packed.ljust(size, b"\0")
        struct.pack_into(order + pointer, data, links[-1], len(data))
        data += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries
        links.append(len(data))
        data += bytes(size)
    return bytes(data)


def page(
    samples,
    bits=8,
    *,
    photometric,
    order="<",
    planar=1,
    rows=None,
    tile=None,
    compression=NONE,
    predictor=1,
    fill=1,
    tags=None,
):
    """Segments and tags of samples (H, W, C): integers of `bits`, or floats.

    Args:
        samples: The values as stored.
        bits: Bits per sample.
        photometric: What the samples mean.
        order: '<' or '>'.
        planar: 1 (channels in pixels) or 2 (in planes).
        rows: Rows per strip.
        tile: (height, width) of the tiles.
        compression: One of the constants above.
        predictor: 1, 2 (differences) or 3 (of floats).
        fill: 2 reverses the bits of every byte.
        tags: More tags.
    """
    height, width, channels = samples.shape
    is_float = samples.dtype.kind == "f"
    base = {256: width, 257: height, 258: [bits] * channels, 259: compression, 262: photometric,
            266: fill, 277: channels, 284: planar, 317: predictor}  # fmt: skip
    if is_float:
        base[339] = [3] * channels
    if tile:
        base |= {322: tile[1], 323: tile[0]}
        padding = [(0, -height % tile[0]), (0, -width % tile[1]), (0, 0)]
        samples = np.pad(samples, padding, mode="edge")
    else:
        base[278] = rows or height
    step_y, step_x = tile or (base[278], width)
    planes = [samples] if planar == 1 else [samples[..., c : c + 1] for c in range(channels)]
    segments = [
        _segment(plane[y : y + step_y, x : x + step_x], bits, order, compression, predictor, fill)
        for plane in planes
        for y in range(0, plane.shape[0], step_y)
        for x in range(0, plane.shape[1], step_x)
    ]
    return segments, base | (tags or {})


def _segment(samples, bits, order, compression, predictor, fill):
    height, _, channels = samples.shape
    if samples.dtype.kind == "f" and predictor != 3:
        samples = samples.astype(f"f{bits // 8}").view(f"u{bits // 8}")
    if predictor == 2:
        samples = np.diff(samples.astype(np.uint64), axis=1, prepend=np.uint64(0))
        samples &= np.uint64(2**bits - 1)
    if predictor == 3:  # the bytes of each row by significance, as differences
        planes = samples.astype(f">f{bits // 8}").view(np.uint8).reshape(height, -1, bits // 8)
        planes = planes.transpose(0, 2, 1).reshape(height, -1, channels).astype(int)
        raw = (np.diff(planes, axis=1, prepend=0) % 256).astype(np.uint8).tobytes()
    elif bits in (8, 16, 32, 64):
        raw = samples.astype(f"{order}u{bits // 8}").tobytes()
    else:
        raw = pack(samples.reshape(height, -1), bits)
    raw = COMPRESS[compression](raw)
    return np.packbits(np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")).tobytes() \
        if fill == 2 else raw  # fmt: skip


def _lzw(raw):
    """Codes of 9 bits, cleared before they would grow."""
    codes = []
    for start in range(0, len(raw), 200):
        codes += [256, *raw[start : start + 200]]
    return pack(np.array([[*codes, 257]]), 9)


def _packbits(raw):
    parts = [raw[start : start + 128] for start in range(0, len(raw), 128)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


def _zstd(raw):
    """One stored block."""
    block = struct.pack("<I", 1 | len(raw) << 3)[:3]
    return b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(raw)) + block + raw


COMPRESS = {NONE: bytes, LZW: _lzw, DEFLATE: zlib.compress, PACKBITS: _packbits,
            LZMA: lzma.compress, ZSTD: _zstd}  # fmt: skip
