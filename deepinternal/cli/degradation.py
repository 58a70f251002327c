"""The degradation of one image by the program `degrade`."""

import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from annotated_types import Ge, Gt

from deepinternal import files
from deepinternal.codecs import image_io, jpeg
from deepinternal.codecs.kernel_io import check_kernel, read_kernel, write_kernel
from deepinternal.codecs.transparency import extended
from deepinternal.config import (
    Auto,
    Config,
    NoiseStd,
    Text,
    field,
    numbers,
    parsed,
    spelled,
    whole_numbers,
)
from deepinternal.ops import degradation, kernels
from deepinternal.runs.inputs import Job
from deepinternal.types import InputError

TAGS = ("gt", "kernel")
_MAX_KERNEL = 99  # largest side of a kernel file
# Kind of kernel -> its options and their defaults; 'auto': the smallest sufficient value.
KINDS: Mapping[str, Mapping[str, Any]] = {
    "bicubic": {},
    "isotropic": {"sigma": (1.5,), "kernel_size": "auto"},
    "anisotropic": {"sigma": (2.0, 0.8), "theta": 30.0, "kernel_size": "auto"},
    "motion": {"length": 8.0, "kernel_size": "auto"},
    "line": {"length": 8.0, "theta": 30.0, "kernel_size": "auto"},
    "div2krk": {},
}
_OPTIONS = ("sigma", "theta", "length", "kernel_size")
_degrade = jax.jit(degradation.degrade, static_argnums=3)


def _sigma(text: str) -> tuple[float, ...]:
    found = numbers(text)
    if not all(0 < n < math.inf for n in found):
        raise ValueError("must be positive numbers")
    return found


class Degradation(Config):
    """The settings of a degradation, which are the same for all images."""

    scale: int = field(2, "downscaling factor", ge=1, le=16)
    kernel: Text = field("bicubic", f"{', '.join(KINDS)}, or a file (.mat, .npy, .png, .tif)")
    sigma: Auto[parsed(tuple[float, ...], _sigma, spelled, "positive numbers joined by commas")] = (
        field("auto", "width of a Gaussian: one number, or one per principal axis", unit="pixels")
    )
    theta: Auto[float] = field(
        "auto", "angle of the long axis, clockwise from horizontal", unit="degrees"
    )
    length: Auto[Annotated[float, Gt(0)]] = field("auto", "length of a motion blur", unit="pixels")
    kernel_size: Auto[Annotated[int, Ge(1)]] = field(
        "auto",
        "number of rows and columns of the kernel; auto: the smallest sufficient one",
        unit="pixels",
    )
    noise_std: NoiseStd = field(0.0, "standard deviation of the noise, in [0, 1]")
    jpeg: int = field(0, "JPEG quality, 1 to 100; 0: PNG", ge=0, le=100)
    crop: Auto[whole_numbers(at_least=1)] = field(
        "auto", "height,width of a central crop that is taken first; auto: the whole image"
    )
    seed: int = field(0, "seed of noise and random kernels", ge=0, le=2**31 - 1)

    @property
    def options(self) -> dict[str, Any]:
        """The options of the chosen kernel."""
        return {name: getattr(self, name) for name in KINDS.get(self.kernel, ())}

    def resolved(self) -> "Degradation":
        """Returns a copy with the kernel's options filled in."""
        known = KINDS.get(self.kernel, {})
        if self.kernel not in KINDS and not os.path.lexists(files.expanded(self.kernel)):
            raise InputError(
                f"config.kernel={self.kernel}: must be a file, or one of {', '.join(KINDS)}"
            )
        for name in _OPTIONS:
            if getattr(self, name) != "auto" and name not in known:
                raise InputError(
                    f"config.{name}: cannot be combined with config.kernel={self.kernel}"
                )
        if self.kernel == "div2krk" and self.scale not in degradation.DIV2KRK_SCALES:
            raise InputError(
                f"config.kernel=div2krk: does not support config.scale={self.scale}; give 2 or 4"
            )
        if self.crop != "auto" and len(self.crop) != 2:
            raise InputError(f"config.crop={spelled(self.crop)}: give height,width")
        missing = {n: default for n, default in known.items() if getattr(self, n) == "auto"}
        made = self.model_copy(update=missing)
        size = {"kernel_size": _size(made)} if "kernel_size" in known else {}
        return made.model_copy(update=size)


