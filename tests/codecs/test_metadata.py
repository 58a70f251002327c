"""Colour profiles, EXIF, XMP and resolution: what is kept, corrected, converted and left out."""

import dataclasses
import io
import random
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from deepinternal.codecs import export, image_io, jpeg, profiles
from deepinternal.codecs import metadata as meta
from deepinternal.codecs.decoding import decode
from tests.codecs import metadata_samples as made
from tests.codecs.metadata_samples import in_srgb, png_with

ADOBE = profiles.adobe_rgb()
KINDS = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP"}


def photograph(path, **options):
    """A file with everything that a phone and an editor write."""
    given = {"exif": made.phone_exif(), "icc_profile": ADOBE, "xmp": made.XMP, "dpi": (150, 300)}
    kind, given = KINDS[path.suffix], {**given, **options}
    given["exif"] = b"Exif\0\0" + given["exif"]
    if kind == "PNG":
        given["pnginfo"] = PngImagePlugin.PngInfo()
        given["pnginfo"].add_itxt("XML:com.adobe.xmp", given.pop("xmp").decode(), zip=True)
    Image.fromarray(made.picture()).save(path, kind, **given)
    return path


def exif_of(about):
    exif = Image.Exif()
    exif.load(about.exif)
    return exif


def test_what_is_true_of_an_upright_result_is_read(tmp_path):
    for suffix in KINDS:
        found = decode(photograph(tmp_path / f"a{suffix}"), 10_000)
        about = found.metadata
        assert found.samples.shape == (40, 24, 3), suffix
        assert found.remarks == (), suffix
        assert about.profile == ADOBE
        assert about.dpi == ((144, 72) if suffix == ".webp" else (300, 150)), (
            "turned with the image"
        )
        exif = exif_of(about)
        assert set(exif) == {271, 272, 305, 306, 34665, 34853}
        assert set(exif.get_ifd(34665)) == {36864, 36867, 40961, 33437, 42036}
        assert set(exif.get_ifd(34853)) == {1, 2, 3, 4}
        assert b"Orientation" not in about.xmp
        assert b"MotionPhoto" not in about.xmp
        assert b"ImageWidth" not in about.xmp
        assert "Jö &amp; Co".encode() in about.xmp
        assert b'Rating="4"' in about.xmp
        assert b"Make" not in about.xmp, "it is in the EXIF data"


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_other_programs_read_what_is_written(tmp_path, suffix, order):
    given = photograph(tmp_path / "a.jpg", exif=made.phone_exif(order))
    image = image_io.read_image(given)
    large = np.kron(image.pixels, np.ones((2, 2, 1), np.float32))
    about = image.metadata.scaled(2, 2)
    image_io.write_image(tmp_path / "big.png", large, about=about)
    assert export.export(tmp_path / "big.png", tmp_path / f"made{suffix}") == ""
    with Image.open(tmp_path / f"made{suffix}") as file:
        file.load()
        exif, icc_profile = file.getexif(), file.info["icc_profile"]
        assert icc_profile == ADOBE
        assert file.size == (48, 80)
        if suffix != ".webp":
            assert file.info["dpi"] == pytest.approx((600, 300), abs=0.01)
        assert file.info["xmp"] == about.xmp
    assert (exif[271], exif[272], exif[305]) == ("Maker", "Phone 12", "17.1")
    assert (exif[282], exif[283], exif[296]) == (600, 300, 2)
    assert 274 not in exif, "it is upright"
    assert not exif.get_ifd(1), "a thumbnail"
    photo = exif.get_ifd(0x8769)
    assert (photo[36864], photo[33437], photo[42036]) == (b"0232", pytest.approx(1.8), "lens")
    assert (photo[40962], photo[40963]) == (48, 80), "the size of the result"
    assert not {37500, 37396} & set(photo)
    assert exif.get_ifd(0x8825)[2] == (48.0, 8.0, 12.25)


def test_a_16_bit_tiff_has_the_samples_and_the_tags(tmp_path):
    samples = np.random.default_rng(0).integers(0, 65536, (9, 7, 4)).astype(np.uint16)
    about = decode(photograph(tmp_path / "a.jpg", exif=made.phone_exif("MM")), 10_000).metadata
    (tmp_path / "a.tif").write_bytes(meta.tiff(samples, about))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages[0]
        np.testing.assert_array_equal(page.asarray(), samples)
        assert (file.byteorder, page.extrasamples, page.photometric.name) == (">", (2,), "RGB")
        assert page.iccprofile == ADOBE
        assert page.tags[700].value == about.xmp
        assert page.tags[34665].value["ExifVersion"] == "0232"
    again = decode(tmp_path / "a.tif", 10_000).metadata
    assert again == about
    for channels in (1, 2, 3):
        (tmp_path / "b.tif").write_bytes(meta.tiff(samples[..., :channels], meta.NONE))
        expected = samples[..., 0] if channels == 1 else samples[..., :channels]
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), expected)


