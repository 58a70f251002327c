"""Reads the side inputs of a job: kernels, images, and masks in all their forms."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepinternal.codecs import image_io, kernel_io, masks, video_io
from deepinternal.codecs.image_io import ImageFile
from deepinternal.codecs.transparency import extended
from deepinternal.files import show_path
from deepinternal.recipe import Recipe, SideKind
from deepinternal.runs.companions import mask_files
from deepinternal.runs.inputs import Job
from deepinternal.runs.sources import Source
from deepinternal.types import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Side:
    """A side input after reading, in the form of its kind, and remarks on its files."""

    value: np.ndarray
    remarks: tuple[str, ...] = ()


def read_side(kind: SideKind, path: Path, job: Job, *, field: str, config: Any = None) -> Side:
    """Reads a side input in the form of its kind.

    Args:
        kind: The kind, which determines the form.
        path: The file, as `companion` returns it.
        job: The job that it belongs to.
        field: The name of its field, which is also the tag that its file name may end with.
        config: The config of the method, which may choose a label of masks.

    Raises:
        InputError: The file cannot be read, or the meaning of a mask is unclear.
    """
    if kind == "kernel":
        return Side(kernel_io.read_kernel(path))
    if kind in ("image", "picture"):
        image = image_io.read_image(path)
        return Side(_coloured(image), image.remarks)
    choice = _label(config, field)
    if kind == "masks" and os.path.isdir(path):
        files = mask_files(path, field)
        frames = [frame.stem for frame in job.several]
        if frames and set(frames) <= set(files):
            files = {name: files[name] for name in frames}
        return Side(*masks.read_masks(list(files.values()), **choice))
    if kind == "masks" and path.suffix.lower() in video_io.VIDEO_SUFFIXES:
        frames, _ = video_io.read_video(path)
        lossy = path.suffix.lower() != ".gif"
        return Side(*masks.to_masks(frames, name=show_path(path), lossy=lossy, **choice))
    values, remarks = masks.read_masks([path], **choice)
    return Side(values if kind == "masks" else values[0], remarks)


def _label(config: Any, field: str) -> dict[str, Any]:
    """Returns the label that a config chooses for the masks of a field, and the name of its field.

    The field is `<field>_label` or `label`; without such a field, there is no choice.
    """
    name = next((n for n in (f"{field}_label", "label") if hasattr(config, n)), "label")
    return {"label": getattr(config, name, "any"), "field": name}


def side_shape(kind: SideKind, path: Path) -> tuple[int, ...]:
    """Returns the shape of `read_side` from a file's header; () for the masks of a video."""
    if kind == "kernel":
        return kernel_io.read_kernel(path).shape
    if kind == "masks":
        return ()
    shape = image_io.image_shape(path)
    return (*shape[:2], 3) if kind in ("image", "picture") else shape[:2]


def to_side(kind: SideKind, value: Any, *, name: str, config: Any = None) -> Side:
    """Converts a user's array to a side input in the form of its kind.

    Args:
        kind: See `read_side`.
        value: A kernel (K, K); an image, see `image_io.to_array`; a mask, see `masks.to_masks`;
            masks (T, H, W) or (H, W).
        name: The name of its field.
        config: See `read_side`.

    Raises:
        InputError: The array does not have this form, or the meaning of a mask is unclear.
    """
    if kind == "kernel":
        return Side(kernel_io.check_kernel(np.asarray(value), name))
    if kind in ("image", "picture"):
        return Side(_coloured(image_io.to_array(value, name=name)))
    several = value if kind == "masks" and np.ndim(value) != 2 else [value]
    values, remarks = masks.to_masks(several, name=name, **_label(config, name))
    return Side(values if kind == "masks" else values[0], remarks)


def _coloured(image: ImageFile) -> np.ndarray:
    """Returns the pixels as (H, W, 3)."""
    pixels = extended(image).pixels
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def joined(
    recipe: Recipe, config: Any, source: Source, found: Mapping[str, Side], names: Mapping[str, Any]
) -> tuple[Source, dict[str, np.ndarray]]:
    """Returns the input of a job with the remarks on all its files, and its side inputs by field.

    Args:
        recipe: The recipe of the method.
        config: Its config.
        source: The input.
        found: The side inputs as they were read, by field.
        names: The names of their files by field, for messages.

    Raises:
        InputError: A side input does not have the image's size, or nothing of the image is known.
    """
    sides = {field: side.value for field, side in found.items()}
    _check(sides, recipe.side_inputs, source, names)
    told = (remark for side in found.values() for remark in side.remarks)
    source = dataclasses.replace(source, remarks=(*source.remarks, *told))
    return _with_holes(source, sides, recipe.holes(config))


def _check(
    sides: Mapping[str, np.ndarray],
    kinds: Mapping[str, SideKind],
    source: Source,
    names: Mapping[str, Any],
) -> None:
    """Refuses side inputs that do not have the image's size.

    Args:
        sides: The side inputs as they were read, by field.
        kinds: The kinds of the fields.
        source: The image or video.
        names: The names of the files by field, for messages.

    Raises:
        InputError: One has another size, or there are masks for another number of frames.
    """
    for field, value in sides.items():
        kind, name = kinds[field], show_path(str(names.get(field) or field))
        if kind in ("kernel", "picture"):
            continue
        size = value.shape[1:3] if kind == "masks" else value.shape[:2]
        if size != source.size:
            (h, w), (y, x) = size, source.size
            raise InputError(
                f"{name}: the {field} is {h}x{w} but {source.name} is {y}x{x}; "
                "give one of the same size"
            )
        frames = source.shape[0] if source.is_video else 1
        if kind == "masks" and len(value) not in (1, frames):
            raise InputError(
                f"{name}: {len(value)} masks for {frames} frames; give one per frame, or one "
                "for the first frame"
            )


def _with_holes(
    source: Source, sides: dict[str, np.ndarray], field: str
) -> tuple[Source, dict[str, np.ndarray]]:
    """Determines which pixels a method fills in; without a mask, the transparent ones.

    Args:
        source: The input.
        sides: Its side inputs by field, of its size.
        field: The field of the mask that is white where the image is known; '': the method fills in
            nothing.

    Returns:
        The source and the side inputs.

    Raises:
        InputError: Every pixel has an alpha below 0.5, and there is no mask.
    """
    alpha = source.images[0].alpha
    if not field or alpha is None:
        return source, sides
    if field in sides:
        return dataclasses.replace(source, filled=sides[field] <= 0.5), sides
    known = alpha >= 0.5
    if known.all():
        return source, sides
    if not known.any():
        raise InputError(
            f"{source.name}: every pixel has an alpha below 0.5, so that nothing is known; give "
            f"config.{field}: white where the image is known, black where it is missing"
        )
    remark = (
        f"the {known.size - np.count_nonzero(known)} pixels with an alpha below 0.5 are filled in, and "
        "the result is opaque"
    )
    remarks = (*source.remarks, remark)
    source = dataclasses.replace(source, remarks=remarks, filled=np.ones_like(known))
    return source, {**sides, field: known.astype(np.float32)}
