"""Compares deblurring with the filters of scikit-image on synthetic cases; run by hand, in 15 minutes.

    python -m tests.deblur_campaign --data=DIR [--only=gauss1.2,...] [--out=FILE]

DIR has the folders `clean` and `bsd100_x2` with the photographs of `CASES`. A part of 176x176 pixels of
a blurred photograph gets noise and is rounded to 8 bits; the pixels beyond its border are not given.
The filters get the part mirrored by twice the kernel's side and tapered at its ends. Each filter has
the setting with the best result, chosen with the true photograph. All results are scored on luma
without 16 pixels at each side.
"""

import json
import math
import time
from pathlib import Path

import jax
import numpy as np
import scipy.ndimage
from absl import app, flags
from skimage import restoration

import deepinternal as di
from deepinternal.codecs.image_io import read_image
from deepinternal.ops import degradation, kernels
from deepinternal.ops.color import rgb_to_y

_DATA = flags.DEFINE_string("data", None, "Folder with the photographs.", required=True)
_ONLY = flags.DEFINE_list("only", [], "Names of cases; none: all.")
_OUT = flags.DEFINE_string("out", None, "File to which the figures are appended, as lines of JSON.")
SIDE, BORDER = 176, 16
BALANCES = np.geomspace(1e-6, 1, 25)
ITERATIONS = (3, 5, 10, 20, 30, 50, 80, 120, 200, 400, 800)


def _gaussian(size: int, *sigma: float, theta: float = 0.0) -> np.ndarray:
    return np.asarray(kernels.gaussian_kernel(size, sigma * (3 - len(sigma)), theta=theta))


def _motion(seed: int, length: float) -> np.ndarray:
    size = degradation.motion_size(length)
    return np.asarray(degradation.motion_kernel(jax.random.key(seed), size, length))


def _line(length: float, theta: float) -> np.ndarray:
    return np.asarray(degradation.line_kernel(degradation.motion_size(length), length, theta))


def _disc(radius: float, parts: int = 8) -> np.ndarray:
    size = 2 * math.ceil(radius) + 1
    line = (np.arange(size * parts) + 0.5) / parts - size / 2
    inside = np.hypot(line[:, None], line) <= radius
    kernel = inside.reshape(size, parts, size, parts).mean((1, 3))
    return kernel / kernel.sum()


# Name -> photograph, first row and column of the part, kernel, standard deviation of the noise of 255.
CASES = {
    "gauss1.2": ("clean/set24/kodim05", (150, 300), lambda: _gaussian(11, 1.2), 0),
    "gauss1.6": ("bsd100_x2/img_003_SRF_2_HR", (60, 100), lambda: _gaussian(13, 1.6), 1),
    "gauss2.4": ("clean/set24/kodim08", (150, 300), lambda: _gaussian(19, 2.4), 0),
    "aniso2.5-0.8": (
        "clean/set24/kodim03",
        (100, 400),
        lambda: _gaussian(21, 2.5, 0.8, theta=math.pi / 6),
        1,
    ),
    "aniso3-1.2": (
        "clean/cset9/kodim12",
        (250, 200),
        lambda: _gaussian(23, 3.0, 1.2, theta=-0.9),
        0,
    ),
    "motion8": ("bsd100_x2/img_045_SRF_2_HR", (60, 120), lambda: _motion(1, 8.0), 1),
    "motion15": ("clean/set24/kodim13", (200, 300), lambda: _motion(2, 15.0), 2),
    "line9": ("clean/set24/kodim20", (150, 200), lambda: _line(9.0, 0.5), 2),
    "disc2": ("bsd100_x2/img_066_SRF_2_HR", (60, 120), lambda: _disc(2), 1),
    "disc3.5": ("clean/cset9/image_Peppers512rgb", (150, 200), lambda: _disc(3.5), 2),
}


def made(data: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the blurred part and the true one, (H, W, 3) in [0, 1], and the kernel of a case."""
    path, (y, x), kernel, noise = CASES[name]
    photo, kernel = read_image(data / f"{path}.png").pixels.astype(np.float64), kernel()
    part = (slice(y, y + SIDE), slice(x, x + SIDE))
    planes = [scipy.ndimage.correlate(plane, kernel) for plane in np.moveaxis(photo, -1, 0)]
    blurred = np.stack(planes, -1)[part]
    if noise:
        drawn = np.random.default_rng(sum(map(ord, name))).normal(0, noise / 255, blurred.shape)
        blurred = np.clip(blurred + drawn, 0, 1)
    return np.round(blurred * 255) / 255, photo[part], kernel


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Returns the PSNR of luma in dB, inside and after rounding to 8 bits."""
    image = np.round(np.clip(image, 0, 1) * 255) / 255
    error = np.asarray(rgb_to_y(np.float32(image)) - rgb_to_y(np.float32(truth)))
    return float(10 * np.log10(255**2 / np.mean(error[BORDER:-BORDER, BORDER:-BORDER] ** 2)))


def tapered(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Mirrors an image by twice the kernel's side and blends its ends into its periodic blur."""
    side = kernel.shape[0]
    wide = np.pad(image, [(2 * side, 2 * side)] * 2 + [(0, 0)], mode="symmetric")
    rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(side) / side)
    lines = [np.r_[rise, np.ones(n - 2 * side), rise[::-1]] for n in wide.shape[:2]]
    planes = np.moveaxis(wide, -1, 0)
    around = [scipy.ndimage.correlate(plane, kernel, mode="wrap") for plane in planes]
    weight = np.outer(*lines)[..., None]
    return weight * wide + (1 - weight) * np.stack(around, -1)


def rivals(image: np.ndarray, truth: np.ndarray, kernel: np.ndarray) -> dict[str, float]:
    """Returns the best PSNR of each filter of scikit-image, which convolve with a kernel."""
    wide, flipped, side = tapered(image, kernel), kernel[::-1, ::-1], 2 * kernel.shape[0]

    def scored(filtered) -> float:
        planes = [filtered(plane) for plane in np.moveaxis(wide, -1, 0)]
        return psnr(np.stack(planes, -1)[side:-side, side:-side], truth)

    wiener = lambda b: lambda x: restoration.wiener(x, flipped, b, clip=False)
    lucy = lambda n: lambda x: restoration.richardson_lucy(np.maximum(x, 1e-6), flipped, num_iter=n)
    unsupervised = lambda x: restoration.unsupervised_wiener(x, flipped, clip=False, rng=0)[0]
    return {
        "wiener": max(scored(wiener(b)) for b in BALANCES),
        "unsupervised_wiener": scored(unsupervised),
        "richardson_lucy": max(scored(lucy(n)) for n in ITERATIONS),
    }


def main(words: list[str]) -> None:
    del words
    for name in _ONLY.value or CASES:
        image, truth, kernel = made(Path(_DATA.value), name)
        figures = {"case": name, "blurred": psnr(image, truth), **rivals(image, truth, kernel)}
        started = time.process_time()
        samples = np.round(255 * image).astype(np.uint8)
        result = di.super_resolve(samples, kernel=kernel, preset="deblur")["result"]
        figures |= {"deblur": psnr(result / 255, truth), "cpu": time.process_time() - started}
        line = json.dumps({k: v if k == "case" else round(v, 2) for k, v in figures.items()})
        print(line, flush=True)
        if _OUT.value:
            with open(_OUT.value, "a", encoding="utf-8") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    app.run(main)
