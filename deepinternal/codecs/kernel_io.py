"""Reads blur kernels from files, and writes them: MATLAB, NumPy or a grey image."""

import io
import os

import numpy as np

from deepinternal.codecs.decoding import decode
from deepinternal.codecs.image_io import write_image
from deepinternal.files import atomic_write_bytes, open_file, quiet, reason, show_path
from deepinternal.types import InputError

_MAX_SIZE = 99


def read_kernel(path: str | os.PathLike) -> np.ndarray:
    """Reads a blur kernel as float32 (K, K) of sum 1.

    Args:
        path: .mat (variable `Kernel`), .npy, or a grey .png, .tif or .tiff image.

    Raises:
        InputError: The file is unreadable, a MATLAB file has no variable `Kernel`, or the array is not
            a finite square matrix of 1x1 to 99x99 with a positive sum.
    """
    name, suffix = show_path(path), os.path.splitext(os.fspath(path))[1].lower()
    if suffix == ".mat":
        array = _load_mat(path)
    elif suffix == ".npy":
        array = _load_npy(path)
    elif suffix in (".png", ".tif", ".tiff"):
        array = decode(path, 1_000_000).samples
    else:
        raise InputError(f"{name}: not a kernel file; give .mat, .npy, .png or .tif.")
    return check_kernel(array, name)


def check_kernel(array: np.ndarray, name: str = "kernel") -> np.ndarray:
    """Checks a user's blur kernel and returns it as float32 (K, K) of sum 1.

    Args:
        array: The user's array.
        name: Name of the kernel in messages.

    Raises:
        InputError: The array is not a finite real square matrix of 1x1 to 99x99 with a positive sum.
    """
    if array.dtype.kind not in "buif":
        raise InputError(f"{name}: a kernel of type {array.dtype}; give real numbers.")
    if array.ndim != 2:
        raise InputError(f"{name}: shape {array.shape}; a kernel is a (K, K) matrix or grey image.")
    if array.shape[0] != array.shape[1]:
        raise InputError(f"{name}: shape {array.shape} is not square; give a (K, K) kernel.")
    if not 1 <= len(array) <= _MAX_SIZE:
        raise InputError(f"{name}: size {array.shape}; give a kernel of 1x1 to 99x99.")
    kernel = array.astype(np.float64)
    if not np.isfinite(kernel).all():
        raise InputError(f"{name}: NaN or infinite values; give a finite kernel.")
    if not kernel.any():
        raise InputError(f"{name}: all values are zero; give a kernel with a positive sum.")
    total = kernel.sum()
    if total <= 1e-6 * np.abs(kernel).sum():
        raise InputError(f"{name}: the values sum to {total:g}; give a kernel with a positive sum.")
    return (kernel / total).astype(np.float32)


def _load_mat(path: str | os.PathLike) -> np.ndarray:
    """Reads the variable `Kernel` of a MATLAB file."""
    import scipy.io

    name = show_path(path)
    with open_file(path) as file, quiet():
        try:
            names = [entry[0] for entry in scipy.io.whosmat(file)]
            if "Kernel" in names:
                file.seek(0)
                return np.asarray(scipy.io.loadmat(file, variable_names=["Kernel"])["Kernel"])
        except NotImplementedError:  # version 7.3 is HDF5
            raise InputError(f"{name}: a MATLAB 7.3 file; save it with -v7.") from None
        except Exception as error:  # a damaged file can raise anything
            raise InputError(
                f"{name}: not a readable MATLAB file ({reason(error)}); save it with -v7."
            ) from None
    found = ", ".join(show_path(entry) for entry in names) or "none"
    raise InputError(f"{name}: no variable named Kernel (found: {found}); name the kernel Kernel.")


def _load_npy(path: str | os.PathLike) -> np.ndarray:
    """Reads the array of a NumPy file without pickled objects."""
    name = show_path(path)
    with open_file(path):
        try:
            # Mapped, so that a header with a huge shape allocates nothing.
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:
            why = "" if "pickle" in str(error) else f" ({reason(error)})"
            raise InputError(
                f"{name}: not a readable .npy file of numbers{why}; save it with numpy.save."
            ) from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{name}: an archive of arrays; save one array with numpy.save.")
    return array


def write_kernel(path: str | os.PathLike, kernel: np.ndarray) -> None:
    """Writes a blur kernel atomically, for `read_kernel`.

    Args:
        path: A name that ends in .mat (variable `Kernel`), .npy, or .png (16-bit grey, the peak white,
            negative values black), in an existing folder.
        kernel: (K, K), real; it is divided by its sum.

    Raises:
        InputError: The name has another ending, or `read_kernel` would refuse the kernel.
        OSError: The file cannot be written.
    """
    name, suffix = show_path(path), os.path.splitext(os.fspath(path))[1].lower()
    kernel = check_kernel(np.asarray(kernel), name)
    file = io.BytesIO()
    if suffix == ".png":
        return write_image(path, kernel / kernel.max(), bit_depth=16)
    if suffix == ".mat":
        import scipy.io

        scipy.io.savemat(file, {"Kernel": kernel})
    elif suffix == ".npy":
        np.save(file, kernel)
    else:
        raise InputError(f"{name}: not a name for a kernel; give .mat, .npy or .png.")
    atomic_write_bytes(path, file.getvalue())
