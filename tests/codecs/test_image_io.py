"""Images: exact round trips, files of other programs, and one-line refusals.

Foreign files come from Pillow, tifffile, and a PNG encoder written from the specification; see
test_samples.py and test_tiff.py for every kind of samples.
"""

import logging
import struct
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from deepinternal.codecs import png
from deepinternal.codecs.image_io import from_float, read_image, to_array, write_image
from deepinternal.types import InputError
from tests.codecs.image_samples import decode_png, png_bytes, smooth


def assert_bytes(image, expected):
    """The pixels without alpha are the expected 8-bit samples."""
    expected = np.asarray(expected).reshape(image.pixels.shape)
    np.testing.assert_array_equal(np.round(image.pixels * 255), expected)


# Round trips.


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_is_exact(tmp_path, depth, channels):
    stored = smooth(11, 13, channels, depth)
    image, path = to_array(stored), tmp_path / "a.png"
    write_image(path, image.pixels, alpha=image.alpha, bit_depth=depth)
    np.testing.assert_array_equal(decode_png(path.read_bytes())[0], stored)
    back = read_image(path)
    assert (back.bit_depth, back.grey, back.path) == (depth, channels < 3, str(path))
    assert back.pixels.dtype == np.float32
    assert (back.alpha is not None) == (channels in (2, 4))
    np.testing.assert_array_equal(back.pixels, image.pixels)
    if channels in (2, 4):
        np.testing.assert_array_equal(back.alpha, image.alpha)


def test_every_16_bit_level_survives(tmp_path):
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    write_image(tmp_path / "a.png", levels / 65535.0, bit_depth=16)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), levels)
    read = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(from_float(read.pixels, levels), levels)


@pytest.mark.parametrize("name", ["with space.png", "écran 画像 🖼.png", "100%_{x}.png"])
def test_names(tmp_path, name):
    stored = smooth(4, 5, 3, 8)
    write_image(tmp_path / name, stored / 255)
    assert_bytes(read_image(str(tmp_path / name)), stored)


def test_writes_clip_and_round(tmp_path):
    write_image(tmp_path / "a.png", np.array([[-1.0, 0.4 / 255, 0.6 / 255, 1.0, 7.0]]))
    decoded, _ = decode_png((tmp_path / "a.png").read_bytes())
    assert decoded.ravel().tolist() == [0, 0, 1, 255, 255]


@pytest.mark.parametrize(
    ("name", "pixels", "options", "word"),
    [
        ("a.png", np.ones((2, 2, 2)), {}, "shape"),
        ("a.png", np.ones((0, 2)), {}, "shape"),
        ("a.png", np.full((2, 2), np.nan), {}, "NaN"),
        ("a.png", np.ones((2, 2)), {"bit_depth": 12}, "bit depth"),
        ("a.png", np.ones((2, 2)), {"alpha": np.ones((3, 2))}, "alpha"),
        ("a.jpg", np.ones((2, 2)), {}, r"\.png"),
    ],
)
def test_write_refuses(tmp_path, name, pixels, options, word):
    with pytest.raises(InputError, match=word):
        write_image(tmp_path / name, pixels, **options)
    assert not list(tmp_path.iterdir())


