"""Colour profiles: which are kept, what is said about them, and conversions to sRGB."""

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from deepinternal.codecs import export, image_io, profiles
from deepinternal.codecs import metadata as meta
from tests.codecs import metadata_samples as made
from tests.codecs.metadata_samples import in_srgb, png_with

ADOBE = profiles.adobe_rgb()


def test_colours_are_those_of_little_cms(tmp_path):
    pixels, x = (
        np.random.default_rng(0).random((16, 16, 3)).astype(np.float32),
        np.linspace(0, 1, 1024),
    )
    wide = {"adobe": ADOBE, "srgb": made.srgb_profile(), "linear": made.profile(1.0)}
    curve = np.where(x < 0.1, x / 10, x**2).astype(np.float32)
    wide["table"] = made.profile(curve, (0.7, 0.3, 0.2, 0.7, 0.14, 0.05), (0.3457, 0.3585))
    for name, profile in wide.items():
        samples = np.round(pixels * 255).astype(np.uint8)
        image = Image.fromarray(samples)
        image.save(tmp_path / "a.png", icc_profile=profile)
        expected = in_srgb(Image.open(tmp_path / "a.png"))
        mine = profiles.to_srgb(samples / np.float32(255), profile)
        assert abs(mine * 255 - expected).max() <= 1.01, name
        read = image_io.read_image(tmp_path / "a.png", color="srgb")
        np.testing.assert_allclose(read.pixels, mine, atol=1e-6)
        assert read.metadata.profile is None
        kept = image_io.read_image(tmp_path / "a.png")
        np.testing.assert_array_equal(kept.pixels, samples / np.float32(255))
    grey = made.profile(1.8, None)
    light = pixels[..., :1] ** np.float32(1.8)  # and back by the definition of sRGB
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(profiles.to_srgb(pixels[..., :1], grey), expected, atol=2e-4)


def test_16_bits_are_converted_with_their_depth(tmp_path):
    ramp = np.arange(20_000, 20_400).astype(np.uint16).reshape(20, 20, 1).repeat(3, 2)
    (tmp_path / "a.tif").write_bytes(meta.tiff(ramp, meta.Metadata(profile=ADOBE)))
    read = image_io.read_image(tmp_path / "a.tif", color="srgb")
    assert len(np.unique(read.pixels[..., 0])) == 400
    assert read.bit_depth == 16


@pytest.mark.parametrize(
    ("profile", "grey", "said"),
    [
        (ADOBE, False, "has colours beyond sRGB; the results keep it"),
        (made.profile(2.2, made.P3), False, "'described by the file' has colours beyond"),
        (made.profile(1.0), False, "is linear"),
        (made.profile(1.0, None), True, "is linear"),
        (made.profile(2.2, None), True, ""),
        (made.srgb_profile(), False, ""),
        (made.srgb_profile(), True, "is for RGB, but the image is grey; it is left out"),
        (ADOBE, True, "is for RGB, but the image is grey; it is left out"),
        (made.profile(2.2, None), False, "is for grey, but the image is RGB; it is left out"),
        (made.cmyk_profile(), False, "is for CMYK, but the image is RGB; it is left out"),
        (ADOBE[:300], False, "the colour profile is damaged; it is left out"),
        (b"nonsense", False, "the colour profile is damaged; it is left out"),
        (ADOBE[:130] + bytes(len(ADOBE) - 130), False, "the colour profile is damaged"),
    ],
)
def test_remarks_on_profiles(tmp_path, profile, grey, said):
    samples = made.picture()
    Image.fromarray(samples[..., 0] if grey else samples).save(
        tmp_path / "a.png", icc_profile=profile
    )
    image = image_io.read_image(tmp_path / "a.png")
    assert len(image.remarks) == bool(said)
    assert said in "".join(image.remarks)
    kept = (
        "left out" not in said and (not grey or profile[16:20] == b"GRAY") and "damaged" not in said
    )
    assert (image.metadata.profile == profile) == kept
    image_io.write_image(tmp_path / "b.png", image.pixels, about=image.metadata)
    with Image.open(tmp_path / "b.png") as file:
        assert file.info.get("icc_profile") == (profile if kept else None)
    image_io.write_image(tmp_path / "mask.png", image.pixels)
    assert Image.open(tmp_path / "mask.png").info == {}


