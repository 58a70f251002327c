"""Compares ZSSR's preset `video` with `fast` frame by frame on clips downscaled by 2; run by hand.

    python -m tests.video_campaign --data=DIR [--clips=blackswan,car-shadow] [--frames=8]
        [--part=40,100,160,224] [--presets=video,fast]

DIR has a folder of frames for each clip. A part of them (first row, first column, height, width) is
downscaled with the cubic kernel and rounded to 8 bits. Scores are taken on luma (16 to 235) without two
pixels at each side: the mean PSNR of the frames, and the flicker, the mean absolute difference between
the errors of one frame and of the next.
"""

import json
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from absl import app, flags

import deepinternal as di
from deepinternal.codecs.image_io import read_image
from deepinternal.ops.color import rgb_to_y
from deepinternal.ops.resizing import resize

_DATA = flags.DEFINE_string("data", None, "Folder with the clips.", required=True)
_CLIPS = flags.DEFINE_list("clips", ["blackswan", "car-shadow"], "Names of the clips.")
_FRAMES = flags.DEFINE_integer("frames", 8, "Number of frames.", lower_bound=2)
_PART = flags.DEFINE_list("part", ["40", "100", "160", "224"], "Row, column, height, width.")
_PRESETS = flags.DEFINE_list("presets", ["cubic", "fast", "video"], "What is compared.")


def clip(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the small frames, uint8, and the true ones in [0, 1]."""
    y, x, h, w = map(int, _PART.value)
    paths = sorted((Path(_DATA.value) / name).glob("*.png"))[: _FRAMES.value]
    if not paths:
        raise app.UsageError(f"--data={_DATA.value}: there are no PNG files in its folder {name}")
    truth = np.stack([read_image(p).pixels[y : y + h, x : x + w] for p in paths])
    small = np.stack([np.asarray(resize(jnp.asarray(frame), scale=0.5)) for frame in truth])
    return np.round(255 * np.clip(small, 0, 1)).astype(np.uint8), truth


def made(preset: str, frames: np.ndarray) -> np.ndarray:
    """Returns the frames, enlarged, uint8."""
    if preset == "video":
        return di.super_resolve(frames, preset="video")["result"]
    if preset == "cubic":
        large = [np.asarray(resize(frame / np.float32(255), scale=2)) for frame in frames]
        return np.round(255 * np.clip(np.stack(large), 0, 1)).astype(np.uint8)
    return np.stack([di.super_resolve(frame, preset=preset)["result"] for frame in frames])


def scores(result: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Returns the mean PSNR in dB, and the flicker in levels."""
    luma = lambda x: np.asarray(rgb_to_y(jnp.asarray(x, jnp.float32)), np.float64)
    error = (luma(result / 255) - luma(truth))[:, 2:-2, 2:-2]
    psnr = np.mean(10 * np.log10(255**2 / np.mean(error**2, axis=(1, 2))))
    return {"psnr": round(psnr, 3), "flicker": round(np.mean(np.abs(np.diff(error, axis=0))), 4)}


def main(words: list[str]) -> None:
    del words
    for name in _CLIPS.value:
        frames, truth = clip(name)
        for preset in _PRESETS.value:
            started = time.process_time()
            figures = {"clip": name, "preset": preset, **scores(made(preset, frames), truth)}
            print(
                json.dumps(figures | {"cpu": round(time.process_time() - started, 1)}), flush=True
            )


if __name__ == "__main__":
    app.run(main)