def test_resolution(tmp_path):
    image = Image.fromarray(made.picture())
    for name in ("a.png", "a.jpg", "a.tif", "a.bmp"):
        image.save(tmp_path / name, dpi=(300, 200))
        assert decode(tmp_path / name, 10_000).metadata.dpi == (300, 200), name
    image.save(tmp_path / "none.jpg")
    assert decode(tmp_path / "none.jpg", 10_000).metadata.dpi is None
    tifffile.imwrite(tmp_path / "cm.tif", made.picture(), resolution=(100, 100), resolutionunit=3)
    assert decode(tmp_path / "cm.tif", 10_000).metadata.dpi == pytest.approx((254, 254))
    tifffile.imwrite(tmp_path / "no.tif", made.picture(), resolution=(1, 1), resolutionunit=1)
    assert decode(tmp_path / "no.tif", 10_000).metadata.dpi is None
    about = meta.Metadata(dpi=(300.0, 200.0))
    assert about.scaled(2, 2).dpi == pytest.approx((600, 400))
    assert about.scaled(1, 2).dpi is None, "the shape of things has changed"
    extreme = meta.Metadata(dpi=(99_999.99, 1.01))
    for factor in (1 / 16, 16):
        meta.png_chunks(extreme.scaled(factor, factor), (2, 2, 3))
        assert meta.tiff(np.zeros((2, 2, 3), np.uint8), extreme.scaled(factor, factor))
    assert about.scaled(101 / 50, 2).dpi == pytest.approx((603, 402), rel=0.002)


def test_layouts_of_other_programs_are_not_descriptions(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", made.picture(), metadata={"axes": "YXS"})
    assert set(exif_of(decode(tmp_path / "a.tif", 10_000).metadata)) == {305}
    tifffile.imwrite(tmp_path / "b.tif", made.picture(), description="A cat", metadata=None)
    assert exif_of(decode(tmp_path / "b.tif", 10_000).metadata)[270] == "A cat"


def test_formats_say_what_they_do_not_hold(tmp_path):
    about = decode(photograph(tmp_path / "a.png"), 10_000).metadata
    image_io.write_image(tmp_path / "a.png", made.picture() / 255, about=about)
    assert export.export(tmp_path / "a.png", tmp_path / "a.bmp") == "EXIF data and XMP data"
    bmp = np.asarray(Image.open(tmp_path / "a.bmp")).astype(int)
    assert abs(bmp - in_srgb(Image.open(tmp_path / "a.png"))).max() <= 1, "BMP holds no profile"
    long = made.XMP.replace("Jö".encode(), b"J" * 70_000)
    about = meta.Metadata(xmp=long)
    image_io.write_image(tmp_path / "a.png", made.picture() / 255, about=about)
    assert export.export(tmp_path / "a.png", tmp_path / "a.jpg") == "XMP data"
    grey = meta.Metadata(profile=made.profile(1.0, None))
    image_io.write_image(tmp_path / "g.png", made.picture()[..., 0] / 255, about=grey)
    assert export.export(tmp_path / "g.png", tmp_path / "g.webp") == ""
    with Image.open(tmp_path / "g.webp") as file:
        assert "icc_profile" not in file.info
        expected = image_io.read_image(tmp_path / "g.png", color="srgb").pixels
        np.testing.assert_allclose(np.asarray(file)[..., :1] / 255, expected, atol=0.04)


def test_degraded_jpegs_keep_metadata(tmp_path):
    about = decode(photograph(tmp_path / "a.jpg"), 10_000).metadata
    jpeg.write_jpeg(tmp_path / "b.jpg", made.picture() / 255, quality=80, about=about)
    assert decode(tmp_path / "b.jpg", 10_000).metadata == about


def test_damaged_metadata_never_stop_the_reading():
    rng, image, pixels = random.Random(0), Image.fromarray(made.picture()), made.picture()
    parts = {"exif": made.phone_exif(), "icc_profile": ADOBE, "xmp": made.XMP}
    for _ in range(60):
        for name, part in parts.items():
            data = bytearray(part)
            for _ in range(rng.randint(1, 5)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            image.info[name] = bytes(data[: rng.choice([None, rng.randrange(len(data))])])
        about, _ = meta.read(io.BytesIO(), 3, image=image)
        written = io.BytesIO(meta.tiff(pixels, about))
        np.testing.assert_array_equal(np.asarray(Image.open(written)), pixels)


@pytest.mark.parametrize(
    "chunk",
    [
        (b"cHRM", bytes(31)),
        (b"gAMA", b"\0"),
        (b"sRGB", b""),
        (b"pHYs", bytes(8)),
        (b"iCCP", b"name\0\7"),
        (b"iCCP", b"name\0"),
        (b"zTXt", b"Comment\0\7"),
        (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(80_000_000))),
    ],
)
def test_damaged_chunks_of_metadata_never_refuse_a_png(tmp_path, chunk):
    image = png_with(tmp_path / "a.png", chunk, (b"pHYs", struct.pack(">IIB", 3937, 3937, 1)))
    np.testing.assert_array_equal(image.pixels, made.picture() / np.float32(255))
    assert image.remarks == (f"the chunk {chunk[0].decode()} is damaged; the chunk is ignored",)
    assert image.metadata.dpi == (100, 100), "the others are kept"
    assert image_io.image_shape(tmp_path / "a.png") == image.pixels.shape


def test_texts_of_a_png_are_not_taken_for_metadata(tmp_path):
    names = ("dpi", "exif", "xmp", "icc_profile", "gamma", "chromaticity", "srgb", "cmyk", "video")
    texts = [(b"tEXt", name.encode() + b"\0text") for name in names]
    about = png_with(tmp_path / "a.png", *texts).metadata
    assert dataclasses.replace(about, profile=None) == meta.NONE


def test_xmp_that_could_expand_is_left_out():
    bomb = b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'
    image = Image.fromarray(made.picture())
    image.info["xmp"] = bomb
    about, remarks = meta.read(io.BytesIO(), 3, image=image)
    assert about.xmp == b""
    assert "XMP data are damaged" in remarks[0]
