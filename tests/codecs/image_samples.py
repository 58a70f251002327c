"""Images for the tests of the readers and writers, with a PNG codec from the specification."""

import struct
import zlib

import numpy as np

COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
SIGNATURE = b"\x89PNG\r\n\x1a\n"
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
         (0, 1, 1, 2))  # fmt: skip


def smooth(height=21, width=34, channels=3, depth=16, seed=0):
    """Ramps with noise, so that an adaptive encoder uses several row filters."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    planes = [(x * (c + 1) + y * (3 - c)) / 150 + 0.02 * rng.random(x.shape) for c in range(4)]
    values = np.stack(planes[:channels], -1) % 1
    values[::5] = rng.random(values[::5].shape)
    return np.round(values * (2**depth - 1)).astype(f"u{depth // 8}")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_file(raw, size, depth, colour, *, interlaced=False, extra=b""):
    """PNG of a (width, height) from the bytes of its rows, each behind its filter's number."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, int(interlaced)))
    return SIGNATURE + header + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def png_bytes(samples, *, colour=None, interlaced=False, extra=b"", size=None, rows=None):
    """Unfiltered PNG of uint8 or uint16 (H, W, C); `size` and `rows` make it lie."""
    height, width, channels = samples.shape
    depth, raw = 8 * samples.dtype.itemsize, b""
    for x, y, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        for row in samples[y::dy, x::dx][:rows]:
            raw += b"\0" + row.astype(f">u{depth // 8}").tobytes() if row.size else b""
    colour = COLOUR_TYPE[channels] if colour is None else colour
    size = size or (width, height)
    return png_file(raw, size, depth, colour, interlaced=interlaced, extra=extra)


def decode_png(data):
    """Integer samples (H, W, C) of a non-interlaced PNG, and the filters it uses."""
    assert data[:8] == SIGNATURE
    position, idat, kinds = 8, b"", []
    while position < len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        body = data[position + 8 : position + 8 + length]
        assert data[position + 8 + length :][:4] == struct.pack(">I", zlib.crc32(kind + body))
        kinds.append(kind)
        if kind == b"IHDR":
            width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", body)
            assert rest == [0, 0, 0]
        idat += body if kind == b"IDAT" else b""
        position += 12 + length
    assert (kinds[0], kinds[-1]) == (b"IHDR", b"IEND")
    channels = {0: 1, 4: 2, 2: 3, 6: 4}[colour]
    step = channels * depth // 8
    raw = zlib.decompress(idat)
    above, out, filters = [0] * (width * step), [], set()
    for y in range(height):
        kind, *line = raw[y * (width * step + 1) : (y + 1) * (width * step + 1)]
        filters.add(kind)
        for i in range(len(line)):
            a, b = (line[i - step] if i >= step else 0), above[i]
            c = above[i - step] if i >= step else 0
            p = a + b - c
            nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line[i] = (line[i] + [0, a, b, (a + b) // 2, nearest][kind]) % 256
        out.append(line)
        above = line
    array = np.array(out, np.uint8).view(f">u{depth // 8}")
    return array.reshape(height, width, channels).astype(int), filters
