"""TIFF: samples of every layout and meaning are read right, or refused by name.

The files are packed by `tiff_samples`, from the specification.
"""

import io
import itertools

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from deepinternal.codecs.image_io import read_image
from deepinternal.types import InputError
from tests.codecs.image_samples import SIZE, fraction, gentle, integers, shown
from tests.codecs.tiff_samples import (
    COMPRESS,
    DEFLATE,
    LZMA,
    LZW,
    PACKBITS,
    ZSTD,
    page,
    tiff,
)

H, W = SIZE
WHITE, BLACK, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
JPEG, WEBP, JPEG_XL = 7, 50001, 50002
LAYOUTS = [
    {},
    {"order": ">"},
    {"big": True},
    {"big": True, "order": ">"},
    {"fill": 2},
    {"rows": 5, "compression": LZW},
    {"rows": 5, "compression": LZW, "fill": 2},
    {"tile": (16, 32), "compression": DEFLATE, "order": ">"},
    {"rows": 8, "compression": PACKBITS},
    {"rows": 8, "compression": LZMA, "order": ">"},
    {"tile": (16, 16), "compression": ZSTD},
    {"planar": 2, "rows": 8},
    {"planar": 2, "rows": 5, "compression": LZW, "order": ">"},
    {"planar": 2, "tile": (16, 16), "compression": DEFLATE},
]


def one_page(samples, bits, big=False, **layout):
    """A TIFF with one page."""
    return tiff(page(samples, bits, **layout), order=layout.get("order", "<"), big=big)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("photometric", [WHITE, BLACK, RGB])
def test_tiff_integers(check, photometric, bits):
    stored = integers(3 if photometric == RGB else 1, bits)
    expected = fraction(stored, bits)
    expected = 1 - expected if photometric == WHITE else expected
    for layout in LAYOUTS:
        data = one_page(stored, bits, photometric=photometric, **layout)
        image = check(data, expected, what=layout)
        assert image.bit_depth == (8 if bits <= 8 else 16)


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_differences(check, bits):
    for channels, compression, order in itertools.product((1, 3), (LZW, DEFLATE, LZMA, ZSTD), "<>"):
        layout = {"compression": compression, "order": order, "predictor": 2, "rows": 6}
        stored = integers(channels, bits)
        data = one_page(stored, bits, photometric=RGB if channels == 3 else BLACK, **layout)
        check(data, fraction(stored, bits), what=layout)


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("predictor", [1, 2, 3])
def test_tiff_floats(check, bits, predictor):
    for channels, compression, order, planar in itertools.product(
        (1, 3), (LZW, DEFLATE), "<>", (1, 2)
    ):
        stored = np.random.default_rng(0).random((H, W, channels)).astype(f"f{bits // 8}")
        layout = {"compression": compression, "order": order, "planar": planar, "rows": 6}
        layout |= {"photometric": RGB if channels == 3 else BLACK, "predictor": predictor}
        # Viewers take linear values for sRGB, which is said.
        check(one_page(stored, bits, **layout), stored, levels=1e-2, remarks=1, what=layout)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_tiff_palette(check, bits):
    stored = integers(1, bits)
    colours = np.random.default_rng(1).integers(0, 256, (3, 2**bits))
    expected = colours.T[stored[..., 0].astype(int)] / 255
    for factor in (257, 256, 1):  # as programs write them; the last is against the specification
        for layout in LAYOUTS[:8]:
            tags = {320: colours * factor}
            data = one_page(stored, bits, photometric=PALETTE, tags=tags, **layout)
            check(data, expected, what=(factor, layout))
    wide = np.random.default_rng(1).integers(0, 65536, (3, 2**bits))
    data = one_page(stored, bits, photometric=PALETTE, tags={320: wide})
    assert check(data, wide.T[stored[..., 0].astype(int)] / 65535).bit_depth == 16


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("photometric", [WHITE, BLACK, RGB])
def test_tiff_alpha(check, refused, photometric, bits):
    colours = 3 if photometric == RGB else 1
    stored = integers(colours + 1, bits)
    parts = fraction(stored, bits)
    expected = parts.copy()
    if photometric == WHITE:
        expected[..., :colours] = 1 - expected[..., :colours]

    def make(kind, planar, values=stored):
        layout = {"photometric": photometric, "planar": planar, "compression": LZW}
        return one_page(values, bits, tags={338: kind}, **layout)

    for planar in (1, 2):
        check(make(2, planar), expected)
        check(make(0, planar), expected[..., :colours], remarks=1)
        if photometric != WHITE:
            multiplied = stored.copy()
            multiplied[..., :colours] = stored[..., :colours] * parts[..., colours:]
            divided = multiplied[..., :colours] / np.maximum(stored[..., colours:], 1)
            both = np.concatenate([divided, parts[..., colours:]], -1)
            check(make(1, planar, multiplied), both)
    without = one_page(stored, bits, photometric=photometric)  # some programs write no tag 338
    if photometric == RGB:
        check(without, expected)
    else:
        refused(without, "2 channels")


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_cmyk(check, bits):
    parts = fraction(integers(4, bits), bits)
    for layout in LAYOUTS:
        data = one_page(integers(4, bits), bits, photometric=CMYK, **layout)
        expected = (1 - parts[..., :3]) * (1 - parts[..., 3:])
        check(data, expected, levels=1.5, remarks=1, what=layout)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("photometric", [WHITE, BLACK])
