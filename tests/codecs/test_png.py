"""PNG: exact encoding against a decoder from the specification, and damaged files."""

import io

import numpy as np
import pytest
from PIL import Image

from deepinternal.codecs import png
from tests.codecs.image_samples import decode_png, png_bytes, smooth


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_encoding_is_exact(depth, channels):
    stored = smooth(channels=channels, depth=depth)
    data = png.encode(stored)
    decoded, filters = decode_png(data)
    np.testing.assert_array_equal(decoded, stored)
    assert len(filters) >= 3, "the test exercises the filters"
    assert png.check(io.BytesIO(data))[1:] == (depth, [])
    if depth == 8:
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), stored.squeeze())


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (200, 1), (130, 3)])
def test_odd_sizes(size):
    stored = smooth(*size)
    np.testing.assert_array_equal(decode_png(png.encode(stored))[0], stored)


def test_tall_image_that_is_predicted_from_the_row_above():
    row = np.random.default_rng(0).integers(0, 65536, (1, 30, 3), dtype=np.uint16)
    stored = np.repeat(row, 300, axis=0)
    data = png.encode(stored)
    decoded, filters = decode_png(data)
    np.testing.assert_array_equal(decoded, stored)
    assert 2 in filters
    assert len(data) < 1500


@pytest.mark.parametrize("interlaced", [False, True])
def test_missing_or_damaged_pixels(interlaced):
    stored = smooth(20, 30, 3, 8)
    whole = png_bytes(stored, interlaced=interlaced)
    assert png.check(io.BytesIO(whole))[1:] == (8, [])
    for rows in (1, 2):
        with pytest.raises(ValueError, match="pixel data is missing"):
            png.check(io.BytesIO(png_bytes(stored, rows=rows, interlaced=interlaced)))
    with pytest.raises(ValueError, match="ends early"):
        png.check(io.BytesIO(whole[:-1]))
    # The size, the compressed pixels, and nothing but their checksum (IEND is 12 bytes).
    for position in (20, len(whole) // 2, len(whole) - 13):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        with pytest.raises(ValueError, match="checksum"):
            png.check(io.BytesIO(damaged))
