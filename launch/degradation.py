"""What `launch.degrade` does to one image."""

import dataclasses
import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deepinternal import files
from deepinternal.codecs import image_io, jpeg
from deepinternal.codecs.kernel_io import check_kernel, read_kernel, write_kernel
from deepinternal.ops import degrade, kernels
from deepinternal.runs.inputs import Job
from deepinternal.types import InputError

TAGS = ("gt", "kernel")
_MAX_KERNEL = 99  # which kernel files may hold
# Kind of kernel -> its options and their defaults; None: what the kernel needs.
KINDS: dict[str, dict[str, Any]] = {
    "bicubic": {},
    "isotropic": {"sigma": (1.5,), "kernel_size": None},
    "anisotropic": {"sigma": (2.0, 0.8), "theta": 30.0, "kernel_size": None},
    "motion": {"length": 8.0, "kernel_size": None},
    "line": {"length": 8.0, "theta": 30.0, "kernel_size": None},
    "div2krk": {},
}
_degrade = jax.jit(degrade.degrade, static_argnums=2)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is to be done, the same for all images.

    Attributes:
        scale: downscaling factor.
        kernel: one of `KINDS`, or a file.
        options: of the kernel; those not given are added, with their defaults.
        noise: standard deviation, where white is 255.
        jpeg: quality, 0 for PNG.
        crop: (height, width) of the middle of each image, taken first, or None.
        seed: of noise and random kernels.

    Raises:
        InputError: values that make no sense, alone or together.
    """

    scale: int
    kernel: str
    options: dict[str, Any]
    noise: float
    jpeg: int
    crop: Sequence[Any] | None
    seed: int

    def __post_init__(self):
        if not math.isfinite(self.noise):
            raise InputError(f"--noise={self.noise}: give a number from 0 to 255")
        if self.crop is not None:
            object.__setattr__(self, "crop", _numbers("crop", self.crop, int, 2))
        known = KINDS.get(self.kernel, {})
        if self.kernel not in KINDS and not os.path.lexists(self.kernel):
            raise InputError(f"--kernel={self.kernel}: is none of {', '.join(KINDS)}, and no file")
        if unused := sorted(self.options.keys() - known):
            raise InputError(f"--{unused[0]}: does not go with --kernel={self.kernel}")
        if self.kernel == "div2krk" and self.scale not in degrade.DIV2KRK_SCALES:
            raise InputError(f"--kernel=div2krk: has no --scale={self.scale}; give 2 or 4")
        object.__setattr__(self, "options", _complete({**known, **self.options}, self))


def _numbers(name: str, given: Sequence[Any], kind: type, count: int) -> tuple:
    """That many positive finite numbers."""
    try:
        numbers = tuple(kind(text) for text in given)
    except ValueError:
        numbers = ()
    if len(numbers) != count or not all(0 < n < math.inf for n in numbers):
        raise InputError(f"--{name}={','.join(map(str, given))}: give {count} positive number(s)")
    return numbers


def _complete(options: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """A kernel's options checked, its size filled in."""
    if not math.isfinite(options.get("theta", 0.0)):
        raise InputError(f"--theta={options['theta']}: give degrees")
    if "kernel_size" not in options:
        return options
    least = 1
    if "sigma" in options:
        count = len(KINDS[recipe.kernel]["sigma"])
        options["sigma"] = _numbers("sigma", options["sigma"], float, count)
        need = 2 * math.ceil(3 * min(max(options["sigma"]), _MAX_KERNEL)) + 1
    else:
        length = _numbers("length", [options["length"]], float, 1)[0]
        need = least = degrade.motion_size(min(length, _MAX_KERNEL), recipe.scale)
    size = options["kernel_size"] or need
    if not least <= size <= _MAX_KERNEL:
        hint = (
            f"give {least} to {_MAX_KERNEL}" if least <= _MAX_KERNEL else "give a shorter --length"
        )
        raise InputError(f"--kernel={recipe.kernel} of {size}x{size} pixels: {hint}")
    return {**options, "kernel_size": size}


def _kernel(key: jax.Array, recipe: Recipe) -> np.ndarray | None:
    """The kernel of one image, centred for the scale; None for bicubic."""
    options = recipe.options
    theta, size = math.radians(options.get("theta", 0.0)), options.get("kernel_size")
    match recipe.kernel:
        case "bicubic":
            return None
        case "isotropic":
            kernel = kernels.gaussian_kernel(size, options["sigma"])
        case "anisotropic":
            kernel = kernels.gaussian_kernel(size, options["sigma"], theta=theta)
        case "motion":
            kernel = degrade.motion_kernel(key, size, options["length"], scale=recipe.scale)
        case "line":
            kernel = degrade.line_kernel(size, options["length"], theta, scale=recipe.scale)
        case "div2krk":
            kernel = degrade.div2krk_kernel(key, recipe.scale)
        case file:
            kernel = read_kernel(file)
    centred = kernels.centre_kernel(np.asarray(kernel), recipe.scale)
    return check_kernel(np.asarray(centred), f"--kernel={files.show_path(recipe.kernel)}, centred")


def _cropped(image: image_io.ImageFile, recipe: Recipe) -> np.ndarray:
    """The middle of an image, as far as the scale divides it."""
    pixels = image.pixels
    if recipe.crop:
        (h, w), (height, width) = pixels.shape[:2], recipe.crop
        if height > h or width > w:
            raise InputError(f"{image.path}: is {h}x{w}; --crop={height},{width} is larger")
        top, left = (h - height) // 2, (w - width) // 2
        pixels = pixels[top : top + height, left : left + width]
    h, w = (n - n % recipe.scale for n in pixels.shape[:2])
    if not h or not w:
        raise InputError(f"{image.path}: is too small for --scale={recipe.scale}")
    return pixels[:h, :w]


def write(folder: Path, job: Job, recipe: Recipe) -> dict[str, Any]:
    """Degrades one image and writes the result, the original and the kernel.

    Random draws depend on the seed and on the job's stem alone, not on the other images.

    Returns:
        What was done, for JSON.
    """
    image = _sample() if job.path is None else image_io.read_image(job.path)
    original = _cropped(image, recipe)
    stem_key = jax.random.fold_in(
        jax.random.key(recipe.seed), np.uint32(zlib.crc32(job.stem.encode()))
    )
    kernel_key, noise_key = jax.random.split(stem_key)
    kernel = _kernel(kernel_key, recipe)
    small = _degrade(original, kernel, recipe.scale, key=noise_key, noise_std=recipe.noise / 255)
    small_name = f"{job.stem}{'.jpg' if recipe.jpeg else '.png'}"
    if recipe.jpeg:
        jpeg.write_jpeg(folder / small_name, small, quality=recipe.jpeg)
    else:
        image_io.write_image(folder / small_name, small, bit_depth=image.bit_depth)
    image_io.write_image(folder / f"{job.stem}_gt.png", original, bit_depth=image.bit_depth)
    if kernel is not None:
        write_kernel(folder / f"{job.stem}_kernel.mat", kernel)
    return {
        "image": small_name,
        "ground_truth": f"{job.stem}_gt.png",
        "kernel_file": None if kernel is None else f"{job.stem}_kernel.mat",
        "input": image.path,
        **dataclasses.asdict(recipe),
    }


def _sample() -> image_io.ImageFile:
    import skimage.data

    return image_io.to_array(skimage.data.astronaut(), name="skimage.data.astronaut")
