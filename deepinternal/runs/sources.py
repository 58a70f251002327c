"""Reads the input of a job: one image, several images, or a video, and its side inputs.

The recipe of a method says which of these it takes; see `recipe.Grouping`.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepinternal.codecs import image_io, kernel_io, video_io
from deepinternal.codecs.image_io import ImageFile
from deepinternal.files import show_path
from deepinternal.recipe import Grouping, SideKind
from deepinternal.runs.inputs import Job, mask_files
from deepinternal.types import InputError

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """The input of a job after reading.

    Attributes:
        given: The input of the method's `prepare`.
        images: The images, or the first frame, which results are compared with and formatted like.
        shape: The shape of the (first) image or of the video.
        name: The names of the files, or the sample that an example was made from.
        is_video: Whether it has frames.
        frame_rate: The frame rate of a video; 0 if it is not known.
        remarks: What the user should know about the files, one sentence each.
    """

    given: Any
    images: tuple[ImageFile, ...]
    shape: tuple[int, ...]
    name: str
    is_video: bool = False
    frame_rate: float = 0.0
    remarks: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """The (H, W) of each image or frame."""
        return self.images[0].pixels.shape[:2]


def read_source(job: Job, grouping: Grouping) -> Source:
    """Reads the files of a job.

    Raises:
        InputError: A file cannot be read, sizes differ, or there are too few or too many files.
    """
    if grouping.kind != "video":
        _check_count(grouping, job.files, "config.input")
        return of_images([image_io.read_image(path) for path in job.files], grouping)
    name, rate = show_path(job.path), 0.0
    if job.several:
        _check_count(grouping, job.several, name)
        frames = video_io.read_frames(job.several)
    else:
        frames, rate = video_io.read_video(job.path)
        _check_count(grouping, frames, name)
    return _of_frames(frames, name, rate)


def from_example(image: Any, grouping: Grouping, *, name: str) -> Source:
    """Returns an example, made from the bundled photograph, as a source with 8 bits.

    Args:
        image: The image in the form that `prepare` takes.
        grouping: The grouping of the method.
        name: The sample it was made from.
    """
    if grouping.kind == "video":
        return _of_frames(np.asarray(image), name)
    images = image if grouping.kind == "together" else [image]
    images = [np.asarray(x, np.float32) for x in images]
    files = [ImageFile(x, None, 8, x.shape[2] == 1, name) for x in images]
    return dataclasses.replace(of_images(files, grouping), name=name)


def from_memory(image: Any, grouping: Grouping) -> Source:
    """Returns the input of a job from the user's arrays; see `image_io.to_array`.

    Args:
        image: An image; a sequence of images if the method takes several together; frames (T, H, W)
            or (T, H, W, C), which are rounded to uint8, if it takes a video.
        grouping: The grouping of the method.

    Raises:
        InputError: The argument has another form.
    """
    if grouping.kind == "single":
        return of_images([image_io.to_array(image)], grouping)
    shape = image.shape if isinstance(image, np.ndarray) else ()
    is_one = len(shape) in (1, 2) or (len(shape) == 3 and shape[2] <= 4)
    if grouping.kind == "together":
        if is_one:  # otherwise its rows would count as images
            raise InputError(f"images: one array of shape {shape}; give a list of images")
        _check_count(grouping, image, "images")
        images = [image_io.to_array(x, name=f"images[{i}]") for i, x in enumerate(image)]
        return of_images(images, grouping)
    if is_one:
        raise InputError(f"video: one image of shape {shape}; give (T, H, W) or (T, H, W, C)")
    sizes = {np.shape(frame) for frame in image}
    if len(sizes) > 1 or len(next(iter(sizes), ())) not in (2, 3):
        shapes = " and ".join(map(str, sorted(sizes))) or "none"
        raise InputError(f"video: frames of shape {shapes}; give (T, H, W) or (T, H, W, C)")
    _check_count(grouping, image, "video")
    frames = [image_io.to_array(frame, name=f"frame {i}").pixels for i, frame in enumerate(image)]
    return _of_frames(np.round(np.stack(frames) * 255).astype(np.uint8), "video")


def of_images(images: Sequence[ImageFile], grouping: Grouping) -> Source:
    """Returns a source of one or several images; mixed grey and colour images become colour."""
    first, remarks = images[0], _remarks(images)
    if grouping.kind == "single":
        return Source(first.pixels, (first,), first.pixels.shape, first.path, remarks=remarks)
    for image in () if grouping.any_size else images[1:]:
        if image.pixels.shape[:2] != first.pixels.shape[:2]:
            (h, w), (y, x) = first.pixels.shape[:2], image.pixels.shape[:2]
            raise InputError(
                f"{first.path} is {h}x{w} but {image.path} is {y}x{x}; images of one job "
                "must have the same size"
            )
    colours = max(image.pixels.shape[2] for image in images)
    given = [np.broadcast_to(i.pixels, (*i.pixels.shape[:2], colours)) for i in images]
    name = ", ".join(image.path for image in images)
    return Source(given, tuple(images), given[0].shape, name, remarks=remarks)


def _remarks(images: Sequence[ImageFile]) -> tuple[str, ...]:
    """Returns the remarks on files; those of several name the file."""
    if len(images) == 1:
        return images[0].remarks
    return tuple(f"{image.path}: {remark}" for image in images for remark in image.remarks)


def _of_frames(frames: np.ndarray, name: str, rate: float = 0.0) -> Source:
    """Returns the source of a video with uint8 frames (T, H, W, C)."""
    first = image_io.to_array(frames[0], name=name)
    return Source(frames, (first,), frames.shape, name, True, rate)


def _check_count(grouping: Grouping, items: Sequence, name: str) -> None:
    """Refuses too few or too many images of one job, or frames of a video."""
    number, least, most = len(items), grouping.least, grouping.most
    if number < least or (most is not None and number > most):
        right = f"exactly {least}" if least == most else f"at least {least}"
        right = right if most in (None, least) else f"from {least} to {most}"
        what = "frame" if grouping.kind == "video" else "image"
        has = f"{number} {what}{'' if number == 1 else 's'}"
        raise InputError(f"{name}: has {has}; this needs {right}")


def read_side(kind: SideKind, path: Path, job: Job, *, tag: str) -> np.ndarray:
    """Reads a side input in the form of its kind.

    Args:
        kind: The kind, which determines the form.
        path: The file, as `companion` returns it.
        job: The job that it belongs to.
        tag: The tag that its file name may end with.

    Raises:
        InputError: The file cannot be read.
    """
    if kind == "kernel":
        return kernel_io.read_kernel(path)
    if kind == "image":
        return _coloured(image_io.read_image(path))
    if kind == "mask":
        return to_mask(image_io.read_image(path))
    if os.path.isdir(path):
        files = mask_files(path, tag)
        frames = [frame.stem for frame in job.several]
        if frames and set(frames) <= set(files):
            files = {name: files[name] for name in frames}
        masks = video_io.read_frames(list(files.values()))
    elif path.suffix.lower() in video_io.VIDEO_SUFFIXES:
        masks, _ = video_io.read_video(path)
    else:
        return to_mask(image_io.read_image(path))[None]
    return np.stack([to_mask(image_io.to_array(mask)) for mask in masks])


def side_shape(kind: SideKind, path: Path) -> tuple[int, ...]:
    """Returns the shape of `read_side` from a file's header; () for the masks of a video."""
    if kind == "kernel":
        return kernel_io.read_kernel(path).shape
    if kind == "masks":
        return ()
    shape = image_io.image_shape(path)
    return (*shape[:2], 3) if kind == "image" else shape[:2]


