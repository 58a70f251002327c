"""Makes images of lower quality whose truth is known: a benchmark for super-resolution.

    python -m launch.degrade --input=photos/ --out=bench --kernel=div2krk
    python -m launch.main --config=configs/zssr.py:kernel --config.input=bench --config.kernel=bench ...

--out is a new folder: for each image the degraded STEM.png (with --jpeg STEM.jpg), the original
STEM_gt.png and the blur kernel STEM_kernel.mat; degradation.json says what was done. More:
launch/README.md.
"""

import json
import sys

from absl import flags

from deepinternal import files
from deepinternal.runs.inputs import Job, list_jobs
from deepinternal.types import InputError
from launch import cli, degradation

INPUT = flags.DEFINE_string(
    "input", "", "Image, folder or glob, or several with commas; empty: skimage's astronaut."
)
OUT = flags.DEFINE_string("out", None, "Folder to make.", required=True)
SCALE = flags.DEFINE_integer("scale", 2, "Downscaling factor.", lower_bound=1, upper_bound=16)
KERNEL = flags.DEFINE_string(
    "kernel", "bicubic", f"{', '.join(degradation.KINDS)}, or a file (.mat, .npy, .png, .tif)."
)
SIGMA = flags.DEFINE_list(
    "sigma", None, "Of a gaussian, in pixels: one, or one per principal axis."
)
THETA = flags.DEFINE_float("theta", None, "Direction in degrees, from the columns to the rows.")
LENGTH = flags.DEFINE_float("length", None, "Of a motion, in pixels.")
SIZE = flags.DEFINE_integer(
    "kernel_size", None, "Side in pixels; by default what the kernel needs.", 1
)
NOISE = flags.DEFINE_float("noise", 0.0, "Standard deviation, where white is 255.", 0.0, 255.0)
JPEG = flags.DEFINE_integer("jpeg", 0, "Quality, 1 to 100; 0: PNG.", 0, 100)
CROP = flags.DEFINE_list("crop", None, "H,W: the middle of each image, taken first.")
SEED = flags.DEFINE_integer("seed", 0, "Of noise and random kernels.", 0, 2**31 - 1)


def main() -> int:
    """Degrades what the flags name; returns the exit status."""
    options = {"sigma": SIGMA, "theta": THETA, "length": LENGTH, "kernel_size": SIZE}
    recipe = degradation.Recipe(
        scale=SCALE.value,
        kernel=KERNEL.value,
        options={name: flag.value for name, flag in options.items() if flag.value is not None},
        noise=NOISE.value,
        jpeg=JPEG.value,
        crop=CROP.value,
        seed=SEED.value,
    )
    jobs = _jobs()
    with files.new_folder(OUT.value) as folder:
        done = [degradation.write(folder, job, recipe) for job in jobs]
        text = json.dumps({"images": done}, indent=2)
        files.atomic_write_text(folder / "degradation.json", text + "\n")
    print(f"{files.show_path(OUT.value)}: {len(done)} images", file=sys.stderr)
    return 0


def _jobs() -> list[Job]:
    """The images to degrade."""
    endings = tuple(f"_{tag}" for tag in degradation.TAGS)
    try:
        jobs = list_jobs(INPUT.value, tags=degradation.TAGS)
    except InputError as error:
        raise InputError(str(error).replace("config.input", "--input", 1)) from None
    for job in jobs:
        if job.stem.endswith(endings):
            path = files.show_path(job.path)
            raise InputError(f"--input: {path}: names in _gt or _kernel are no inputs; rename it")
    return jobs


if __name__ == "__main__":
    cli.run(main, keep_programs=True)
