"""Colour profiles, EXIF, XMP and resolution: what is kept, corrected, converted and left out."""

import dataclasses
import io
import random
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from deepinternal.codecs import export, image_io, jpeg, profiles
from deepinternal.codecs import metadata as meta
from deepinternal.codecs.decoding import decode
from tests.codecs import metadata_samples as made
from tests.codecs.image_samples import png_bytes

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


def in_srgb(image):
    """The pixels of an opened image in sRGB, by Little CMS and the profile in its own file."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    goal = ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(image, source, goal, renderingIntent=1)).astype(int)


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


def png_with(path, *chunks, samples=None):
    extra = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    path.write_bytes(png_bytes(made.picture() if samples is None else samples, extra=extra))
    return image_io.read_image(path)


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


def test_linear_floats_are_said(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", made.picture().astype(np.float32) / 255, photometric="rgb")
    assert "floating-point" in image_io.read_image(tmp_path / "a.tif").remarks[0]


def test_layouts_of_other_programs_are_no_descriptions(tmp_path):
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