def test_tiff_fax(check, compression, photometric):
    black = np.random.default_rng(0).random((H, W)) < 0.5
    for fill in (1, 2):
        file, tags = io.BytesIO(), {262: photometric, 266: fill}
        Image.fromarray(~black).save(file, "TIFF", compression=compression, tiffinfo=tags)
        check(file.getvalue(), ~black[..., None])


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_tiff_jpeg(check, mode):
    stored = gentle(mode)
    file = io.BytesIO()
    Image.fromarray(stored, mode).save(file, "TIFF", compression="jpeg", quality=100)
    check(file.getvalue(), shown(stored), levels=6, remarks=mode == "CMYK")


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_tiff_jpeg_ycbcr(check, refused, subsampling):
    photo = np.kron(gentle("RGB")[:8, :8], np.ones((4, 4, 1), np.uint8))
    segments = []
    for part in (photo[:16], photo[16:]):
        file = io.BytesIO()
        Image.fromarray(part).save(file, "JPEG", quality=95, subsampling=subsampling)
        segments.append(file.getvalue())
    decoded = [np.asarray(Image.open(io.BytesIO(segment))) for segment in segments]
    shared = {"rows": 16, "photometric": YCBCR, "tags": {259: JPEG, 530: [2, 2]}}
    _, tags = page(photo, **shared)
    check(tiff((segments, tags)), np.concatenate(decoded) / 255, levels=1.5)
    refused(tiff(([segments[0], segments[1][:-60]], tags)), "ends early")


def test_tiff_image_compressions(check, refused):
    stored = integers(3, 8).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "WEBP", lossless=True)
    for compression, segment in (
        (WEBP, file.getvalue()),
        (JPEG_XL, imagecodecs.jpegxl_encode(stored)),
    ):
        _, tags = page(stored, photometric=RGB, tags={259: compression})
        check(tiff(([segment], tags)), stored / 255)
        refused(tiff(([segment], tags | {258: [16] * 3})), "samples of another type")
        refused(tiff(([segment[:-30]], tags)), "damaged")


