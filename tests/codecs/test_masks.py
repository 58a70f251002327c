"""Masks in the forms that people have, and those that are refused because they are unclear."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from deepinternal.codecs.masks import read_masks, to_masks
from deepinternal.types import InputError

Y, X = np.mgrid[:24, :32]
THING = np.hypot(Y - 11, X - 12) < 7
OTHER = (X > 24) & (Y > 3)
LINE = (np.hypot(Y - 11, X - 12) < 9) & ~THING  # void around the object
SOFT = np.clip(9 - np.hypot(Y - 11, X - 12), 0, 1)  # an edge of one pixel


def voc(index):
    """The colour of a label in Pascal VOC and DAVIS, by the definition in VOC's development kit."""
    bits = [(index >> (3 * i)) & 7 for i in range(3)]
    return tuple(sum(((b >> c) & 1) << (7 - i) for i, b in enumerate(bits)) for c in range(3))


VOC = np.array([voc(i) for i in range(256)], np.uint8)
YOUTUBE = np.array([(0, 0, 0), (236, 95, 103), (249, 145, 87), (250, 200, 99)], np.uint8)


def labels(**given):
    """An image of labels from masks by names such as `at2`; void is 255."""
    made = np.zeros(THING.shape, np.uint8)
    for name, mask in given.items():
        made[mask] = int(name.removeprefix("at"))
    return made


def save_palette(path, indices, palette=VOC, **options):
    image = Image.fromarray(indices, "P")
    image.putpalette(palette.ravel().tolist())
    image.save(path, **options)


def read(path, **choice):
    (mask,), remarks = read_masks([path], **choice)
    assert mask.dtype == np.float32
    return mask, remarks


def taken(array, **choice):
    (mask,), remarks = to_masks([array], name="mask", **choice)
    assert mask.dtype == np.float32
    return mask, remarks


@pytest.mark.parametrize("suffix", ["png", "gif", "tif", "bmp"])
@pytest.mark.parametrize("palette", [VOC, YOUTUBE], ids=["voc", "youtube"])
def test_a_palette_with_colours_means_labels(tmp_path, suffix, palette):
    path = tmp_path / f"m.{suffix}"
    save_palette(path, labels(at1=THING, at2=OTHER), palette)
    np.testing.assert_array_equal(read(path)[0], THING | OTHER)
    for label, wanted in ((1, THING), (2, OTHER), (0, ~(THING | OTHER))):
        np.testing.assert_array_equal(read(path, label=label)[0], wanted)
    with pytest.raises(InputError, match=r"m\.\w+: config\.label=3: .* there are 0, 1, 2$"):
        read(path, label=3)


def test_the_void_of_voc_belongs_to_nothing(tmp_path):
    assert tuple(VOC[255]) == (224, 224, 192)
    for label in (1, 7, 20):  # 7 is grey
        save_palette(tmp_path / "m.png", labels(**{f"at{label}": THING, "at255": LINE}))
        np.testing.assert_array_equal(read(tmp_path / "m.png")[0], THING)
        save_palette(tmp_path / "m.png", labels(**{f"at{label}": THING}))
        np.testing.assert_array_equal(read(tmp_path / "m.png")[0], THING)
    palette = VOC.copy()
    palette[255] = 255
    save_palette(tmp_path / "m.png", labels(at1=THING, at255=LINE), palette)
    with pytest.raises(InputError, match=r"values 0, 1, 255, of which 255 may be void"):
        read(tmp_path / "m.png")
    np.testing.assert_array_equal(read(tmp_path / "m.png", label=1)[0], THING)
    save_palette(tmp_path / "m.png", labels(at255=THING), palette)
    np.testing.assert_array_equal(read(tmp_path / "m.png")[0], THING)


