"""Kernel files: values of sum 1, one-line refusals."""

import struct

import numpy as np
import pytest
import scipy.io
import tifffile

from deepinternal.codecs.kernel_io import read_kernel, write_kernel
from tests.codecs.image_samples import decode_png, png_bytes, smooth


def store(path, values):
    if path.suffix == ".mat":
        scipy.io.savemat(path, {"Kernel": values})
    elif path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, values.astype(np.float32))
    else:
        path.write_bytes(png_bytes(values[..., None]))


@pytest.mark.parametrize("suffix", [".mat", ".npy", ".tif"])
def test_kernel_files(tmp_path, suffix):
    kernel = np.random.default_rng(1).random((7, 7))
    kernel[0, 0] = -0.01
    store(tmp_path / f"k{suffix}", kernel)
    read = read_kernel(tmp_path / f"k{suffix}")
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, kernel / kernel.sum(), rtol=1e-5)


@pytest.mark.parametrize("depth", [8, 16])
def test_kernel_png(tmp_path, depth):
    stored = smooth(9, 9, 1, depth)[..., 0]
    store(tmp_path / "k.png", stored)
    expected = stored / stored.sum(dtype=float)
    np.testing.assert_allclose(read_kernel(tmp_path / "k.png"), expected, rtol=1e-5)


@pytest.mark.parametrize("suffix", [".mat", ".npy"])
@pytest.mark.parametrize(
    ("values", "word"),
    [
        (np.ones((3, 3, 3)), "(K, K)"),
        (np.ones((3, 4)), "square"),
        (np.ones((100, 100)), "99x99"),
        (np.ones((0, 0)), "1x1"),
        (np.array([[np.nan, 1], [1, 1]]), "NaN"),
        (np.array([[np.inf, 1], [1, 1]]), "infinite"),
        (np.array([[-2.0, 1], [0, 0]]), "sum"),
        (np.array([[-1.0, 1], [0, 0]]), "sum"),
        (np.zeros((3, 3)), "zero"),
        (np.ones((3, 3), complex) * 1j, "real"),
    ],
)
def test_kernels_refused(tmp_path, refuse, suffix, values, word):
    path = tmp_path / f"k{suffix}"
    store(path, values)
    if suffix == ".npy" and values.size == 0:
        word = ""  # NumPy cannot map an empty file, and says so
    refuse(read_kernel, path, word)


@pytest.mark.parametrize("suffix", [".mat", ".npy", ".png", ".tif"])
def test_not_a_kernel_file(tmp_path, refuse, suffix):
    path = tmp_path / f"k{suffix}"
    refuse(read_kernel, path, "no such file")
    path.touch()
    refuse(read_kernel, path, "empty")
    path.write_text("no\nkernel\n" * 40)
    refuse(read_kernel, path)
    (tmp_path / f"folder{suffix}").mkdir()
    refuse(read_kernel, tmp_path / f"folder{suffix}", "folder")


def test_unreadable_matlab_files(tmp_path, refuse):
    path = tmp_path / "k.mat"
    scipy.io.savemat(path, {"blur": np.eye(3), "kernel": np.eye(3)})
    refuse(read_kernel, path, "Kernel", "blur", "kernel")
    store(path, {"a": 1})
    refuse(read_kernel, path)
    store(path, np.random.default_rng(0).random((9, 9)))
    path.write_bytes(path.read_bytes()[:300])
    refuse(read_kernel, path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    refuse(read_kernel, path, "-v7")


def test_unreadable_numpy_files(tmp_path, refuse):
    path = tmp_path / "k.npy"
    store(path, np.array([[None]]))
    refuse(read_kernel, path)
    with open(path, "wb") as file:
        np.savez(file, a=np.eye(3))
    refuse(read_kernel, path, "archive")
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000000, 9000000), }\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    refuse(read_kernel, path)


def test_colour_images_and_other_files(tmp_path, refuse):
    (tmp_path / "k.png").write_bytes(png_bytes(smooth(5, 5, 3, 8)))
    refuse(read_kernel, tmp_path / "k.png", "grey")
    (tmp_path / "k.txt").write_text("1")
    refuse(read_kernel, tmp_path / "k.txt", ".mat")


@pytest.mark.parametrize("suffix", [".mat", ".npy", ".png"])
@pytest.mark.parametrize("size", [1, 8, 17])
def test_a_written_kernel_is_read_back(tmp_path, suffix, size):
    kernel = np.random.default_rng(size).random((size, size)).astype(np.float32)
    kernel[-1, 0] += 1  # not symmetric
    write_kernel(tmp_path / f"k{suffix}", 3 * kernel)
    assert [p.name for p in tmp_path.iterdir()] == [f"k{suffix}"]
    expected = kernel / kernel.sum(dtype=float)
    atol = expected.max() / 65535 if suffix == ".png" else 1e-7
    np.testing.assert_allclose(read_kernel(tmp_path / f"k{suffix}"), expected, rtol=1e-6, atol=atol)


def test_other_libraries_find_what_was_written(tmp_path):
    kernel = np.array([[0.1, 0.2, -0.05], [0.3, 0.4, 0.05], [0.0, 0.0, 0.0]])
    for suffix in (".mat", ".npy", ".PNG"):
        write_kernel(tmp_path / f"k{suffix}", kernel)
    np.testing.assert_allclose(scipy.io.loadmat(tmp_path / "k.mat")["Kernel"], kernel, atol=1e-7)
    np.testing.assert_allclose(np.load(tmp_path / "k.npy"), kernel, atol=1e-7)
    samples, _ = decode_png((tmp_path / "k.PNG").read_bytes())
    expected = np.round(np.maximum(kernel, 0) / 0.4 * 65535)
    assert np.abs(samples[..., 0] - expected).max() <= 1


def test_kernels_that_cannot_be_written(tmp_path, refuse):
    refuse(lambda path: write_kernel(path, np.eye(3)), tmp_path / "k.jpg", ".mat")
    refuse(lambda path: write_kernel(path, np.ones((2, 3))), tmp_path / "k.mat", "square")
    refuse(lambda path: write_kernel(path, -np.eye(3)), tmp_path / "k.npy", "sum")
    assert not list(tmp_path.iterdir())
