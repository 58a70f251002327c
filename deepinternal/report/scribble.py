"""Writes pages on which a person paints hints, masks and boxes over an image.

Markup, style and scripts are in templates/scribble*; this module computes the values for them.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from deepinternal.codecs import profiles
from deepinternal.codecs.image_io import ImageFile, from_float
from deepinternal.codecs.png import encode
from deepinternal.codecs.transparency import on_white
from deepinternal.files import atomic_write_text, file_name, printable
from deepinternal.report.pages import templates
from deepinternal.report.pictures import address, reduce

# What is painted for each task, by the field of the method that takes it.
TASKS: Mapping[str, tuple[str, ...]] = {
    "segment": ("foreground", "background"),
    "unwatermark": ("mask",),
    "inpaint": ("mask",),
    "edit": ("mask", "layout"),
}
MARK = '<meta name="generator" content="deepinternal scribble">'  # at the head of each page
_SHOWN = 16_000_000  # pixels of the picture in a page; more exceed the canvas of some browsers
_LOSSLESS = 1_000_000  # pixels up to which the picture is a PNG
_QUALITY = 92  # of larger pictures, as JPEG


def painted_name(stem: str, field: str) -> str:
    """Returns the name of a painted file, under which the methods find it in a folder."""
    return file_name(stem, f"_{field}.png")


def write_page(
    path: Path,
    image: ImageFile,
    *,
    source: str,
    folder: str,
    task: str = "segment",
    painted: Mapping[str, np.ndarray] | None = None,
    result: np.ndarray | None = None,
    workdir: str = "",
) -> None:
    """Writes a page that works offline, on which a person paints over an image and saves PNG files.

    Args:
        path: The page to write. The painted files are named after its stem.
        image: The image.
        source: Its path, for the commands on the page.
        folder: The folder of the painted files, for the commands.
        task: The task that is shown first, one of `TASKS`.
        painted: (H, W) booleans to continue with: `foreground` and `background`, which do not overlap,
            and for the other tasks, by their names, the pixels that are painted.
        result: (H, W) in [0, 1], the mask of a finished segmentation, which is shown over the image;
            None if there is none.
        workdir: The work folder of that segmentation, for the command; '' if it is not known.

    Raises:
        OSError: The page cannot be written.
    """
    height, width = image.pixels.shape[:2]
    painted = dict(painted or {})
    if "inpaint" not in painted and image.alpha is not None and (image.alpha < 0.5).any():
        painted["inpaint"] = image.alpha < 0.5  # what is missing if there is no mask
    picture, size, step = _picture(image)
    stem = printable(path.stem)
    data = {
        "width": width,
        "height": height,
        "step": step,
        "source": printable(source),
        "folder": printable(folder),
        "stem": stem,
        "workdir": printable(workdir),
        "task": task,
        "names": {f: painted_name(stem, f) for fields in TASKS.values() for f in fields},
        "painted": {name: runs(mask) for name, mask in painted.items()},
        "result": None if result is None else runs(result > 0.5),
        # A layout is compared with the image, so that its samples must mean the same colours.
        "layout": step == 1 and image.metadata.profile is None,
    }
    page = templates().get_template("scribble.html")
    name = printable(Path(source).name)
    text = page.render(name=name, mark=MARK, data=data, picture=picture, size=size)
    atomic_write_text(path, text)


def _picture(image: ImageFile) -> tuple[str, tuple[int, int], int]:
    """Returns the address of an image in sRGB, its size (W, H), and the factor of its reduction."""
    pixels, profile = on_white(image), image.metadata.profile
    if profile is not None and image.metadata.fits(pixels.shape[2]):
        pixels = profiles.to_srgb(pixels, profile)
    samples = from_float(pixels, np.empty((1, 1, 1), np.uint8))
    height, width = samples.shape[:2]
    step = 1
    while -(-height // step) * -(-width // step) > _SHOWN:
        step += 1
    if step > 1:
        samples = reduce(samples, -(-max(height, width) // step))
    size = samples.shape[1::-1]
    if samples.shape[0] * samples.shape[1] <= _LOSSLESS:
        return address(encode(samples)), size, step
    from PIL import Image

    file = io.BytesIO()
    made = Image.fromarray(samples if samples.shape[2] == 3 else samples[..., 0])
    made.save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return address(file.getvalue(), "jpeg"), size, step


def runs(mask: np.ndarray) -> list[int]:
    """Returns the lengths of the runs of False and True in turn, row by row, False first.

    Example:
        >>> runs(np.array([[True, True, False], [False, False, True]]))
        [0, 2, 3, 1]
    """
    flat = np.asarray(mask, bool).ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    lengths = np.diff(ends, prepend=0).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths
