"""Samples of PNG, JPEG, BMP, GIF, WebP, AVIF and HEIC files are read right, or refused by name.

PNG and BMP files are packed here from NumPy arrays, by their specifications. The other files come from
the encoders of Pillow and pillow-heif.
"""

import io
import itertools
import struct
import sys

import numpy as np
import pytest
from PIL import Image, features

from deepinternal.codecs import heic
from deepinternal.codecs.image_io import read_image
from tests.codecs.image_samples import (
    SIZE,
    bmp,
    chunk,
    fraction,
    gentle,
    integers,
    png_packed,
    shown,
    smooth,
    to_rgb,
)

H, W = SIZE

# PNG


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("depth", "colour"),
    [*itertools.product((1, 2, 4, 8, 16), (0,)), *itertools.product((8, 16), (2, 4, 6))],
)
def test_png(check, depth, colour, interlaced):
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    stored = integers(channels, depth).astype(int)
    bits = chunk(b"sBIT", bytes([1] * channels))  # which tells about the origin, not the values
    expected = fraction(stored, depth)
    check(png_packed(stored, depth, colour, interlaced=interlaced, extra=bits), expected)
    if colour in (0, 2):
        key = stored[3, 4]
        extra = chunk(b"tRNS", struct.pack(f">{channels}H", *key))
        alpha = (stored != key).any(-1, keepdims=True)
        data = png_packed(stored, depth, colour, interlaced=interlaced, extra=extra)
        check(data, np.concatenate([expected, alpha], -1))
        if depth < 16:
            beyond = chunk(b"tRNS", struct.pack(f">{channels}H", *[1 << depth] * channels))
            image = check(png_packed(stored, depth, colour, extra=beyond), expected, remarks=1)
            assert "tRNS" in image.remarks[0]


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_png_palette(check, depth):
    stored = integers(1, depth).astype(int)
    colours = np.random.default_rng(1).integers(0, 256, (2**depth, 4)).astype(np.uint8)
    colours[-1, 3] = 255  # of which the file does not tell
    extra = chunk(b"PLTE", colours[:, :3].tobytes())
    check(png_packed(stored, depth, 3, extra=extra), colours[stored[..., 0], :3] / 255)
    extra += chunk(b"tRNS", colours[:-1, 3].tobytes())
    check(png_packed(stored, depth, 3, extra=extra), colours[stored[..., 0]] / 255)


def test_png_wrong_checksums(check, refused):
    stored = integers(3, 8).astype(int)
    extra = chunk(b"tEXt", b"Title\0photo") + chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0\0\0\0\0")
    data = png_packed(stored, 8, 2, extra=extra)

    def damaged(*kinds):
        """The file with wrong checksums of some chunks."""
        found = bytearray(data)
        for kind in kinds:
            at = data.index(kind)
            found[at + 4 + int.from_bytes(data[at - 4 : at])] ^= 1
        return bytes(found)

    image = check(damaged(b"tEXt"), stored / 255, remarks=1)
    assert "tEXt" in image.remarks[0]
    check(damaged(b"tEXt", b"eXIf"), stored / 255, remarks=2)
    for kind in (b"IHDR", b"IDAT", b"IEND"):
        refused(damaged(b"tEXt", kind), "checksum in chunk " + kind.decode())


# JPEG


def jpeg(mode="RGB", **options):
    """A JPEG of gentle ramps."""
    file = io.BytesIO()
    options = {"quality": 100, "subsampling": 0} | options
    Image.fromarray(gentle(mode), mode).save(file, "JPEG", **options)
    return file.getvalue()


def patched(data, marker, offset, value):
    """A JPEG with another byte at an offset behind a marker."""
    at = data.index(b"\xff" + marker) + 2 + offset
    return data[:at] + bytes([value]) + data[at + 1 :]


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg(check, mode):
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 2}):
        check(jpeg(mode, **options), shown(gentle(mode)), levels=6, remarks=mode == "CMYK")
    if mode == "RGB":
        check(jpeg(keep_rgb=True), shown(gentle(mode)), levels=6)


