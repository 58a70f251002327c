"""The shape that a header tells is that of the image read."""

import contextlib

import numpy as np
import pytest
from PIL import Image

from deepinternal.codecs.image_io import image_shape, read_image

RGB = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp"])
def test_of_every_kind(tmp_path, suffix):
    made = 0
    for orientation in (1, 6):
        for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK"):
            exif, path = Image.Exif(), tmp_path / f"a.{suffix}"
            exif[274] = orientation
            with contextlib.suppress(OSError):  # some formats lack some modes
                Image.fromarray(RGB).convert(mode).save(path, exif=exif)
                assert image_shape(path) == read_image(path).pixels.shape, (mode, orientation)
                made += 1
    assert made >= 8


def test_of_wide_and_float_samples(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", RGB / np.float32(255), photometric="rgb")
    Image.fromarray(RGB[..., 0].astype(np.uint16) * 257).save(tmp_path / "b.png")
    assert image_shape(tmp_path / "a.tif") == (30, 40, 3)
    assert image_shape(tmp_path / "b.png") == (30, 40, 1)


def test_no_pixel_is_needed(tmp_path, refuse):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:-500])
    assert image_shape(tmp_path / "b.png") == (30, 40, 3)
    refuse(image_shape, tmp_path / "none.png", "no such file")
    refuse(image_shape, tmp_path / "a.png", "40 pixels wide and 30 high", max_pixels=100)
    (tmp_path / "text.png").write_text("no image")
    refuse(image_shape, tmp_path / "text.png", "is not a PNG")