def test_camera_jpeg_with_a_preview_is_one_image(tmp_path):
    first, preview = (Image.fromarray(smooth(size, 24, 3, 8)) for size in (16, 8))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    assert Image.open(tmp_path / "a.jpg").n_frames == 2
    assert read_image(tmp_path / "a.jpg").pixels.shape == (16, 24, 3)


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
    source, exif = Image.fromarray(stored), Image.Exif()
    exif[274] = orientation
    source.save(tmp_path / "a.png", exif=exif)
    source.save(tmp_path / "a.webp", exif=exif, lossless=True)
    source.save(tmp_path / "a.tif", tiffinfo={274: orientation})
    source.save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    tag = [(274, 3, 1, orientation, True)]
    tifffile.imwrite(tmp_path / "b.tif", stored * np.uint16(257), photometric="rgb", extratags=tag)
    tifffile.imwrite(tmp_path / "c.tif", stored / 255, photometric="rgb", extratags=tag)
    for name in ("a.png", "a.webp", "a.tif", "b.tif", "c.tif", "a.jpg"):
        decoded = np.asarray(Image.open(tmp_path / name)) if name == "a.jpg" else stored
        assert_bytes(read_image(tmp_path / name), ORIENTED[orientation](decoded))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("layout", ["contig", "separate", "deflated"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_tiff(tmp_path, dtype, channels, layout, byteorder):
    stored = smooth(9, 12, channels, 16) / 65535
    stored = (stored if dtype[0] == "f" else stored * np.iinfo(dtype).max).astype(dtype)
    planes = np.moveaxis(stored, -1, 0) if layout == "separate" else stored
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored[..., 0] if channels == 1 else np.ascontiguousarray(planes),
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig=None if channels == 1 else "separate" if layout == "separate" else "contig",
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression=8 if layout == "deflated" else None,
        byteorder=byteorder,
    )
    image = read_image(tmp_path / "a.tif")
    assert image.bit_depth == (8 if dtype == "u1" else 16)
    assert image.grey == (channels < 3)
    back = from_float(image.pixels, stored, alpha=image.alpha)
    np.testing.assert_array_equal(back, stored if dtype[0] == "u" else stored.astype(np.float32))


# Bad files.


DAMAGED = ("png", "jpg", "tif", "lzw.tif", "float.tif", "webp", "bmp", "gif")


def saved(path, kind):
    """A small image file of the named kind."""
    stored = smooth(24, 32, 3, 8)
    options = {"lzw.tif": {"compression": "tiff_lzw"}, "progressive.jpg": {"progressive": True}}
    if kind == "wide.png":
        path.write_bytes(png_bytes(smooth(12, 12)))
    elif kind == "interlaced.png":
        path.write_bytes(png_bytes(stored, interlaced=True))
    elif kind == "float.tif":
        tifffile.imwrite(path, stored / np.float32(255), photometric="rgb")
    else:
        Image.fromarray(stored).save(path, **options.get(kind, {}))


@pytest.mark.parametrize("kind", [*DAMAGED, "wide.png", "interlaced.png", "progressive.jpg"])
def test_truncated_files_are_never_half_read(tmp_path, refuse, kind):
    path = tmp_path / f"a.{kind}"
    saved(path, kind)
    data, whole = path.read_bytes(), read_image(path).pixels
    for length in sorted({*range(1, len(data) - 2, max(1, len(data) // 60)), len(data) - 3}):
        path.write_bytes(data[:length])
        try:
            # Formats that end in metadata or padding may still have all their pixels.
            np.testing.assert_array_equal(read_image(path).pixels, whole)
            assert kind in ("bmp", "gif", "tif", "lzw.tif", "float.tif"), length
            assert length > 0.9 * len(data)
        except InputError:
            refuse(read_image, path)


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
                read_image(path, max_pixels=10_000_000)
            except InputError:
                refuse(read_image, path, max_pixels=10_000_000)


def test_files_without_an_image(tmp_path, refuse):
    refuse(read_image, tmp_path / "none.png", "no such file")
    path = tmp_path / "a.png"
    path.write_text("not\nan\nimage\n" * 100)
    refuse(read_image, path, "is not a PNG")
    path.write_bytes(png_bytes(smooth(20, 30, 3, 8), rows=10))
    refuse(read_image, path, "pixel data is missing")


def test_decoders_log_nothing_to_stderr(tmp_path, refuse, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((24, 32, 3), "f4"), photometric="rgb", compression=8)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20].replace(struct.pack("<H", 339), struct.pack("<H", 33923)))
    # Without any handler, as in a program that configures no logging, Python logs to stderr.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    refuse(read_image, path)
    entries = whole[8:].replace(struct.pack("<HHI", 258, 3, 3), struct.pack("<HHI", 258, 3, 9**8))
    path.write_bytes(whole[:8] + entries)
    refuse(read_image, path)


def test_too_many_pixels_are_refused_from_the_header(tmp_path, refuse, monkeypatch):
    small = smooth(4, 4, 3, 8)
    path = tmp_path / "bomb.png"
    loads = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", loads.append)
    monkeypatch.setattr(png, "check", loads.append)
    path.write_bytes(png_bytes(small, size=(50000, 50000)))
    refuse(read_image, path, "pixels", "100000000")
    path.write_bytes(png_bytes(small, size=(11000, 10000)))  # where Pillow only warns
    refuse(read_image, path, "11000 pixels wide and 10000 high", "100000000")
    path.write_bytes(png_bytes(small))
    refuse(read_image, path, "4 pixels wide and 4 high", "15", max_pixels=15)
    path.write_bytes(png_bytes(small, size=(0, 7)))
    refuse(read_image, path)
    tifffile.imwrite(tmp_path / "f.tif", np.zeros((9, 9, 3), "f4"), photometric="rgb")
    refuse(read_image, tmp_path / "f.tif", "9 pixels wide and 9 high", max_pixels=80)
    assert not loads


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif", "float.tif"])
def test_several_frames_are_refused(tmp_path, refuse, suffix):
    frames = [smooth(8, 9, 3, 8, seed) for seed in range(3)]
    path = tmp_path / f"a.{suffix}"
    if suffix == "float.tif":
        tifffile.imwrite(path, np.stack(frames) / np.float32(255), photometric="rgb")
    else:
        first, *others = map(Image.fromarray, frames)
        first.save(path, save_all=True, append_images=others)
    refuse(read_image, path, "3 frames")


@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
@pytest.mark.parametrize(
    ("value", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (-0.1, "[0, 1]"), (200.0, "[0, 1]")]
)
def test_float_tiff_values(tmp_path, refuse, photometric, value, word):
    stored = np.full((6, 7, 3) if photometric == "rgb" else (6, 7), 0.5, np.float32)
    stored[2, 3] = value
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=photometric)
    refuse(read_image, tmp_path / "a.tif", word)


# Arrays.


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.float16, bool])
def test_arrays_there_and_back(dtype, channels):
    shape = (5, 6) if channels is None else (5, 6, channels)
    values = np.random.default_rng(0).random(shape)
    kind = np.dtype(dtype).kind
    array = values * np.iinfo(dtype).max if kind == "u" else values.round() * (kind == "b")
    array = array.astype(dtype) if kind in "ub" else values.astype(dtype)
    image = to_array(array)
    assert image.pixels.shape == (5, 6, 3 if channels in (3, 4) else 1)
    assert image.bit_depth == (8 if dtype in (np.uint8, bool) else 16)
    assert image.grey == (channels not in (3, 4))
    back = from_float(image.pixels, array, alpha=image.alpha)
    assert back.shape == shape
    assert back.dtype == (dtype if kind == "u" else np.float32)
    np.testing.assert_allclose(back.astype(float), array.astype(float), atol=1e-7)


