"""Image and kernel files: exact round trips, one-line refusals, atomic writes.

PNGs are checked against a decoder and an encoder written here from the specification, other
formats against files that Pillow and tifffile write.
"""

import logging
import os
import struct
import subprocess
import sys
import warnings
import zlib

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
import tifffile
from PIL import Image, ImageFile

from deepinternal.runtime import image_io
from deepinternal.types import InputError

COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
SIGNATURE = b"\x89PNG\r\n\x1a\n"
ADAM7 = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bytes(samples, *, colour=None, interlaced=False, extra=b"", header=None, rows=None):
    """Unfiltered PNG of uint8 or uint16 (H, W, C); `header` and `rows` make it lie."""
    height, width, channels = samples.shape
    depth = 8 * samples.dtype.itemsize
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    raw = b""
    for x, y, dx, dy in passes:
        for row in samples[y::dy, x::dx][:rows]:
            raw += b"\0" + row.astype(f">u{depth // 8}").tobytes() if row.size else b""
    colour = COLOUR_TYPE[channels] if colour is None else colour
    width, height = header or (width, height)
    ihdr = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    body = chunk(b"IHDR", ihdr) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return SIGNATURE + body


def packed_png(rows, width, depth, colour, extra=b""):
    """PNG from rows of packed bytes, for depths below 8."""
    raw = b"".join(b"\0" + bytes(row) for row in rows)
    ihdr = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", ihdr) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return SIGNATURE + body


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
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
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


def samples_of(image):
    """All channels of an ImageFile in units of its bit depth (float64)."""
    parts = [image.pixels] if image.alpha is None else [image.pixels, image.alpha[..., None]]
    return np.concatenate(parts, -1).astype(np.float64) * (2**image.bit_depth - 1)


def smooth(height=21, width=34, channels=3, depth=16, seed=0):
    """Ramps with noise, so that an adaptive encoder uses several row filters."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    planes = [(x * (c + 1) + y * (3 - c)) / 150 + 0.02 * rng.random(x.shape) for c in range(4)]
    values = np.stack(planes[:channels], -1) % 1
    values[::5] = rng.random(values[::5].shape)
    return np.round(values * (2**depth - 1)).astype(f"u{depth // 8}")


@pytest.fixture
def refuse(capfd):
    """Asserts that reading is refused in one line that names the file and prints nothing."""

    def check(path, *words, read=image_io.read_image, **options):
        capfd.readouterr()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            with pytest.raises(InputError) as caught:
                read(path, **options)
        message = str(caught.value)
        assert "\n" not in message
        assert os.path.basename(os.fspath(path)) in message
        assert ";" in message or ", or" in message, "says what would be right"
        for word in words:
            assert word in message
        assert not seen
        assert capfd.readouterr() == ("", "")
        return message

    return check


# Round trips.


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_round_trip_is_exact(tmp_path, depth, channels):
    stored = smooth(channels=channels, depth=depth)
    image = image_io.to_array(stored)
    path = tmp_path / "a.png"
    image_io.write_image(path, image.pixels, alpha=image.alpha, bit_depth=depth)
    decoded, filters = decode_png(path.read_bytes())
    np.testing.assert_array_equal(decoded, stored)
    assert len(filters) >= 3, "the test exercises the filters"
    back = image_io.read_image(path)
    assert (back.bit_depth, back.grey, back.path) == (depth, channels < 3, str(path))
    assert back.pixels.dtype == np.float32
    assert (back.alpha is not None) == (channels in (2, 4))
    np.testing.assert_array_equal(back.pixels, image.pixels)
    np.testing.assert_array_equal(np.round(samples_of(back)), stored)
    np.testing.assert_allclose(samples_of(back), stored, atol=0.01)
    if depth == 8:
        np.testing.assert_array_equal(np.asarray(Image.open(path)), np.squeeze(stored))


def test_every_16_bit_level_survives(tmp_path):
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    image_io.write_image(tmp_path / "a.png", levels / 65535.0, bit_depth=16)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), levels)
    read = image_io.read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image_io.from_float(read.pixels, levels), levels)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (200, 1), (130, 3)])
def test_odd_sizes_round_trip(tmp_path, size):
    stored = smooth(*size)
    image_io.write_image(tmp_path / "a.png", stored / 65535.0, bit_depth=16)
    np.testing.assert_array_equal(decode_png((tmp_path / "a.png").read_bytes())[0], stored)


def test_tall_image_that_is_predicted_from_the_row_above(tmp_path):
    row = np.random.default_rng(0).integers(0, 65536, (1, 30, 3), dtype=np.uint16)
    stored = np.repeat(row, 300, axis=0)
    image_io.write_image(tmp_path / "a.png", stored / 65535.0, bit_depth=16)
    decoded, filters = decode_png((tmp_path / "a.png").read_bytes())
    np.testing.assert_array_equal(decoded, stored)
    assert 2 in filters
    assert (tmp_path / "a.png").stat().st_size < 1500


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_reads_foreign_png(tmp_path, depth, channels, interlaced):
    stored = smooth(11, 13, channels, depth)
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(stored, interlaced=interlaced))
    image = image_io.read_image(path)
    assert image.bit_depth == depth
    np.testing.assert_array_equal(np.round(samples_of(image)), stored)


def test_writes_clip_and_round(tmp_path):
    image_io.write_image(tmp_path / "a.png", np.array([[-1.0, 0.4 / 255, 0.6 / 255, 1.0, 7.0]]))
    decoded, _ = decode_png((tmp_path / "a.png").read_bytes())
    assert decoded.ravel().tolist() == [0, 0, 1, 255, 255]


@pytest.mark.parametrize(
    ("pixels", "options", "word"),
    [
        (np.ones((2, 2, 2)), {}, "shape"),
        (np.ones((0, 2)), {}, "shape"),
        (np.full((2, 2), np.nan), {}, "NaN"),
        (np.ones((2, 2)), {"bit_depth": 12}, "bit depth"),
        (np.ones((2, 2)), {"alpha": np.ones((3, 2))}, "alpha"),
    ],
)
def test_write_refuses(tmp_path, pixels, options, word):
    with pytest.raises(InputError, match=word):
        image_io.write_image(tmp_path / "a.png", pixels, **options)
    with pytest.raises(InputError, match=r"\.png"):
        image_io.write_image(tmp_path / "a.jpg", np.ones((2, 2)))
    assert not list(tmp_path.iterdir())


# Formats.


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_reads_packed_grey_png_and_its_transparent_level(tmp_path, depth):
    level = 2**depth - 1
    row = int("".join(f"{v:0{depth}b}" for v in [0, level, 0, level, 0, 0, 0, level]), 2)
    row = row.to_bytes(depth)
    (tmp_path / "a.png").write_bytes(packed_png([row], 8, depth, 0))
    image = image_io.read_image(tmp_path / "a.png")
    assert image.alpha is None
    assert image.grey
    assert image.pixels[0, :, 0].tolist() == [0, 1, 0, 1, 0, 0, 0, 1]
    extra = chunk(b"tRNS", struct.pack(">H", level))
    (tmp_path / "b.png").write_bytes(packed_png([row], 8, depth, 0, extra))
    alpha = image_io.read_image(tmp_path / "b.png").alpha
    assert alpha[0].tolist() == [1, 0, 1, 0, 1, 1, 1, 0]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", [8, 16])
def test_transparent_colour_becomes_alpha(tmp_path, depth, channels):
    stored = smooth(5, 6, channels, depth)
    key = stored[2, 3]
    extra = chunk(b"tRNS", struct.pack(f">{channels}H", *key))
    (tmp_path / "a.png").write_bytes(png_bytes(stored, extra=extra))
    image = image_io.read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image.alpha, 1.0 - (stored == key).all(-1))
    assert image.alpha[2, 3] == 0
    np.testing.assert_array_equal(
        np.round(image.pixels.astype(np.float64) * (2**depth - 1)), stored
    )


@pytest.mark.parametrize("transparent", [False, True])
def test_palette_png(tmp_path, transparent):
    palette = np.array([[255, 0, 0], [0, 255, 0], [9, 8, 7]], np.uint8)
    index = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    extra = chunk(b"PLTE", palette.tobytes())
    extra += chunk(b"tRNS", bytes([255, 51])) if transparent else b""
    (tmp_path / "a.png").write_bytes(png_bytes(index[..., None], colour=3, extra=extra))
    image = image_io.read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(np.round(image.pixels * 255), palette[index])
    assert not image.grey
    if transparent:
        expected = np.array([255, 51, 255])[index]
        np.testing.assert_array_equal(np.round(image.alpha * 255), expected)
    else:
        assert image.alpha is None


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg(tmp_path, mode):
    colour = smooth(32, 48, 3, 8) // 4 + 90
    source = Image.fromarray(colour).convert(mode)
    source.save(tmp_path / "a.jpg", quality=100, subsampling=0)
    image = image_io.read_image(tmp_path / "a.jpg")
    assert image.grey == (mode == "L")
    assert image.bit_depth == 8
    reference = np.asarray(source if mode == "L" else source.convert("RGB")).reshape(32, 48, -1)
    assert np.abs(image.pixels * 255 - reference).mean() < 2


# What the eye must see, from the stored array: EXIF 2.32, tag 274.
ORIENTED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: np.rot90(a, 2),
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, orientation):
    stored = smooth(10, 14, 3, 8)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(stored).save(tmp_path / "a.webp", exif=exif, lossless=True)
    Image.fromarray(stored).save(tmp_path / "a.tif", tiffinfo={274: orientation})
    tag = [(274, 3, 1, orientation, True)]
    tifffile.imwrite(tmp_path / "b.tif", stored * np.uint16(257), photometric="rgb", extratags=tag)
    tifffile.imwrite(tmp_path / "c.tif", stored / 255, photometric="rgb", extratags=tag)
    for name in ("a.png", "a.webp", "a.tif", "b.tif", "c.tif"):
        image = image_io.read_image(tmp_path / name)
        np.testing.assert_array_equal(
            np.round(image.pixels * 255), ORIENTED[orientation](stored), err_msg=name
        )
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    image = image_io.read_image(tmp_path / "a.jpg")
    reference = ORIENTED[orientation](np.asarray(Image.open(tmp_path / "a.jpg")))
    np.testing.assert_array_equal(np.round(image.pixels * 255), reference)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_tiff(tmp_path, dtype, channels, planes, byteorder):
    stored = smooth(9, 12, channels, 16)
    stored = stored.astype("f4") / 65535 if dtype == "f4" else stored
    stored = (stored // 257).astype("u1") if dtype == "u1" else stored
    layout = np.moveaxis(stored, -1, 0) if planes == "separate" else stored
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored[..., 0] if channels == 1 else np.ascontiguousarray(layout),
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig=planes if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        byteorder=byteorder,
    )
    image = image_io.read_image(tmp_path / "a.tif")
    assert image.bit_depth == (8 if dtype == "u1" else 16)
    assert image.grey == (channels < 3)
    scale = 2**image.bit_depth - 1 if dtype == "f4" else 1
    np.testing.assert_allclose(samples_of(image), stored.astype(np.float64) * scale, atol=0.01)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_compressed_tiff(tmp_path, compression):
    stored = smooth(16, 16, 3, 8) // 4
    Image.fromarray(stored).save(tmp_path / "a.tif", compression=compression)
    reference = np.asarray(Image.open(tmp_path / "a.tif"))
    image = image_io.read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(np.round(image.pixels * 255), reference)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
@pytest.mark.parametrize("channels", [1, 3])
def test_deflated_tiff_of_either_byte_order(tmp_path, channels, dtype, byteorder):
    stored = smooth(9, 12, channels, 16).squeeze() / 65535
    stored = stored if dtype[0] == "f" else stored * np.iinfo(dtype).max
    stored = stored.astype(dtype)
    photometric = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric=photometric, compression=8, byteorder=byteorder
    )
    image = image_io.read_image(tmp_path / "a.tif")
    back = image_io.from_float(image.pixels, stored)
    np.testing.assert_array_equal(back, stored if dtype[0] == "u" else stored.astype(np.float32))


def test_premultiplied_16_bit_tiff(tmp_path):
    stored = smooth(9, 12, 4, 16)
    stored[..., :3] = stored[..., :3].astype(float) * stored[..., 3:] / 65535
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"], compression=8
    )
    image = image_io.read_image(tmp_path / "a.tif")
    again = image.pixels.astype(np.float64) * image.alpha[..., None] * 65535
    np.testing.assert_allclose(again, stored[..., :3], atol=1.01)
    np.testing.assert_array_equal(np.round(image.alpha.astype(np.float64) * 65535), stored[..., 3])


@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_bmp(tmp_path, mode):
    source = Image.fromarray(smooth(9, 12, 3, 8)).convert(mode)
    source.save(tmp_path / "a.bmp")
    reference = np.asarray(source.convert("L") if mode == "1" else source).reshape(9, 12, -1)
    image = image_io.read_image(tmp_path / "a.bmp")
    np.testing.assert_array_equal(np.round(image.pixels * 255), reference)


@pytest.mark.parametrize("channels", [3, 4])
def test_webp(tmp_path, channels):
    stored = smooth(9, 12, channels, 8)
    Image.fromarray(stored).save(tmp_path / "a.webp", lossless=True, exact=True)
    image = image_io.read_image(tmp_path / "a.webp")
    np.testing.assert_array_equal(np.round(samples_of(image)), stored)


def test_still_gif(tmp_path):
    source = Image.fromarray(smooth(9, 12, 3, 8)).quantize(16)
    source.save(tmp_path / "a.gif")
    image = image_io.read_image(tmp_path / "a.gif")
    np.testing.assert_array_equal(np.round(image.pixels * 255), np.asarray(source.convert("RGB")))


def test_camera_jpeg_with_a_preview_is_one_image(tmp_path):
    first = Image.fromarray(smooth(16, 24, 3, 8))
    preview = Image.fromarray(smooth(8, 8, 3, 8))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    assert Image.open(tmp_path / "a.jpg").n_frames == 2
    assert image_io.read_image(tmp_path / "a.jpg").pixels.shape == (16, 24, 3)


@pytest.mark.parametrize("name", ["with space.png", "écran 画像 🖼.png", "100%_{x}.png"])
def test_names(tmp_path, name):
    stored = smooth(4, 5, 3, 8)
    image_io.write_image(tmp_path / name, stored / 255)
    np.testing.assert_array_equal(
        np.round(image_io.read_image(str(tmp_path / name)).pixels * 255), stored
    )


# Bad files.


def test_refuses_what_is_not_a_readable_file(tmp_path, refuse, monkeypatch):
    refuse(tmp_path / "none.png", "no such file")
    refuse(tmp_path, "folder")
    (tmp_path / "empty.png").touch()
    refuse(tmp_path / "empty.png", "empty")
    os.symlink(tmp_path / "loop.png", tmp_path / "loop.png")
    refuse(tmp_path / "loop.png", "cannot be opened")
    os.mkfifo(tmp_path / "pipe.png")
    refuse(tmp_path / "pipe.png", "not a regular file")
    (tmp_path / "text.png").write_text("not\nan\nimage\n" * 100)
    refuse(tmp_path / "text.png", "is not a PNG")
    (tmp_path / "secret.png").write_bytes(png_bytes(smooth()))

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(image_io, "open", denied, raising=False)
    refuse(tmp_path / "secret.png", "permission denied")


@pytest.mark.parametrize("path", ["new\nline.png", "zero\0byte.png"])
def test_odd_names_stay_one_line(tmp_path, path):
    with pytest.raises(InputError) as caught:
        image_io.read_image(os.path.join(tmp_path, path))
    assert str(caught.value).isprintable()


DAMAGED = ("png", "jpg", "tif", "lzw.tif", "float.tif", "webp", "bmp", "gif")


def saved(path, kind):
    """A small image file of the named kind."""
    stored = smooth(24, 32, 3, 8)
    source = Image.fromarray(stored)
    if kind == "png":
        source.save(path)
    elif kind == "wide.png":
        path.write_bytes(png_bytes(smooth(12, 12)))
    elif kind == "interlaced.png":
        path.write_bytes(png_bytes(stored, interlaced=True))
    elif kind == "float.tif":
        tifffile.imwrite(path, stored / np.float32(255), photometric="rgb")
    elif kind == "progressive.jpg":
        source.save(path, progressive=True)
    elif kind == "lzw.tif":
        source.save(path, compression="tiff_lzw")
    else:
        source.save(path)


@pytest.mark.parametrize(
    "kind",
    [*DAMAGED, "wide.png", "interlaced.png", "progressive.jpg"],
)
def test_truncated_files_are_never_half_read(tmp_path, refuse, kind):
    path = tmp_path / f"a.{kind}"
    saved(path, kind)
    data, whole = path.read_bytes(), image_io.read_image(path).pixels
    for length in sorted({*range(1, len(data) - 2, max(1, len(data) // 60)), len(data) - 3}):
        path.write_bytes(data[:length])
        try:
            # Formats that end in metadata or padding may still have all their pixels.
            np.testing.assert_array_equal(image_io.read_image(path).pixels, whole)
            assert kind in ("bmp", "gif", "tif", "lzw.tif", "float.tif"), length
            assert length > 0.9 * len(data)
        except InputError:
            refuse(path)


def test_png_with_missing_or_damaged_pixels(tmp_path, refuse):
    stored = smooth(20, 30, 3, 8)
    path = tmp_path / "short.png"
    path.write_bytes(png_bytes(stored, rows=10))
    refuse(path, "pixel data is missing")
    path.write_bytes(png_bytes(stored, rows=1, interlaced=True))
    refuse(path, "pixel data is missing")
    whole = bytearray(png_bytes(stored))
    # The size, the compressed pixels, and nothing but their checksum (IEND is 12 bytes).
    for position in (20, len(whole) // 2, len(whole) - 13):
        damaged = whole.copy()
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        refuse(path)


def test_decoders_log_nothing_to_stderr(tmp_path, refuse, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((24, 32, 3), "f4"), photometric="rgb", compression=8)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20].replace(struct.pack("<H", 339), struct.pack("<H", 33923)))
    # Without any handler, as in a program that configures no logging, Python logs to stderr.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    refuse(path)
    entries = whole[8:].replace(struct.pack("<HHI", 258, 3, 3), struct.pack("<HHI", 258, 3, 9**8))
    path.write_bytes(whole[:8] + entries)
    refuse(path)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_raise_nothing_else(tmp_path, refuse, seed):
    rng = np.random.default_rng(seed)
    for kind in DAMAGED:
        path = tmp_path / f"a.{kind}"
        saved(path, kind)
        data = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(15):
            damaged = data.copy()
            where = rng.integers(0, min(len(data), 400), 4)
            damaged[where] = rng.integers(0, 256, 4)
            path.write_bytes(damaged.tobytes())
            try:
                image_io.read_image(path, max_pixels=10_000_000)
            except InputError:
                refuse(path, max_pixels=10_000_000)


def test_too_many_pixels_are_refused_from_the_header(tmp_path, refuse, monkeypatch):
    small = smooth(4, 4, 3, 8)
    path = tmp_path / "bomb.png"
    loads = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", loads.append)
    monkeypatch.setattr(image_io, "_check_png", loads.append)
    path.write_bytes(png_bytes(small, header=(50000, 50000)))
    refuse(path, "pixels", "100000000")
    path.write_bytes(png_bytes(small, header=(11000, 10000)))  # where Pillow only warns
    refuse(path, "11000x10000", "100000000")
    path.write_bytes(png_bytes(small))
    refuse(path, "4x4", "15", max_pixels=15)
    path.write_bytes(png_bytes(small, header=(0, 7)))
    refuse(path)
    tifffile.imwrite(tmp_path / "f.tif", np.zeros((9, 9, 3), "f4"), photometric="rgb")
    refuse(tmp_path / "f.tif", "9x9", max_pixels=80)
    assert not loads


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_several_frames_are_refused(tmp_path, refuse, suffix):
    frames = [Image.fromarray(smooth(8, 9, 3, 8, seed)) for seed in range(3)]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    refuse(path, "3 frames")


def test_float_pages_are_refused(tmp_path, refuse):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 8, 9, 3), "f4"), photometric="rgb")
    refuse(tmp_path / "a.tif", "5 pages")


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 3)])
@pytest.mark.parametrize(
    ("value", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (-0.1, "[0, 1]"), (200.0, "[0, 1]")]
)
def test_float_tiff_values(tmp_path, refuse, shape, value, word):
    stored = np.full(shape, 0.5, np.float32)
    stored[2, 3] = value
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb" if len(shape) == 3 else "minisblack"
    )
    refuse(tmp_path / "a.tif", word)


@pytest.mark.parametrize("dtype", ["i2", "u4", "i4"])
def test_integer_tiffs_of_other_types_are_refused(tmp_path, refuse, dtype):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((5, 6), dtype))
    refuse(tmp_path / "a.tif")


# Arrays.


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.float16, bool])
def test_arrays_there_and_back(dtype, channels):
    shape = (5, 6) if channels is None else (5, 6, channels)
    values = np.random.default_rng(0).random(shape)
    kind = np.dtype(dtype).kind
    array = values * np.iinfo(dtype).max if kind == "u" else values.round() * (kind == "b")
    array = array.astype(dtype) if kind in "ub" else values.astype(dtype)
    image = image_io.to_array(array)
    assert image.pixels.shape == (5, 6, 3 if channels in (3, 4) else 1)
    assert image.bit_depth == (8 if dtype in (np.uint8, bool) else 16)
    assert image.grey == (channels not in (3, 4))
    back = image_io.from_float(image.pixels, array, alpha=image.alpha)
    assert back.shape == shape
    assert back.dtype == (dtype if kind == "u" else np.float32)
    np.testing.assert_allclose(back.astype(float), array.astype(float), atol=1e-7)


def test_from_float_keeps_what_the_like_cannot_hold():
    like = np.zeros((4, 4), np.uint8)
    assert image_io.from_float(np.ones((8, 8, 3)), like).shape == (8, 8, 3)
    mask = image_io.from_float(jnp.full((8, 8), 2.0), np.zeros((4, 4, 3), np.uint8))
    assert mask.shape == (8, 8)
    assert (mask == 255).all()
    with pytest.raises(InputError, match="NaN"):
        image_io.from_float(np.full((2, 2), np.nan), like)


def test_jax_arrays_and_tiny_overshoot():
    image = image_io.to_array(jnp.array([[1.0000001, -1e-7]]))
    assert image.pixels.ravel().tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros((3, 8, 9)), "shape"),
        (np.zeros(5), "shape"),
        (np.zeros((0, 5)), "pixels"),
        (np.zeros((4, 0, 3), np.uint8), "pixels"),
        (np.zeros((4, 4), np.int32), "int32"),
        (np.zeros((4, 4), complex), "complex"),
        (np.array([["a"]]), "type"),
        (np.full((4, 4), 255.0), "scale"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.array([[np.inf, 0]]), "infinite"),
    ],
)
def test_arrays_refused(array, word):
    with pytest.raises(InputError, match=f"^photo: .*{word}") as caught:
        image_io.to_array(array, name="photo")
    assert "\n" not in str(caught.value)


# Kernels.


@pytest.fixture
def kernel():
    values = np.random.default_rng(1).random((7, 7))
    values[0, 0] = -0.01
    return values


def store(path, values):
    if path.suffix == ".mat":
        scipy.io.savemat(path, {"Kernel": values})
    elif path.suffix == ".npy":
        np.save(path, values)
    else:
        tifffile.imwrite(path, values.astype(np.float32))


@pytest.mark.parametrize("suffix", [".mat", ".npy", ".tif"])
def test_kernel_files(tmp_path, kernel, suffix):
    path = tmp_path / f"k{suffix}"
    store(path, kernel)
    read = image_io.read_kernel(path)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, kernel / kernel.sum(), rtol=1e-5)


@pytest.mark.parametrize("depth", [8, 16])
def test_kernel_png(tmp_path, depth):
    stored = smooth(9, 9, 1, depth)
    (tmp_path / "k.png").write_bytes(png_bytes(stored))
    expected = stored[..., 0] / stored.sum(dtype=float)
    np.testing.assert_allclose(image_io.read_kernel(tmp_path / "k.png"), expected, rtol=1e-5)


@pytest.mark.parametrize("suffix", [".mat", ".npy"])
@pytest.mark.parametrize(
    ("values", "word"),
    [
        (np.ones((3, 3, 3)), "(K, K)"),
        (np.ones((3, 4)), "square"),
        (np.ones((100, 100)), "99x99"),
        (np.ones((0, 0)), "1x1"),
        (np.array([[np.nan, 1], [1, 1]]), "NaN"),
        (np.array([[np.inf, 1], [1, 1]]), "infinite"),
        (np.array([[-2.0, 1], [0, 0]]), "sum"),
        (np.array([[-1.0, 1], [0, 0]]), "sum"),
        (np.zeros((3, 3)), "zero"),
        (np.ones((3, 3), complex) * 1j, "real"),
    ],
)
def test_kernels_refused(tmp_path, refuse, suffix, values, word):
    path = tmp_path / f"k{suffix}"
    store(path, values)
    if suffix == ".npy" and values.size == 0:
        word = ""  # NumPy cannot map an empty file, and says so
    refuse(path, word, read=image_io.read_kernel)


def test_unreadable_kernels(tmp_path, refuse):
    def check(name, *words):
        refuse(tmp_path / name, *words, read=image_io.read_kernel)

    scipy.io.savemat(tmp_path / "names.mat", {"blur": np.eye(3), "kernel": np.eye(3)})
    check("names.mat", "Kernel", "blur", "kernel")
    scipy.io.savemat(tmp_path / "struct.mat", {"Kernel": {"a": 1}})
    check("struct.mat")
    scipy.io.savemat(tmp_path / "cut.mat", {"Kernel": np.random.default_rng(0).random((9, 9))})
    (tmp_path / "cut.mat").write_bytes((tmp_path / "cut.mat").read_bytes()[:300])
    check("cut.mat")
    (tmp_path / "hdf.mat").write_bytes(
        b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400)
    )
    check("hdf.mat", "-v7")
    for suffix in ("mat", "npy", "png", "tif"):
        (tmp_path / f"text.{suffix}").write_text("no\nkernel\n" * 40)
        check(f"text.{suffix}")
        check(f"missing.{suffix}", "no such file")
        (tmp_path / f"empty.{suffix}").touch()
        check(f"empty.{suffix}", "empty")
        (tmp_path / f"folder.{suffix}").mkdir()
        check(f"folder.{suffix}", "folder")
    np.save(tmp_path / "objects.npy", np.array([[None]]), allow_pickle=True)
    check("objects.npy")
    with open(tmp_path / "zip.npy", "wb") as file:
        np.savez(file, a=np.eye(3))
    check("zip.npy", "archive")
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000000, 9000000), }\n"
    (tmp_path / "huge.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    )
    check("huge.npy")
    (tmp_path / "rgb.png").write_bytes(png_bytes(smooth(5, 5, 3, 8)))
    check("rgb.png", "grey")
    (tmp_path / "k.txt").write_text("1")
    check("k.txt", ".mat")


# Writing.


def test_atomic_write_replaces_and_respects_the_umask(tmp_path):
    path = tmp_path / "a.txt"
    image_io.atomic_write_text(path, "old")
    image_io.atomic_write_text(path, "néw\n")
    assert path.read_bytes() == "néw\n".encode()
    (tmp_path / "plain").write_bytes(b"")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert {p.name for p in tmp_path.iterdir()} == {"a.txt", "plain"}


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failed_write_changes_nothing(tmp_path, monkeypatch, step, error):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(*args):
        assert path.read_bytes() == b"old", "the target is untouched until it is replaced"
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        image_io.write_image(path, np.ones((4, 4)))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_data_is_on_disk_before_the_rename(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))

    def renamed(source, target):
        calls.append((os.path.dirname(source), open(source, "rb").read()))  # noqa: SIM115
        replace(source, target)

    monkeypatch.setattr(os, "replace", renamed)
    image_io.atomic_write_bytes(tmp_path / "a.bin", b"data")
    assert calls == ["fsync", (str(tmp_path), b"data")]


def test_relative_path_and_missing_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image_io.atomic_write_bytes("a.bin", b"1")
    assert (tmp_path / "a.bin").read_bytes() == b"1"
    with pytest.raises(FileNotFoundError):
        image_io.atomic_write_bytes(tmp_path / "none" / "a.bin", b"1")


def test_sha256(tmp_path, refuse):
    (tmp_path / "a").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    assert image_io.sha256_file(tmp_path / "a") == expected
    refuse(tmp_path / "b", "no such file", read=image_io.sha256_file)


def test_import_loads_no_image_library():
    code = (
        "import sys, deepinternal.runtime.image_io; "
        "print({'PIL', 'imageio', 'tifffile'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
