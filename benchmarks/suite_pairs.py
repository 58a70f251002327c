"""The pairs of images that `benchmarks.suite` runs: published ones, or made from the ground truth."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.published import CUBIC
from benchmarks.sets import RANDOM, Picture
from deepinternal.cli import degradation
from deepinternal.codecs.image_io import read_image, write_image
from deepinternal.files import atomic_write_text
from deepinternal.ops.degradation import DIV2KRK_SCALES
from deepinternal.runs.inputs import Job
from deepinternal.types import InputError
from deepinternal.writers import to_json

_MADE = "{name}.json"  # is written last: says from what the files of an image were made


@dataclasses.dataclass
class Pairs:
    """The pairs of a set.

    Attributes:
        files: The small image and its ground truth by name.
        failed: What is wrong with the images that cannot be used, by name.
        published: Number of small images that are published ones.
    """

    files: dict[str, tuple[Path, Path]] = dataclasses.field(default_factory=dict)
    failed: dict[str, str] = dataclasses.field(default_factory=dict)
    published: int = 0


def possible(images: str, pictures: Sequence[Picture], factor: int, degradation: str) -> bool:
    """Whether pairs can be made: the recipe of DIV2KRK has random kernels for some factors only.

    Args:
        images: The set.
        pictures: Its images.
        factor: The factor.
        degradation: One of 'cubic', 'random', 'unknown'.
    """
    if degradation == CUBIC:
        return images != RANDOM
    return factor in DIV2KRK_SCALES or any(factor in p.kernels for p in pictures)


def make(
    images: str, pictures: Sequence[Picture], factor: int, degradation: str, folder: Path
) -> Pairs:
    """Finds or makes the pairs of a set.

    Where small images were published for this factor and degradation, these are taken. Others are
    made from the ground truth, of which as many rows and columns are cut off at the lower and right
    border that the rest is divisible: with the cubic kernel, or with a kernel by DIV2KRK's recipe that
    depends only on the image's name. What was made before is not made again.

    Args:
        images: The set.
        pictures: Its images.
        factor: The factor.
        degradation: As in `possible`.
        folder: Gets what is made, and kernels as X_kernel.mat.
    """
    pairs = Pairs()
    for picture in pictures:
        try:
            pair = None
            if (degradation == CUBIC) == (images != RANDOM):
                pair = _published(picture, factor, degradation, folder)
                pairs.published += pair is not None
            pairs.files[picture.name] = pair or _made(picture, factor, degradation, folder)
        except (InputError, OSError) as error:
            pairs.failed[picture.name] = str(error)
    return pairs


def _published(
    picture: Picture, factor: int, degradation: str, folder: Path
) -> tuple[Path, Path] | None:
    """Returns a published pair, with a ground truth that is cut off if it is too large."""
    low, high = picture.low.get(factor), picture.truth(factor)
    kernel = picture.kernels.get(factor)
    if low is None or (degradation != CUBIC and kernel is None):
        return None
    if kernel is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{picture.name}_kernel{kernel.suffix}").write_bytes(kernel.read_bytes())
    width, height = (factor * side for side in _size(low))
    wide, tall = _size(high)
    if (wide, tall) == (width, height):
        return low, high
    if not (0 <= wide - width < factor and 0 <= tall - height < factor):
        raise InputError(
            f"{low}: {factor} times its size is {height}x{width}, but {high} has {tall}x{wide} pixels"
        )
    cut = folder / f"{picture.name}_gt.png"
    facts = _facts(high, factor=factor, size=(height, width))
    if not _is_made(folder, picture.name, facts):
        image = read_image(high)
        folder.mkdir(parents=True, exist_ok=True)
        write_image(cut, image.pixels[:height, :width], bit_depth=image.bit_depth)
        _say(folder, picture.name, facts)
    return low, cut


def _made(picture: Picture, factor: int, degraded: str, folder: Path) -> tuple[Path, Path]:
    high, name = picture.truth(factor), picture.name
    kernel = "bicubic" if degraded == CUBIC else "div2krk"
    facts = _facts(high, factor=factor, kernel=kernel)
    if not _is_made(folder, name, facts):
        asked = degradation.Degradation(scale=factor, kernel=kernel).resolved()
        folder.mkdir(parents=True, exist_ok=True)
        degradation.write(folder, Job(name, high), asked)
        _say(folder, name, facts)
    return folder / f"{name}.png", folder / f"{name}_gt.png"


def _size(path: Path) -> tuple[int, int]:
    """Returns the width and the height of an image file."""
    try:
        with Image.open(path) as image:
            return image.size
    except OSError as error:
        raise InputError(f"{path}: is not an image: {error}") from None


def _facts(path: Path, **more: Any) -> Mapping[str, Any]:
    state = path.stat()
    facts = {
        "file": str(path.resolve()),
        "bytes": state.st_size,
        "changed": state.st_mtime_ns,
        **more,
    }
    return json.loads(json.dumps(facts))


def _is_made(folder: Path, name: str, facts: Mapping[str, Any]) -> bool:
    try:
        return json.loads((folder / _MADE.format(name=name)).read_text(encoding="utf-8")) == facts
    except (OSError, ValueError):
        return False


def _say(folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    atomic_write_text(folder / _MADE.format(name=name), to_json(facts) + "\n")