def test_other_shapes_jax_arrays_and_tiny_overshoot():
    like = np.zeros((4, 4), np.uint8)
    assert from_float(np.ones((8, 8, 3)), like).shape == (8, 8, 3)
    mask = from_float(jnp.full((8, 8), 2.0), np.zeros((4, 4, 3), np.uint8))
    assert mask.shape == (8, 8)
    assert (mask == 255).all()
    overshoot = to_array(jnp.array([[1.0000001, -1e-7]]))
    assert overshoot.pixels.ravel().tolist() == [1.0, 0.0]
    with pytest.raises(InputError, match="NaN"):
        from_float(np.full((2, 2), np.nan), like)


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
        to_array(array, name="photo")
    assert "\n" not in str(caught.value)


def test_import_loads_no_image_library():
    code = (
        "import sys, deepinternal.codecs.image_io; "
        "print({'PIL', 'imageio', 'imagecodecs', 'tifffile'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.parametrize(("top", "bits"), [(200, 8), (1000, 10), (4095, 12), (4096, 0), (0, 0)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_16_bits_that_hold_fewer_are_reported(tmp_path, top, bits, channels):
    samples = np.full((3, 4, channels), top, np.uint16)
    if channels == 2:
        samples[..., 1] = 65535  # alpha, which says nothing
    (tmp_path / "a.png").write_bytes(png.encode(samples))
    said = read_image(tmp_path / "a.png").remarks
    assert len(said) == bool(bits)
    if bits:
        assert f"at most {top} of 65535" in said[0]
        assert f"{bits} bits, multiply them by {65536 // 2**bits}" in said[0]