def test_a_palette_of_grey_levels_is_a_picture(tmp_path):
    black_white = np.array([(255, 255, 255), (0, 0, 0)], np.uint8)
    save_palette(tmp_path / "m.png", THING.astype(np.uint8), black_white, bits=1)
    np.testing.assert_array_equal(read(tmp_path / "m.png")[0], ~THING)
    soft = Image.fromarray(np.round(SOFT * 255).astype(np.uint8))
    soft.quantize(256).save(tmp_path / "m.png")
    np.testing.assert_allclose(read(tmp_path / "m.png")[0], SOFT, atol=0.51 / 255)
    Image.fromarray(THING).convert("RGB").convert("P").save(tmp_path / "m.png")  # web colours
    np.testing.assert_array_equal(read(tmp_path / "m.png", label=2)[0], THING)
    red = np.array([(0, 0, 0), (255, 0, 0)], np.uint8)
    save_palette(tmp_path / "m.png", THING.astype(np.uint8), red, bits=1)
    np.testing.assert_array_equal(read(tmp_path / "m.png")[0], THING)
    save_palette(tmp_path / "m.png", THING.astype(np.uint8), red[::-1])
    with pytest.raises(InputError, match=r"values 0, 1, of a palette that begins with \(255, 0, 0"):
        read(tmp_path / "m.png")


def values(dtype, ground, thing, other):
    return np.select([THING, OTHER], [thing, other], ground).astype(dtype)


WIDE = np.uint16
CLEAR = {
    "bool": (THING, THING),
    "0 and 1": (values(np.uint8, 0, 1, 0), THING),
    "0 and 1 in 16 bits": (values(WIDE, 0, 1, 0), THING),
    "0 and 1 in 64 bits": (values(np.int64, 0, 1, 0), THING),
    "0 and 1, signed": (values(np.int8, 0, 1, 0), THING),
    "0 and 1 as floats": (values(float, 0, 1, 0), THING),
    "0 and 255": (values(np.uint8, 0, 255, 0), THING),
    "0 and 255 in 16 bits": (values(WIDE, 0, 255, 0), THING),
    "0 and 255 in 64 bits": (values(np.int64, 0, 255, 0), THING),
    "0 and 255 as floats": (values(np.float32, 0, 255, 0), THING),
    "0 and 65535": (values(WIDE, 0, 65535, 0), THING),
    "0, 1 and 2": (values(np.int32, 0, 1, 2), THING | OTHER),
    "all known": (np.ones((4, 4), np.uint8), np.ones((4, 4))),
    "nothing": (np.zeros((4, 4), np.uint8), np.zeros((4, 4))),
    "a trimap": (values(np.uint8, 0, 255, 128), THING + OTHER * np.float32(128 / 255)),
    "light grey": (values(np.uint8, 0, 200, 0), THING * np.float32(200 / 255)),
    "soft floats": (SOFT, SOFT.astype(np.float32)),
    "soft": (np.round(SOFT * 255).astype(np.uint8), np.round(SOFT * 255) / np.float32(255)),
    "soft in 16 bits": (np.round(SOFT * 65535).astype(WIDE), SOFT),
    "soft in 64 bits": (np.round(SOFT * 255).astype(int), np.round(SOFT * 255) / np.float32(255)),
    "RGB": (np.dstack([values(np.uint8, 0, 255, 0)] * 3), THING),
    "labels in RGB": (np.dstack([values(np.uint8, 0, 1, 0)] * 3), THING),
    "tinted": (np.where(THING[..., None], (254, 250, 246), 0).astype(np.uint8), THING),
    "alpha": (np.dstack([0 * X, 0 * X, 0 * X, values(int, 0, 255, 0)]).astype(np.uint8), THING),
    "strokes": (
        np.dstack([200 + 0 * X, 30 + 0 * X, 9 + 0 * X, 255 * THING]).astype(np.uint8),
        THING,
    ),
    "opaque": (np.dstack([255 * THING, 255 + 0 * X]).astype(np.uint8), THING),
    "half": (np.dstack([255 * THING] * 3 + [255 * (X > 9)]).astype(np.uint8), THING & (X > 9)),
}


@pytest.mark.parametrize("kind", CLEAR)
def test_what_is_understood(kind):
    array, wanted = CLEAR[kind]
    np.testing.assert_allclose(taken(array)[0], wanted, atol=0.02 if kind == "tinted" else 1e-5)