def test_jpeg_ycck(check):
    data = jpeg("CMYK")
    adobe = data.index(b"Adobe") + 11
    assert data[adobe] == 0, "CMYK, stored inverted"
    stored = 255 - gentle("CMYK")
    # Y, Cb and Cr are those of inverted C, M and Y, and K is inverted.
    inks = 1 - to_rgb(stored[..., 0], stored[..., 1:3])
    check(
        data[:adobe] + b"\2" + data[adobe + 1 :], inks * stored[..., 3:] / 255, levels=8, remarks=1
    )


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (patched(jpeg(), b"\xc0", 2, 12), "12 bits per sample"),
        (patched(jpeg(), b"\xc0", -1, 0xC3), "lossless"),
        (patched(jpeg(), b"\xc0", -1, 0xC5), "hierarchical"),
        (jpeg("CMYK").replace(b"Adobe", b"Other"), "Adobe"),
    ],
)
def test_jpeg_refused(refused, data, word):
    refused(data, word)


@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}, {"keep_rgb": True}])
def test_jpeg_that_was_cut_and_closed(check, refused, options):
    data = jpeg(**options)
    for part in (0.7, 0.8, 0.95):
        refused(data[: int(len(data) * part)] + b"\xff\xd9", "truncated")
    check(data + b"a preview follows\xff\xd9", shown(gentle("RGB")), levels=6)


def test_jpeg_without_its_last_scans_is_reported(tmp_path):
    data = jpeg(progressive=True)
    scans = [i for i in range(len(data)) if data[i : i + 2] == b"\xff\xda"]
    assert len(scans) > 5
    (tmp_path / "a.jpg").write_bytes(data[: scans[-2]] + b"\xff\xd9")
    assert "last scans" in read_image(tmp_path / "a.jpg").remarks[0]


# BMP

MASKS = {15: (0x7C00, 0x3E0, 0x1F), 16: (0xF800, 0x7E0, 0x1F), 32: (0xFF0000, 0xFF00, 0xFF)}


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bmp_palette(check, bits, top_down):
    stored = integers(1, bits)[..., 0].astype(int)
    colours = np.random.default_rng(1).integers(0, 256, (2**bits, 3))
    check(bmp(stored, bits, palette=colours, top_down=top_down), colours[stored] / 255)
    runs = {4: 2, 8: 1}.get(bits)
    if runs and not top_down:
        data = bmp(stored, bits, palette=colours, compression=runs)
        check(data, colours[stored] / 255)


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("green", [5, 6])
def test_bmp_16_bits(check, refused, green, top_down):
    stored = integers(1, 16)[..., 0].astype(int)
    parts = [stored >> (5 + green), stored >> 5, stored]
    tops = [31, 2**green - 1, 31]
    expected = np.stack([(part & top) / top for part, top in zip(parts, tops)], -1)
    masks = MASKS[10 + green]
    check(bmp(stored, 16, masks=masks, top_down=top_down), expected, levels=1)
    if green == 5:
        check(bmp(stored, 16, top_down=top_down), expected, levels=1)
        refused(bmp(stored, 16, masks=(*masks, 0x8000)), "16 bits per pixel and alpha")


def test_bmp_24_and_32_bits(check):
    colours, alpha = integers(3, 8).astype(int), integers(1, 8, seed=1).astype(int)
    both = np.concatenate([colours, alpha], -1)
    number = lambda a, *shifts: sum(a[..., i] << s for i, s in enumerate(shifts))
    check(bmp(number(colours, 16, 8, 0), 24), colours / 255)
    stored = number(both, 16, 8, 0, 24)
    check(bmp(stored, 32), colours / 255)  # without masks, the fourth byte has no meaning
    check(bmp(stored, 32, masks=MASKS[32]), colours / 255)
    check(bmp(stored, 32, masks=(*MASKS[32], 0)), colours / 255)
    check(bmp(stored, 32, masks=(*MASKS[32], 0xFF000000)), both / 255)
    swapped = (0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    check(bmp(number(both, 0, 8, 16, 24), 32, masks=swapped), both / 255)


# GIF, WebP, AVIF and HEIC


def saved(samples, kind, **options):
    """The bytes that Pillow writes."""
    file = io.BytesIO()
    samples = samples if isinstance(samples, Image.Image) else Image.fromarray(samples)
    samples.save(file, kind, **options)
    return file.getvalue()


def test_gif(check):
    index = integers(1, 8)[..., 0].astype(np.uint8)
    colours = np.random.default_rng(1).integers(0, 256, (256, 3))
    image = Image.fromarray(index, "P")
    image.putpalette(colours.ravel().tolist())
    for interlace in (0, 1):
        check(saved(image, "GIF", interlace=interlace), colours[index] / 255)
    visible = index != index[3, 4]
    data = saved(image, "GIF", transparency=int(index[3, 4]))
    check(data, np.concatenate([colours[index] / 255, visible[..., None]], -1))


@pytest.mark.parametrize("channels", [3, 4])
def test_webp(check, refused, channels):
    stored = smooth(H, W, channels, 8)
    check(saved(stored, "WEBP", lossless=True, exact=True), stored / 255)
    ramps = np.concatenate([gentle("RGB"), gentle("L")[..., None]], -1)[..., :channels]
    check(saved(ramps, "WEBP", quality=100), ramps / 255, levels=8)
    frames = {"save_all": True, "append_images": [Image.fromarray(255 - stored)]}
    refused(saved(stored, "WEBP", **frames), "2 frames")


@pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without AVIF")
def test_avif(check, refused):
    stored = gentle("RGB")
    data = saved(stored, "AVIF", quality=100, subsampling="4:4:4")
    check(data, stored / 255, levels=4)
    assert heic.avif_bits(io.BytesIO(data)) == 8
    flags = data.index(b"av1C") + 6
    deeper = data[:flags] + bytes([data[flags] | 0x40]) + data[flags + 1 :]
    assert heic.avif_bits(io.BytesIO(deeper)) == 10
    code = data.index(b"colrnclx") + 8
    wide = data[:code] + bytes([0, 12]) + data[code + 2 :]  # the primaries of Display P3
    check(wide, stored / 255, levels=4, remarks=1)
    frames = {"save_all": True, "append_images": [Image.fromarray(255 - stored)]}
    refused(saved(stored, "AVIF", **frames), "2 frames")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "L;16", "RGB;16", "RGBA;16"])
def test_heic(check, mode):
    heif = pytest.importorskip("pillow_heif")
    kind, depth = mode.split(";") if ";" in mode else (mode, "8")
    ramps = np.dstack([gentle("RGB"), gentle("L")])
    ramps = {"L": ramps[..., :1], "RGB": ramps[..., :3], "RGBA": ramps}[kind]
    stored = ramps if depth == "8" else ramps.astype(np.uint16) * 257
    file = io.BytesIO()
    image = heif.from_bytes(mode=mode, size=(48, 32), data=stored.tobytes())
    image.save(file, quality=-1, chroma=444)
    found = check(file.getvalue(), ramps / 255, levels=2 if depth == "8" else 200)
    assert found.bit_depth == int(depth)


def test_heic_is_upright(check):
    heif = pytest.importorskip("pillow_heif")
    exif, file = Image.Exif(), io.BytesIO()
    exif[274] = 6
    image = heif.from_bytes(mode="RGB", size=(48, 32), data=gentle("RGB").tobytes())
    image.save(file, quality=-1, chroma=444, exif=exif.tobytes())
    check(file.getvalue(), np.rot90(gentle("RGB"), -1) / 255, levels=2)


def test_heic_without_its_library(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    refused(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), "pip install 'pillow-heif")
