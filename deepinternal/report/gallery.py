"""The pictures of a page: those of an image's files, kernels and training progress."""

import contextlib
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepinternal.codecs.decoding import decode
from deepinternal.codecs.image_io import ImageFile
from deepinternal.codecs.kernel_io import read_kernel
from deepinternal.codecs.metadata import colours_of
from deepinternal.codecs.video_io import natural
from deepinternal.report import films, kernel_picture
from deepinternal.report.pictures import (
    READABLE,
    link,
    of_file,
    of_samples,
    thumbnail,
    thumbnail_of_file,
)
from deepinternal.types import InputError
from deepinternal.writers import is_number

PROGRESS = "progress"  # folder of the training pictures, inside that of the image
BASELINE, RESULT, FRAME = "baseline.png", "result.png", "00000.png"
_HEAD = 100_000  # characters of a report that contain the small pictures
_HELD = re.compile('<meta name="(before|result)" content="([^"]*)">')
_MOMENTS = 8  # maximum number of training pictures shown


def pictures(
    folder: Path,
    outputs: Sequence[str],
    inputs: Sequence[ImageFile] | None,
    metrics: Mapping[str, Any],
    samples: Mapping[str, np.ndarray],
) -> list[dict[str, Any]]:
    """Returns a report's pictures: before, result, other outputs, frames without a film, inputs."""
    names = {"before": BASELINE, "result": RESULT}
    if not (folder / RESULT).is_file():  # for a video, the first frames are compared
        names["result"] = f"result/{FRAME}"
    roles = {name: title for title, name in names.items()}
    names |= {n.removesuffix(".png"): n for n in outputs if n.endswith(".png")}
    found = []
    for title, name in names.items():
        if (folder / name).is_file():
            peak = metrics.get(f"{title}_max")
            note = f"white stands for {peak:.4g}" if is_number(peak) else ""
            if names["result"] != RESULT and name in roles:
                note = "first frame"
            picture = of_file(folder, name, samples.get(name))
            found.append(picture | {"title": title, "role": roles.get(name, "other"), "note": note})
    folders = [n for n in outputs if n.endswith("/") and f"{n[:-1]}.mp4" not in outputs]
    found += filter(None, (_strip(folder, name) for name in folders))
    for number, source in enumerate(_inputs(folder, inputs, metrics), 1):
        if source["src"] not in [p["src"] for p in found]:
            title = "input" if number == 1 else f"input {number}"
            found.append(source | {"title": title, "role": "other", "note": ""})
    return found


def _strip(folder: Path, name: str) -> dict[str, Any] | None:
    """Returns a picture with some of the frames in a folder."""
    made = films.strip(folder / name)
    if made is None:
        return None
    note = {"title": name.rstrip("/"), "role": "other", "note": f"some of {made[1]} frames"}
    return of_samples(made[0], **link(name)) | note


def _examples(folder: Path) -> list[str]:
    """Returns the files of an example that was written beside the results."""
    own = [p.name for p in sorted(folder.glob("input-[0-9]*.png"), key=natural)]
    return [name for name in ("input.png", *own) if (folder / name).is_file()]


def _inputs(
    folder: Path, inputs: Sequence[ImageFile] | None, metrics: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Returns the pictures of the user's inputs, or of an example written beside the results."""
    if own := _examples(folder):
        return [of_file(folder, name) for name in own]
    if inputs is not None:
        return [of_samples(_with_alpha(x), x.path, about=x.metadata) for x in inputs]
    name = str(metrics.get("input", ""))
    try:  # a file may be of any kind and anywhere
        found = decode(name, READABLE)
        return [of_samples(found.samples, name, about=found.metadata)]
    except InputError:
        return []


def _with_alpha(image: ImageFile) -> np.ndarray:
    """Returns the pixels of an image, with its alpha as the last channel."""
    return image.pixels if image.alpha is None else np.dstack([image.pixels, image.alpha])


def small_pictures(
    folder: Path, inputs: Sequence[ImageFile] | None, samples: Mapping[str, np.ndarray]
) -> Callable[[str], str]:
    """Returns a function to small pictures of outputs by name, and of 'input', 'input1', ...

    Args:
        folder: The folder of the page.
        inputs: The user's images.
        samples: The samples of outputs by file; other files are decoded.

    Returns:
        `name -> address`; the address is '' if there is no such picture.
    """
    numbers = {"input": 0} | {f"input{n}": n - 1 for n in range(1, len(inputs or ()) + 1)}

    @functools.cache
    def small(name: str) -> str:
        if f"{name}.png" in samples:
            return thumbnail(samples[f"{name}.png"], colours_of(folder / f"{name}.png"))
        if inputs and name in numbers:
            image = inputs[numbers[name]]
            return thumbnail(_with_alpha(image), image.metadata)
        files = (f"{name}.png", f"{name}/{FRAME}")
        return next(filter(None, (thumbnail_of_file(folder / file) for file in files)), "")

    return small


def before_and_result(
    folder: Path, metrics: Mapping[str, Any], small: Callable[[str], str]
) -> dict[str, str]:
    """Returns the two small pictures of an index; '' if one is missing.

    Args:
        folder: The folder of the image.
        metrics: The contents of metrics.json.
        small: The result of `small_pictures`.
    """
    before = small("baseline") or small("input")
    given = folder / str(metrics.get("input", ""))  # the input's own path if it is absolute
    return {"before": before or thumbnail_of_file(given), "result": small("result")}


def of_page(page: Path) -> dict[str, str]:
    """Returns the two small pictures in the head of a report; {} if there are none."""
    try:
        with page.open(encoding="utf-8", errors="replace") as file:
            found = dict(_HELD.findall(file.read(_HEAD)))
    except OSError:
        return {}
    return {name: found[name] for name in ("before", "result")} if len(found) == 2 else {}


def kernels(folder: Path, outputs: Sequence[str]) -> list[dict[str, Any]]:
    """Returns drawings of the output kernels, each beside its reference, with their files."""
    found: dict[str, np.ndarray] = {}
    for name in (n.removesuffix(".svg") for n in outputs if n.endswith(".svg")):
        with contextlib.suppress(InputError):  # the file may have been changed since
            found[name] = read_kernel(folder / f"{name}.npy")
    references = {f"reference_{name}" for name in found} & set(found)
    drawings = []
    for name in (n for n in found if n not in references):
        pair = [n for n in (name, f"reference_{name}") if n in found]
        files = [f"{n}{suffix}" for n in pair for suffix in kernel_picture.SUFFIXES]
        files = [n for n in files if n in outputs]
        drawn = kernel_picture.drawing({n: found[n] for n in pair})
        drawings.append({"drawn": drawn, "files": files, "links": [link(n) for n in files]})
    return drawings


def moments(folder: Path) -> list[dict[str, Any]]:
    """Returns small versions of some of the pictures made during training."""
    paths = sorted((folder / PROGRESS).glob("result-[0-9]*.png"), key=natural)
    chosen = np.linspace(0, len(paths) - 1, min(len(paths), _MOMENTS)).round().astype(int)
    return [
        {
            "src": thumbnail_of_file(paths[i]),
            "href": f"{PROGRESS}/{paths[i].name}",
            "step": int(paths[i].stem.split("-")[1]),
        }
        for i in chosen
    ]