UNCLEAR = {
    "a gap": (
        values(np.uint8, 0, 7, 0),
        "has the values 0, 7, which .* such as config.label=7, or",
    ),
    "identities": (values(WIDE, 0, 1001, 1002), "values 0, 1001, 1002, which .* config.label=1001"),
    "void": (values(np.uint8, 0, 1, 255), "has the values 0, 1, 255, which .* config.label=1,"),
    "many": (np.tile(np.arange(20, dtype=np.uint8), (4, 1)), r"values 0, .*, 7 and 12 more, which"),
    "spread labels": (values(np.uint8, 0, 100, 200), "has the values 0, 100, 200, which may be"),
    "no background": (values(np.uint8, 2, 1, 1), "has the values 1, 2, which may be"),
    "float labels": (values(float, 0, 1, 2), r"float values in \[0, 2\]; give floats"),
    "NaN": (np.where(THING, np.nan, 0), "NaN or infinite"),
    "negative": (values(int, -1, 1, 0), r"whole numbers in \[-1, 1\]; give"),
    "red on black": (
        np.where(THING[..., None], (255, 0, 0), 0).astype(np.uint8),
        r"has colours, such as \(255, 0, 0\) in row 5, column",
    ),
    "red on white": (np.where(THING[..., None], (255, 0, 0), 255).astype(np.uint8), "has colours"),
    "labels in red": (np.where(THING[..., None], (3, 0, 0), 0).astype(np.uint8), "has colours"),
    "shape": (np.zeros((4, 4, 5), np.uint8), r"shape \(4, 4, 5\) is not a mask"),
    "empty": (np.zeros((0, 4), np.uint8), "has no pixels"),
}


@pytest.mark.parametrize("kind", UNCLEAR)
def test_what_is_refused(kind):
    array, words = UNCLEAR[kind]
    with pytest.raises(InputError, match=rf"^mask: .*{words}") as caught:
        taken(array)
    assert "\n" not in str(caught.value)


def test_a_choice_among_labels():
    made = values(np.uint8, 0, 7, 255)
    np.testing.assert_array_equal(taken(made, label=7)[0], THING)
    np.testing.assert_array_equal(taken(made, label=255)[0], OTHER)
    np.testing.assert_array_equal(taken(values(WIDE, 0, 1001, 1002), label=1002)[0], OTHER)
    with pytest.raises(
        InputError, match=r"mask: config.x=3: no pixel has this label; there are 0, 7"
    ):
        taken(made, label=3, field="x")
    # Masks without labels do not depend on it, so that one field serves all masks.
    for plain in (THING, THING * np.uint8(255), SOFT):
        np.testing.assert_array_equal(taken(plain, label=7)[0], taken(plain)[0])
    np.testing.assert_array_equal(taken(THING * np.uint8(255), label=0)[0], ~THING)
    np.testing.assert_array_equal(taken(values(np.uint8, 0, 255, 128), label=128)[0], OTHER)


def test_arrays_of_frames_that_are_refused():
    with pytest.raises(InputError, match=r"^x: the mask is 3x4, but the first one is 24x32"):
        to_masks([THING, THING[:3, :4]], name="x")
    with pytest.raises(InputError, match=r"^x: there is no mask"):
        to_masks([], name="x")


def test_labels_without_a_palette_are_reported():
    assert taken(values(np.uint8, 0, 1, 0))[1] == ()
    (remark,) = taken(values(np.uint8, 0, 1, 2))[1]
    assert remark == "mask: its values 0, 1, 2 are labels, of which all but 0 count as white"


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_files_are_set_to_black_and_white(tmp_path, suffix):
    path, clean = tmp_path / f"m.{suffix}", np.kron(THING, np.ones((4, 4)))
    Image.fromarray((clean * 255).astype(np.uint8)).save(path, quality=50)
    stored = np.asarray(Image.open(path).convert("L"))
    assert len(np.unique(stored)) > 2  # altered
    made, (remark,) = read(path)
    np.testing.assert_array_equal(made, stored > 127)
    assert np.mean(made != clean) < 0.01
    assert remark == f"{path}: its grey levels, altered by compression, are set to black or white"
    half = np.where(np.kron(OTHER, np.ones((4, 4))), 128, clean * 255)
    Image.fromarray(half.astype(np.uint8)).save(path, quality=50)
    with pytest.raises(InputError, match=r"\d+% of its pixels are neither black nor white.* PNG"):
        read(path)
    if suffix == "webp":
        Image.fromarray(np.round(SOFT * 255).astype(np.uint8)).save(path, lossless=True)
        np.testing.assert_allclose(read(path)[0], SOFT, atol=0.51 / 255)
        assert read(path)[1] == ()


