"""Benchmarks made by `launch.degrade`: what is written, that it is as said, and that main takes it."""

import json

import numpy as np
import pytest
import scipy.io
from PIL import Image
from scipy import ndimage
from skimage import data

from deepinternal.codecs.image_io import read_image, write_image
from deepinternal.ops.resizing import resize
from tests.launch.conftest import picture, save

FLAGS = ["--kernel=div2krk", "--noise_std=0.012", "--seed=7"]


@pytest.fixture(scope="module")
def degraded(launcher, tmp_path_factory):
    """Degrades; returns the new folder."""
    place = tmp_path_factory.mktemp("degrade")

    def run(source, *flags, name):
        common = [f"--input={source}", f"--out={place / name}"]
        status, printed = launcher.run(*common, *flags, module="launch.degrade")
        assert status == 0, printed
        assert not [p for p in place.iterdir() if p.name.startswith(".")]
        return place / name

    return run


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Colour with alpha, grey, and 16-bit colour, none of a size that 2 divides."""
    place = tmp_path_factory.mktemp("photos")
    colour = data.astronaut()[40:121, 180:271]
    save(place / "alpha.png", np.dstack([colour, np.full(colour.shape[:2], 90, np.uint8)]))
    save(place / "grey.png", colour[..., 1])
    write_image(place / "wide.png", colour / 255 * 0.9 + 0.0501, bit_depth=16)
    save(place / "alpha_gt.png", picture())
    save(place / "grey_kernel.png", picture(9, 9)[..., 0])
    return place


@pytest.fixture(scope="module")
def bench(degraded, photos):
    return degraded(photos, *FLAGS, name="bench")


@pytest.fixture(scope="module")
def alone(degraded, photos):
    """One of the same images, without the others."""
    return degraded(photos / "grey.png", *FLAGS, name="alone")


def _names(folder):
    return {p.name for p in folder.iterdir()}


def _entries(folder):
    return json.loads((folder / "degradation.json").read_text())["images"]


def _forward(folder, stem, scale=2):
    """The original blurred with the written kernel and subsampled, by scipy."""
    kernel = scipy.io.loadmat(folder / f"{stem}_kernel.mat")["Kernel"].astype(np.float64)
    planes = np.moveaxis(read_image(folder / f"{stem}_gt.png").pixels.astype(np.float64), -1, 0)
    blurred = [ndimage.correlate(plane, kernel, mode="reflect") for plane in planes]
    return np.stack(blurred, -1)[::scale, ::scale].clip(0, 1)


@pytest.mark.slow
def test_what_is_written_keeps_depth_and_channels(bench, photos):
    stems = ["alpha", "grey", "wide"]
    files = {f"{s}{end}" for s in stems for end in (".png", "_gt.png", "_kernel.mat")}
    assert _names(bench) == files | {"degradation.json"}
    for entry, stem in zip(_entries(bench), stems, strict=True):
        source, original = read_image(photos / f"{stem}.png"), read_image(bench / f"{stem}_gt.png")
        small = read_image(bench / f"{stem}.png")
        np.testing.assert_array_equal(original.pixels, source.pixels[:80, :90])
        for made in (original, small):
            assert (made.bit_depth, made.grey) == (source.bit_depth, source.grey)
            assert made.alpha is None
        assert small.pixels.shape[:2] == (40, 45)
        noise = small.pixels - _forward(bench, stem)
        assert abs(noise.std() / 0.012 - 1) < 0.1
        assert abs(noise.mean() * 255) < 0.3
        assert entry["input"] == str(photos / f"{stem}.png")
        assert entry["image"] == f"{stem}.png"
        assert entry["ground_truth"] == f"{stem}_gt.png"
        assert entry["kernel_file"] == f"{stem}_kernel.mat"
        told = [entry[name] for name in ("scale", "kernel", "options", "noise_std", "jpeg", "seed")]
        assert told == [2, "div2krk", {}, 0.012, 0, 7]


def test_draws_depend_on_seed_and_name_alone(degraded, bench, photos, alone):
    assert (alone / "grey.png").read_bytes() == (bench / "grey.png").read_bytes()
    kernels = [
        scipy.io.loadmat(folder / f"{stem}_kernel.mat")["Kernel"]
        for folder, stem in ((alone, "grey"), (bench, "grey"), (bench, "wide"))
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[1] - kernels[2]).max() > 0.003
    other = degraded(photos / "grey.png", *FLAGS[:2], "--seed=8", name="other")
    other = scipy.io.loadmat(other / "grey_kernel.mat")["Kernel"]
    assert np.abs(kernels[0] - other).max() > 0.003


@pytest.mark.parametrize(
    "flags",
    [
        ["--kernel=isotropic", "--sigma=1.2", "--scale=3"],
        ["--kernel=anisotropic", "--sigma=2,0.7", "--theta=60", "--kernel_size=13"],
        ["--kernel=motion", "--length=6"],
        ["--kernel=line", "--length=7", "--theta=90", "--scale=1"],
    ],
    ids=lambda flags: flags[0].split("=")[1],
)
def test_written_kernels_are_the_used_ones_at_the_given_angle(degraded, photos, flags):
    kind, given = flags[0].split("=")[1], dict(flag[2:].split("=") for flag in flags)
    scale = int(given.get("scale", 2))
    folder = degraded(photos / "wide.png", *flags, name=kind)
    small = read_image(folder / "wide.png").pixels
    np.testing.assert_allclose(small, _forward(folder, "wide", scale), atol=2e-5)
    kernel = scipy.io.loadmat(folder / "wide_kernel.mat")["Kernel"].astype(np.float64)
    size = len(kernel)
    centre = size // 2 + (scale - 1) / 2
    np.testing.assert_allclose(ndimage.center_of_mass(kernel), centre, atol=1e-3)
    y, x = np.mgrid[:size, :size] - centre
    xx, xy, yy = (np.sum(kernel * a) for a in (x * x, x * y, y * y))
    if kind == "isotropic":
        np.testing.assert_allclose([xx, xy, yy], [1.44, 0, 1.44], atol=0.03)
    elif kind == "anisotropic":  # towards higher rows and columns, more along the rows
        angle = np.degrees(0.5 * np.arctan2(2 * xy, xx - yy))
        assert abs(angle - 60) < 1
        assert abs(xx + yy - 4.49) < 0.2
    elif kind == "line":
        assert yy > 4
        assert xx < 0.01


def test_a_kernel_from_a_file_is_centred(degraded, photos, tmp_path):
    kernel = np.zeros((7, 7))
    kernel[0, :4] = [1, 2, 3, 4]
    np.save(tmp_path / "k.npy", kernel)
    folder = degraded(photos / "wide.png", f"--kernel={tmp_path / 'k.npy'}", name="own")
    small = read_image(folder / "wide.png").pixels
    np.testing.assert_allclose(small, _forward(folder, "wide"), atol=2e-5)
    used = scipy.io.loadmat(folder / "wide_kernel.mat")["Kernel"].astype(np.float64)
    np.testing.assert_allclose(ndimage.center_of_mass(used), len(used) // 2 + 0.5, atol=1e-3)
    again = degraded(
        photos / "wide.png", f"--kernel={folder / 'wide_kernel.mat'}", name="own-again"
    )
    used_again = scipy.io.loadmat(again / "wide_kernel.mat")["Kernel"]
    np.testing.assert_allclose(used_again, used, atol=1e-6)


def test_jpeg_is_lossy_but_in_place(degraded, photos):
    plain = degraded(photos / "wide.png", name="plain")
    lossy = degraded(photos / "wide.png", "--jpeg=60", name="jpeg")
    assert _names(lossy) == {"wide.jpg", "wide_gt.png", "degradation.json"}
    one, other = read_image(plain / "wide.png").pixels, read_image(lossy / "wide.jpg").pixels
    error = np.sqrt(np.mean((one - other) ** 2))
    assert 0.005 < error < 0.06
    for shift in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        assert np.sqrt(np.mean((one - np.roll(other, shift, (0, 1))) ** 2)) > 1.5 * error


@pytest.mark.slow
def test_train_takes_the_folder_unchanged(train, alone, tmp_path):
    assert train(alone, preset="kernel", kernel=str(alone)) == 0
    (image,) = json.loads((tmp_path / "out/summary.json").read_text())["images"]
    assert image["input"] == str(alone / "grey.png")
    assert image["output_shape"][:2] == [80, 90]
    assert image["baseline_psnr_y"] > 15


def test_the_sample_cropped_and_bicubic(degraded):
    folder = degraded("", "--crop=100,81", "--scale=4", name="sample")
    assert _names(folder) == {"sample.png", "sample_gt.png", "degradation.json"}
    original = data.astronaut()[206:306, 215:296][:, :80]
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "sample_gt.png")), original)
    expected = np.asarray(resize(original / np.float32(255), scale=0.25)).clip(0, 1)
    np.testing.assert_allclose(read_image(folder / "sample.png").pixels, expected, atol=0.51 / 255)


@pytest.fixture
def refused(launcher, tmp_path):
    """Asserts a refusal of one line that leaves nothing behind."""

    def check(*flags, words):
        before = set(tmp_path.iterdir())
        flags = [f"--input={tmp_path / 'small.png'}", f"--out={tmp_path / 'made'}", *flags]
        status, printed = launcher.run(*flags, module="launch.degrade")
        assert status == 2, printed
        assert len(printed.splitlines()) == 1
        for word in words:
            assert word in printed
        assert set(tmp_path.iterdir()) == before

    return check


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--kernel=cubic"], ["--kernel=cubic", "bicubic", "div2krk"]),
        (["--noise_std=-1"], ["--noise_std=-1", "a number from 0 to 1"]),
        (["--noise_std=nan"], ["--noise_std=nan", "a number from 0 to 1"]),
        (["--noise_std=25"], ["--noise_std=25", "25 of 255 is 0.098"]),
        (["--jpeg=101"], ["--jpeg=101", "from 0 to 100"]),
        (["--scale=0"], ["--scale=0", "from 1 to 16"]),
        (["--scale=1.5"], ["--scale=1.5", "a whole number"]),
        (["--scale=3", "--kernel=div2krk"], ["2 or 4"]),
        (["--crop=20"], ["--crop=20", "height,width"]),
        (["--crop=20,x"], ["--crop=20,x"]),
        (["--crop=20,33"], ["small.png", "24x32", "20,33"]),
        (["--sigma=1"], ["--sigma", "bicubic"]),
        (["--kernel=isotropic", "--sigma=1,2"], ["--sigma=1,2", "1 positive"]),
        (["--kernel=anisotropic", "--sigma=1,-2"], ["--sigma=1,-2"]),
        (["--kernel=anisotropic", "--theta=inf"], ["--theta=inf", "a number"]),
        (["--kernel=isotropic", "--sigma=40"], ["99"]),
        (["--kernel=isotropic", "--kernel_size=0"], ["--kernel_size=0", "at least 1"]),
        (["--kernel=isotropic", "--kernel_size=99"], ["99x99"]),
        (["--kernel=motion", "--length=0"], ["--length=0"]),
        (["--kernel=motion", "--length=80"], ["--length"]),
        (["--kernel=line", "--kernel_size=5"], ["5x5", "17 to 99"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_invalid_flags_are_refused(refused, small_png, flags, words):
    refused(*flags, words=words)


def test_invalid_files_are_refused(refused, small_png, tmp_path):
    save(tmp_path / "dot.png", picture(1, 1))
    (tmp_path / "bad.png").write_text("no image")
    save(tmp_path / "one_gt.png", picture())
    refused(f"--input={tmp_path / 'dot.png'}", words=["dot.png", "too small"])
    refused(f"--input={small_png},{tmp_path / 'bad.png'}", words=["bad.png"])
    refused(f"--input={tmp_path / 'none.png'}", words=["--input", "none.png"])
    refused(f"--input={tmp_path / 'one_gt.png'}", words=["one_gt.png", "rename"])
    refused(f"--kernel={small_png}", words=["small.png", "grey"])
    refused(f"--out={small_png}", words=["small.png", "is a file"])
    refused(f"--out={tmp_path}", words=["not empty"])
    refused(f"--out={small_png / 'made'}", words=["small.png"])