def _size(made: Degradation) -> int:
    """Returns the side of a kernel: the given one, which is checked, or the smallest sufficient."""
    least = 1
    if "sigma" in made.options:
        count = len(KINDS[made.kernel]["sigma"])
        if len(made.sigma) != count:
            raise InputError(f"config.sigma={spelled(made.sigma)}: give {count} positive number(s)")
        need = 2 * math.ceil(3 * min(max(made.sigma), _MAX_KERNEL)) + 1
    else:
        need = least = degradation.motion_size(min(made.length, _MAX_KERNEL), scale=made.scale)
    size = need if made.kernel_size == "auto" else made.kernel_size
    if not least <= size <= _MAX_KERNEL:
        hint = (
            f"give {least} to {_MAX_KERNEL}"
            if least <= _MAX_KERNEL
            else "give a shorter config.length"
        )
        raise InputError(f"config.kernel={made.kernel} of {size}x{size} pixels: {hint}")
    return size


def _kernel(key: jax.Array, asked: Degradation) -> np.ndarray | None:
    """Returns the kernel of one image, centred for the scale; None for bicubic."""
    size, scale = asked.kernel_size, asked.scale
    theta = math.radians(asked.options.get("theta", 0.0))
    match asked.kernel:
        case "bicubic":
            return None
        case "isotropic" | "anisotropic":
            kernel = kernels.gaussian_kernel(size, asked.sigma, theta=theta)
        case "motion":
            kernel = degradation.motion_kernel(key, size, asked.length, scale=scale)
        case "line":
            kernel = degradation.line_kernel(size, asked.length, theta, scale=scale)
        case "div2krk":
            kernel = degradation.div2krk_kernel(key, scale=scale)
        case file:
            kernel = read_kernel(files.expanded(file))
    centred = kernels.centre_kernel(np.asarray(kernel), scale)
    return check_kernel(np.asarray(centred), f"--kernel={files.show_path(asked.kernel)}, centred")


def _cropped(image: image_io.ImageFile, asked: Degradation) -> np.ndarray:
    """Returns the central part of an image whose sides are divisible by the scale."""
    pixels = image.pixels
    if asked.crop != "auto":
        (h, w), (height, width) = pixels.shape[:2], asked.crop
        if height > h or width > w:
            raise InputError(f"{image.path}: is {h}x{w}; --crop={height},{width} is larger")
        top, left = (h - height) // 2, (w - width) // 2
        pixels = pixels[top : top + height, left : left + width]
    h, w = (n - n % asked.scale for n in pixels.shape[:2])
    if not h or not w:
        raise InputError(f"{image.path}: is too small for --scale={asked.scale}")
    return pixels[:h, :w]


def write(folder: Path, job: Job, asked: Degradation) -> dict[str, Any]:
    """Degrades one image and writes the result, the original and the kernel.

    Random draws depend only on the seed and on the job's stem, not on the other images.

    Returns:
        A description of the degradation, for JSON.
    """
    image = _sample() if job.path is None else extended(image_io.read_image(job.path))
    original = _cropped(image, asked)
    stem_key = jax.random.fold_in(
        jax.random.key(asked.seed), np.uint32(zlib.crc32(job.stem.encode()))
    )
    kernel_key, noise_key = jax.random.split(stem_key)
    kernel = _kernel(kernel_key, asked)
    small = _degrade(noise_key, original, kernel, asked.scale, noise_std=asked.noise_std)
    about = image.metadata.scaled(1 / asked.scale, 1 / asked.scale)
    below, stem = os.path.split(job.stem)
    place = folder / below
    place.mkdir(parents=True, exist_ok=True)
    small_name, original_name, kernel_name = (
        files.file_name(stem, ending)
        for ending in (".jpg" if asked.jpeg else ".png", "_gt.png", "_kernel.mat")
    )
    if asked.jpeg:
        jpeg.write_jpeg(place / small_name, small, quality=asked.jpeg, about=about)
    else:
        image_io.write_image(place / small_name, small, bit_depth=image.bit_depth, about=about)
    image_io.write_image(
        place / original_name, original, bit_depth=image.bit_depth, about=image.metadata
    )
    if kernel is not None:
        write_kernel(place / kernel_name, kernel)
    return {
        "image": os.path.join(below, small_name),
        "ground_truth": os.path.join(below, original_name),
        "kernel_file": None if kernel is None else os.path.join(below, kernel_name),
        "input": image.path,
        **asked.model_dump(exclude=set(_OPTIONS)),
        "options": asked.options,
    }


def _sample() -> image_io.ImageFile:
    import skimage.data

    return image_io.to_array(skimage.data.astronaut(), name="skimage.data.astronaut")