def to_side(kind: SideKind, value: Any, *, name: str) -> np.ndarray:
    """Converts a user's array to a side input in the form of its kind.

    Args:
        kind: See `read_side`.
        value: A kernel (K, K); an image or mask, see `image_io.to_array`; masks (T, H, W) or (H,
            W).
        name: The name for messages.

    Raises:
        InputError: The array has another form.
    """
    if kind == "kernel":
        return kernel_io.check_kernel(np.asarray(value), name)
    if kind == "masks":
        masks = [value] if np.ndim(value) == 2 else value
        return np.stack([to_mask(image_io.to_array(mask, name=name)) for mask in masks])
    image = image_io.to_array(value, name=name)
    return to_mask(image) if kind == "mask" else _coloured(image)


def _coloured(image: ImageFile) -> np.ndarray:
    """Returns the pixels as (H, W, 3)."""
    return np.broadcast_to(image.pixels, (*image.pixels.shape[:2], 3))


def to_mask(image: ImageFile) -> np.ndarray:
    """Converts an image to a mask (H, W) in [0, 1]: its luma multiplied by its alpha.

    If only the alpha varies, the alpha is the mask.
    """
    pixels, alpha = image.pixels, image.alpha
    mask = pixels[..., 0] if pixels.shape[2] == 1 else pixels @ _LUMA
    if alpha is None:
        return np.clip(mask, 0, 1)
    if np.ptp(pixels.reshape(-1, pixels.shape[2]), axis=0).any() or not np.ptp(alpha):
        return np.clip(mask * alpha, 0, 1)
    return alpha


def check_sides(
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
        if kind == "kernel":
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
