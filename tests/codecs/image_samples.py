"""Images for the tests of the readers and writers, with a PNG codec from the specification."""

import struct
import zlib

import numpy as np

COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
SIZE = (21, 34)  # of `integers`
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


def png_bytes(samples, *, interlaced=False, extra=b"", size=None, rows=None):
    """Unfiltered PNG of uint8 or uint16 (H, W, C); `size` and `rows` make it lie."""
    height, width, channels = samples.shape
    depth, raw = 8 * samples.dtype.itemsize, b""
    for x, y, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        for row in samples[y::dy, x::dx][:rows]:
            raw += b"\0" + row.astype(f">u{depth // 8}").tobytes() if row.size else b""
    size = size or (width, height)
    return png_file(raw, size, depth, COLOUR_TYPE[channels], interlaced=interlaced, extra=extra)


def png_packed(samples, depth, colour, *, interlaced=False, extra=b""):
    """Unfiltered PNG of integers (H, W, C) of 1 to 16 bits."""
    height, width, _ = samples.shape
    raw = b""
    for x, y, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        for row in samples[y::dy, x::dx]:
            raw += b"\0" + pack(row.reshape(1, -1), depth) if row.size else b""
    return png_file(raw, (width, height), depth, colour, interlaced=interlaced, extra=extra)


def pack(rows, bits):
    """The bytes of rows of integers of `bits`, the highest bit first; each row starts a byte."""
    ones = (rows[..., None].astype(np.int64) >> np.arange(bits)[::-1]) & 1
    return np.packbits(ones.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def bmp(pixels, bits, *, palette=None, masks=(), compression=None, top_down=False):
    """BMP of integers (H, W) of `bits`: indices of a palette (N, 3), or colours by masks.

    Args:
        pixels: The integers.
        bits: 1, 4, 8, 16, 24 or 32.
        palette: RGB colours.
        masks: The bits of red, green and blue; a fourth one, of alpha, needs a longer header.
        compression: 1 or 2 for runs of 8 or 4 bits.
        top_down: Whether the first row comes first.
    """
    height, width = pixels.shape
    rows = pixels if top_down else pixels[::-1]
    if compression:  # runs of one pixel
        factor = 17 if compression == 2 else 1
        data = b"".join(b"".join(bytes([1, v * factor]) for v in row) + b"\0\0" for row in rows)
    elif bits >= 16:
        raw = rows.astype("<u4")[..., None].view(np.uint8)[..., : bits // 8].reshape(height, -1)
        data = np.pad(raw, [(0, 0), (0, -raw.shape[1] % 4)]).tobytes()
    else:
        packed = pack(rows, bits)
        length = len(packed) // height
        data = b"".join(
            packed[i : i + length] + bytes(-length % 4) for i in range(0, len(packed), length)
        )
    colours = (
        b"" if palette is None else np.insert(palette[:, ::-1], 3, 0, 1).astype("u1").tobytes()
    )
    compression = compression or (3 if masks else 0)
    size = 56 if len(masks) == 4 else 40
    signed = -height if top_down else height
    head = struct.pack("<IiiHHIIiiII", size, width, signed, 1, bits, compression, len(data), 0, 0,
                       len(colours) // 4, 0)  # fmt: skip
    head += struct.pack(f"<{len(masks)}I", *masks) + colours
    start = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + data


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


def integers(channels, bits, seed=0):
    """Random integers of so many bits, (H, W, C)."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2**bits, (*SIZE, channels)).astype(np.uint64)


def fraction(stored, bits):
    """Integers as parts of the greatest one."""
    return stored.astype(float) / (2**bits - 1)


def to_rgb(luma, chroma):
    """Full-range YCbCr of BT.601 in 0 to 255 as RGB in [0, 1]."""
    y, cb, cr = luma.astype(float), *(np.moveaxis(chroma.astype(float), -1, 0) - 128)
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1)
    return rgb.clip(0, 255) / 255


def gentle(mode):
    """Gentle ramps, (32, 48) or (32, 48, C) uint8, which a JPEG keeps nearly."""
    channels = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    y, x = np.mgrid[:32, :48]
    planes = [60 + 2 * x + 30 * c + y * (c % 2) for c in range(channels)]
    return np.stack(planes, -1).astype(np.uint8).squeeze()


def shown(stored):
    """What the eye must see of grey, RGB or CMYK, in [0, 1]."""
    parts = stored.reshape(32, 48, -1) / 255
    return (1 - parts[..., :3]) * (1 - parts[..., 3:]) if parts.shape[2] == 4 else parts