def test_files_with_16_bits_and_floats(tmp_path):
    for array, wanted in (
        (values(WIDE, 0, 1, 0), THING),
        (values(WIDE, 0, 65535, 0), THING),
        (values(np.float32, 0, 1, 0), THING),
        (values(np.float32, 0, 255, 0), THING),
        (SOFT.astype(np.float32), SOFT),
    ):
        tifffile.imwrite(tmp_path / "m.tif", array)
        np.testing.assert_allclose(read(tmp_path / "m.tif")[0], wanted, atol=1e-6)
    Image.fromarray(values(WIDE, 0, 24001, 24002)).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read(tmp_path / "m.png", label=24001)[0], THING)
    Image.fromarray(THING).save(tmp_path / "m.png")  # 1 bit
    np.testing.assert_array_equal(read(tmp_path / "m.png")[0], THING)


def test_frames_are_understood_together(tmp_path):
    """An object may be missing in some frames, and frames alone may be unclear."""
    objects = [labels(), labels(at1=THING), labels(at2=OTHER), labels(at1=THING, at2=OTHER)]
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path, frame in zip(paths, objects):
        save_palette(path, frame)
    np.testing.assert_array_equal(read_masks(paths)[0], np.stack(objects) > 0)
    np.testing.assert_array_equal(read_masks(paths, label=2)[0], np.stack(objects) == 2)
    with pytest.raises(InputError, match=r"0\.png and others: config\.label=3: no pixel"):
        read_masks(paths, label=3)
    made, (remark,) = to_masks(objects, name="masks")
    np.testing.assert_array_equal(made, np.stack(objects) > 0)
    assert remark.startswith("masks: its values 0, 1, 2 are labels")
    Image.fromarray(objects[1]).save(paths[1])
    with pytest.raises(InputError, match=r"1\.png: is of another kind than the other masks"):
        read_masks(paths)
    save_palette(paths[1], objects[1][:9])
    with pytest.raises(InputError, match=r"1\.png: the mask is 9x32, but the first one is 24x32"):
        read_masks(paths)


def test_an_upright_palette(tmp_path):
    """EXIF orientation 6 turns the image, also that of labels."""
    exif = Image.Exif()
    exif[274] = 6
    save_palette(tmp_path / "m.png", labels(at1=THING), exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "m.png")[0], np.rot90(THING, -1))


def test_a_palette_with_a_wrong_checksum_elsewhere(tmp_path):
    save_palette(tmp_path / "m.png", labels(at1=THING, at255=LINE), dpi=(72, 72))
    data = bytearray((tmp_path / "m.png").read_bytes())
    data[data.index(b"pHYs") + 13] ^= 255
    (tmp_path / "m.png").write_bytes(data)
    mask, (remark,) = read(tmp_path / "m.png")
    np.testing.assert_array_equal(mask, THING)
    assert "pHYs" in remark


def test_unreadable_files_are_refused(tmp_path):
    for name, data in (("a.png", b"no image"), ("b.png", b"\x89PNG\r\n\x1a\n" + bytes(50))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=name):
            read(tmp_path / name)
    save_palette(tmp_path / "m.png", labels(at1=THING))
    (tmp_path / "m.png").write_bytes((tmp_path / "m.png").read_bytes()[:-60])
    with pytest.raises(InputError, match=r"m\.png"):
        read(tmp_path / "m.png")
