"""Compares how ZSSR treats noise and compression, with the true kernel; run by hand, for 15 minutes.

    python -m tests.noise_campaign --data=DIR [--only=002,...] [--kinds=noise,jpeg] [--denoise=off,on]

DIR has the folders `set5_x2` and `bsd100_x2`. The middle 256x256 pixels of a photograph are downscaled
by 2 with the kernel of `CASES`; then noise of 10 of 255 is added, or the image is saved as a JPEG of
quality 40. The preset `blind` gets the kernel; `--denoise` are values of its field. Scores are taken on
luma, without two pixels at each side. The settings were chosen on the cases whose names begin with c.
"""

import io
import json
import math
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from PIL import Image

import deepinternal as di
from deepinternal.codecs.image_io import read_image
from deepinternal.ops import degradation, kernels
from deepinternal.ops.color import rgb_to_y
from deepinternal.ops.metrics import psnr
from deepinternal.ops.resizing import resize

_DATA = flags.DEFINE_string("data", None, "Folder with the photographs.", required=True)
_ONLY = flags.DEFINE_list("only", [], "Names of cases; none: all.")
_KINDS = flags.DEFINE_list("kinds", ["noise", "jpeg"], "What spoils the images.")
_DENOISE = flags.DEFINE_list("denoise", ["off", "on"], "Values of the field `denoise`.")
STD, QUALITY = 10 / 255, 40


def _slanted(degrees: float) -> np.ndarray:
    kernel = kernels.gaussian_kernel(13, (2.0, 0.8), theta=math.radians(degrees))
    return kernels.centre_kernel(np.asarray(kernel), 2)


def _motion(seed: int) -> np.ndarray:
    size = degradation.motion_size(4.0, scale=2)
    return degradation.motion_kernel(jax.random.key(seed), size, 4.0, scale=2)


def _random(seed: int) -> np.ndarray:
    return degradation.div2krk_kernel(jax.random.key(seed), scale=2)


CASES = {
    "002": ("set5_x2/img_002", lambda: _slanted(30)),
    "066": ("bsd100_x2/img_066", lambda: _random(1)),
    "003": ("set5_x2/img_003", lambda: _random(2)),
    "045": ("bsd100_x2/img_045", lambda: _motion(1)),
    "c001": ("set5_x2/img_001", lambda: _random(3)),
    "c012": ("bsd100_x2/img_012", lambda: _slanted(-50)),
    "c079": ("bsd100_x2/img_079", lambda: _motion(3)),
}


def spoilt(name: str, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the small image, uint8, the photograph in [0, 1], and the kernel."""
    path, kernel = CASES[name]
    photo = read_image(Path(_DATA.value) / f"{path}_SRF_2_HR.png").pixels
    y, x = ((n - 256) // 2 for n in photo.shape[:2])
    photo, kernel = photo[y : y + 256, x : x + 256], np.asarray(kernel())
    small = np.clip(np.asarray(kernels.downscale(jnp.asarray(photo), jnp.asarray(kernel), 2)), 0, 1)
    if kind == "noise":
        drawn = np.random.default_rng(sum(map(ord, name))).normal(0, STD, small.shape)
        small = np.clip(small + drawn, 0, 1)
    small = np.round(255 * small).astype(np.uint8)
    if kind == "jpeg":
        file = io.BytesIO()
        Image.fromarray(small).save(file, "JPEG", quality=QUALITY)
        small = np.asarray(Image.open(file))
    return small, photo, kernel


def score(image: np.ndarray, truth: np.ndarray) -> float:
    """Returns the PSNR of luma in dB, inside and after rounding to 8 bits."""
    image = np.round(255 * np.clip(np.asarray(image), 0, 1)) / np.float32(255)
    luma = [rgb_to_y(jnp.asarray(x))[2:-2, 2:-2] / 255 for x in (image, truth)]
    return round(float(psnr(*luma)), 2)


def main(words: list[str]) -> None:
    del words
    for name in _ONLY.value or CASES:
        for kind in _KINDS.value:
            small, truth, kernel = spoilt(name, kind)
            figures = {"case": name, "kind": kind}
            figures["cubic"] = score(resize(small / np.float32(255), scale=2), truth)
            started = time.process_time()
            for way in _DENOISE.value:
                made = di.super_resolve(small, 2, kernel=kernel, preset="blind", denoise=way)
                figures[f"denoise={way}"] = score(made["result"] / np.float32(255), truth)
            print(
                json.dumps(figures | {"cpu": round(time.process_time() - started, 1)}), flush=True
            )


if __name__ == "__main__":
    app.run(main)
