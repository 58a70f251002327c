"""Makes images of other sizes and shapes, and videos, from an image or with a trained InGAN.

    deepinternal retarget --input=photo.png --scale=1,2 --out=wide.png
    deepinternal retarget --workdir=DIR --size=224,544 --out=wide.png
    deepinternal retarget --workdir=DIR --scale=1,2 --scale=2,1 --out=made.png
    deepinternal retarget --workdir=DIR --collage --out=collage.png
    deepinternal retarget --workdir=DIR --video=zoom --out=zoom.mp4

Without --workdir, results are made of the patches of the image, without training. Several sizes are
written to OUT-HxW. --nonrect makes a grid of non-rectangular images, with a trained InGAN.
"""

from pathlib import Path

from absl import flags

from deepinternal import patch_retargeter, resizer, retargeter, video_paths
from deepinternal.cli import program
from deepinternal.codecs import image_io, video_io
from deepinternal.codecs.transparency import extended
from deepinternal.files import expanded, show_path
from deepinternal.messages import tell
from deepinternal.types import InputError

INPUT = flags.DEFINE_string(
    "input", "", "An image; with --workdir, an image other than that of the run."
)
PRESET = flags.DEFINE_string(
    "preset", "fast", "Presets of the method 'patches', without --workdir."
)
WORKDIR = flags.DEFINE_string("workdir", "", "Folder of a run of the method 'ingan'.")
STEM = flags.DEFINE_string("stem", "", "Name of one of its images, if it holds several.")
STEP = flags.DEFINE_integer(
    "step", None, "Checkpoint kept by config.snapshot_every; default: the newest.", lower_bound=1
)
SIZE = flags.DEFINE_multi_string("size", [], "H,W in pixels; may be given several times.")
SCALE = flags.DEFINE_multi_string("scale", [], "V,H factors; may be given several times.")
COLLAGE = flags.DEFINE_bool("collage", False, "Make a grid of 5 by 5 sizes.")
VIDEO = flags.DEFINE_string(
    "video", "", f"Make a video along a path: {', '.join(video_paths.NAMES)}."
)
FRAMES = flags.DEFINE_integer("frames", 60, "Number of frames of the video.", lower_bound=2)
RATE = flags.DEFINE_float("frame_rate", 25.0, "Frames per second of the video.", lower_bound=1)
NONRECT = flags.DEFINE_bool("nonrect", False, "Make a grid of non-rectangular images.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the path 'random', and of patches.")
OUT = flags.DEFINE_string("out", None, "File to write: .png, or .mp4 for a video.", required=True)


def main() -> int:
    """Makes the outputs given by the flags; returns the exit status."""
    out = _checked(Path(expanded(OUT.value)))
    made = _resizer()
    if VIDEO.value:
        frames = made.video(VIDEO.value, frames=FRAMES.value, seed=SEED.value)
        video_io.write_frames(out.parent, out.stem, frames, RATE.value)
    elif COLLAGE.value or NONRECT.value:
        grid = made.collage() if COLLAGE.value else made.shapes()
        image_io.write_image(out, grid, about=made.image.metadata.colours)
    else:
        sizes = [*map(resizer.parse_size, SIZE.value), *map(made.size, SCALE.value)]
        for path in made.write(out, sizes):
            tell(show_path(path))
    return 0


def _resizer() -> resizer.Resizer:
    """Returns what makes the images: a trained net, or the patches of an image."""
    image = extended(image_io.read_image(expanded(INPUT.value))) if INPUT.value else None
    if not WORKDIR.value.strip():
        assert image is not None  # see `_checked`
        return patch_retargeter.of_image(image, preset=PRESET.value, seed=SEED.value)
    trained = retargeter.load(WORKDIR.value, STEM.value, step=STEP.value)
    return trained.applied_to(image) if image else trained


def _checked(out: Path) -> Path:
    """Returns the path of the output. Raises InputError unless the flags agree with it."""
    if not (WORKDIR.value.strip() or INPUT.value.strip()):
        raise InputError("give --input=FILE with an image, or --workdir=DIR with a trained InGAN")
    if not WORKDIR.value.strip():
        for flag in (STEM, STEP, NONRECT):
            if flag.value:
                raise InputError(f"--{flag.name}: needs --workdir=DIR with a trained InGAN")
    asked = [bool(SIZE.value or SCALE.value), COLLAGE.value, bool(VIDEO.value), NONRECT.value]
    if sum(asked) != 1:
        raise InputError("give --size or --scale, or one of --collage, --video, --nonrect")
    suffix = ".mp4" if VIDEO.value else ".png"
    if out.suffix != suffix:
        raise InputError(f"--out={out}: give a name that ends in {suffix}")
    if not out.parent.is_dir():
        raise InputError(f"--out={out}: the folder {out.parent} does not exist")
    return out


def run_program() -> None:
    """Parses the flags and runs the program."""
    program.run(main, keep_programs=True)