@pytest.mark.parametrize("compression", [LZW, DEFLATE, PACKBITS, LZMA, ZSTD])
def test_tiff_damaged(tmp_path, capfd, compression):
    rng, path, lines = np.random.default_rng(0), tmp_path / "a.tif", []
    whole = np.frombuffer(
        one_page(integers(3, 8), 8, photometric=RGB, compression=compression), "u1"
    )
    for _ in range(40):
        data = whole.copy()
        data[rng.integers(8, len(data), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(data.tobytes())
        try:
            read_image(path)
        except InputError as error:
            lines.append(str(error))
    assert lines
    assert not any("\n" in line for line in lines)
    assert capfd.readouterr() == ("", "")


def test_tiff_thumbnails_are_passed_over(check, refused):
    stored = integers(3, 16)
    image = page(stored, 16, photometric=RGB)
    small = [
        page(integers(3, 8)[:8, :8], photometric=RGB, tags=tags) for tags in ({254: 1}, {255: 2})
    ]
    for pages in ([image, *small], [*small, image], [small[0], image, small[1]]):
        check(tiff(*pages), fraction(stored, 16))
    previews = page(integers(3, 8), photometric=RGB, tags={254: 1})
    check(tiff(previews), fraction(integers(3, 8), 8))  # the only page is the image
    refused(tiff(image, image), "2 frames or pages")
    refused(tiff((small[0][0], small[0][1] | {330: 8})), "raw camera file")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_orientation_of_packed_samples(check, orientation):
    stored = integers(1, 12)
    turned = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud}
    turned |= {5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1)}
    turned |= {7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90}
    data = one_page(stored, 12, photometric=BLACK, tags={274: orientation})
    check(data, turned[orientation](fraction(stored, 12)))


@pytest.mark.parametrize(
    ("bits", "channels", "photometric", "tags", "words"),
    [
        (32, 1, BLACK, {}, ["unsigned integers of 32 bits", "floats in [0, 1]"]),
        (24, 1, BLACK, {}, ["unsigned integers of 24 bits"]),
        (32, 1, WHITE, {}, ["32 bits, 0 is white"]),
        (8, 1, BLACK, {339: 2}, ["signed integers of 8 bits"]),
        (16, 1, BLACK, {339: 2}, ["signed integers of 16 bits"]),
        (24, 1, BLACK, {339: 3}, ["floats of 24 bits"]),
        (32, 1, WHITE, {339: 3}, ["floats of 32 bits, 0 is white"]),
        (64, 1, BLACK, {339: 6}, ["complex numbers"]),
        (12, 4, CMYK, {}, ["12 bits, CMYK"]),
        (8, 3, YCBCR, {530: [1, 1]}, ["8 bits, YCbCr"]),
        (8, 3, YCBCR, {259: LZW}, ["8 bits, YCbCr"]),
        (8, 1, BLACK, {259: LZW, 339: 4}, ["undefined values of 8 bits"]),
        (8, 4, CMYK, {332: 2}, ["inks"]),
        (8, 5, RGB, {338: [0, 0]}, ["5 channels"]),
        (8, 3, BLACK, {338: [0, 0]}, ["3 channels"]),
        (8, 3, 8, {}, ["L*a*b*"]),
        (8, 1, 4, {}, ["transparency mask"]),
        (16, 1, 32803, {}, ["raw camera data"]),
        (16, 3, 34892, {}, ["raw camera data"]),
        (8, 1, BLACK, {259: 34712}, ["compression 34712", "LZW"]),
        (8, 3, RGB, {258: [5, 6, 5]}, ["(5, 6, 5) bits"]),
        (12, 1, BLACK, {259: DEFLATE, 317: 2}, ["12 bits", "predictor 2"]),
        (8, 1, BLACK, {317: 2}, ["predictor 2"]),
    ],
)
def test_tiff_refused(refused, bits, channels, photometric, tags, words):
    segments, others = page(integers(channels, 8), bits, photometric=photometric)
    compression = tags.get(259, 1)
    if compression in COMPRESS:
        segments = [COMPRESS[compression](segment) for segment in segments]
    refused(tiff((segments, others | tags)), *words)


def test_tiff_with_12_bits_in_16_is_reported(check):
    stored = integers(1, 12)
    image = check(one_page(stored, 16, photometric=BLACK), stored / 65535, remarks=1)
    assert "12 bits" in image.remarks[0]