def test_palettes_keep_the_profile_of_their_colours(tmp_path):
    Image.fromarray(made.picture()).quantize(16).save(tmp_path / "a.png", icc_profile=ADOBE)
    assert image_io.read_image(tmp_path / "a.png").metadata.profile == ADOBE


def test_cmyk_is_converted_by_its_profile(tmp_path):
    inks = np.random.default_rng(0).integers(0, 256, (8, 8, 4)).astype(np.uint8)
    image = Image.fromarray(inks.repeat(8, 0).repeat(8, 1), "CMYK")
    image.save(tmp_path / "a.tif", icc_profile=made.cmyk_profile())
    found = image_io.read_image(tmp_path / "a.tif")
    assert found.remarks == ("converted from CMYK (Test inks) to sRGB",)
    assert found.metadata.profile is None
    corners = np.array([[[0, 0, 0, 0], [255, 255, 255, 0], [0, 255, 255, 0]]], np.uint8)
    Image.fromarray(corners, "CMYK").save(tmp_path / "b.tif", icc_profile=made.cmyk_profile())
    got = image_io.read_image(tmp_path / "b.tif").pixels[0]
    np.testing.assert_allclose(got, [[1, 1, 1], [0, 0, 0], [1, 0, 0]], atol=0.02)
    for profile, why in ((None, "has no colour profile"), (b"bad" * 60, "is damaged")):
        image.save(tmp_path / "c.jpg", icc_profile=profile)
        (said,) = image_io.read_image(tmp_path / "c.jpg").remarks
        assert "by the simple formula" in said
        assert why in said


def test_a_png_describes_its_colours_without_a_profile(tmp_path):
    gamma = lambda value: (b"gAMA", struct.pack(">I", round(value * 100_000)))
    adobe = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
    primaries = (b"cHRM", struct.pack(">8I", *adobe))
    image = png_with(tmp_path / "a.png", gamma(0.4547), primaries)
    assert profiles.same(image.metadata.profile, ADOBE)
    image_io.write_image(tmp_path / "b.png", image.pixels, about=image.metadata)
    again = image_io.read_image(tmp_path / "b.png").metadata
    assert profiles.same(again.profile, ADOBE)
    assert export.export(tmp_path / "b.png", tmp_path / "b.jpg") == ""
    assert profiles.same(Image.open(tmp_path / "b.jpg").info["icc_profile"], ADOBE)
    kept = png_with(tmp_path / "s.png", (b"sRGB", b"\0"), gamma(0.45455))
    assert kept.metadata.profile is None
    assert png_with(tmp_path / "g.png", gamma(0.45455)).metadata.profile is None
    grey = png_with(tmp_path / "l.png", gamma(1.0), samples=made.picture()[..., :1])
    assert "is linear" in grey.remarks[0]
    assert grey.metadata.profile[16:20] == b"GRAY"
    for codes in (b"\x0c\x0d\0\1", b"\x09\x10\0\1"):
        video = png_with(tmp_path / "video.png", (b"cICP", codes))
        assert "video" in video.remarks[0]
    assert png_with(tmp_path / "video.png", (b"cICP", b"\1\x0d\0\1")).remarks == ()
    for impossible in (gamma(0), (b"cHRM", bytes(32))):
        assert png_with(tmp_path / "bad.png", impossible).metadata.profile is None


def test_a_camera_says_adobe_rgb_without_a_profile(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[40961] = 65535
    exif.get_ifd(0xA005)[1] = "R03"
    exif.get_ifd(0x8769)[0xA005] = dict(exif.get_ifd(0xA005))
    Image.fromarray(made.picture()).save(tmp_path / "a.jpg", exif=exif)
    image = image_io.read_image(tmp_path / "a.jpg")
    assert image.metadata.profile == ADOBE
    assert "Adobe RGB" in image.remarks[0]
    for color, code in (("keep", 65535), ("srgb", 1)):
        about = image_io.read_image(tmp_path / "a.jpg", color=color).metadata
        image_io.write_image(tmp_path / "b.png", image.pixels, about=about)
        assert Image.open(tmp_path / "b.png").getexif().get_ifd(34665)[40961] == code


def test_linear_floats_are_reported(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", made.picture().astype(np.float32) / 255, photometric="rgb")
    assert "floating-point" in image_io.read_image(tmp_path / "a.tif").remarks[0]
