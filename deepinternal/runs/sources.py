"""Reads the input of a job: one image, several images, or a video.

The recipe of a method says which of these it takes; see `recipe.Grouping`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from deepinternal.codecs import image_io, profiles, video_io
from deepinternal.codecs.image_io import ImageFile
from deepinternal.codecs.transparency import extended
from deepinternal.files import show_path
from deepinternal.recipe import Grouping
from deepinternal.runs.inputs import Job
from deepinternal.types import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """The input of a job after reading.

    Attributes:
        given: The input of the method's `prepare`.
        images: The images, or the first frame, which results are compared with. The colours of
            visible pixels are continued under the transparency.
        shape: The shape of the (first) image or of the video.
        name: The names of the files, or the sample that an example was made from.
        is_video: Whether it has frames.
        frame_rate: The frame rate of a video; 0 if it is not known.
        remarks: Remarks for the user on the files, one sentence each.
        filled: (H, W), where the method fills in the image, so that results are opaque; None: it
            fills in nothing.
    """

    given: Any
    images: tuple[ImageFile, ...]
    shape: tuple[int, ...]
    name: str
    is_video: bool = False
    frame_rate: float = 0.0
    remarks: tuple[str, ...] = ()
    filled: np.ndarray | None = None

    @property
    def like(self) -> tuple[ImageFile, ...]:
        """The images whose depth and transparency the results get."""
        first, *others = self.images
        if self.filled is not None and first.alpha is not None:
            alpha = np.where(self.filled, np.float32(1), first.alpha)
            first = dataclasses.replace(first, alpha=alpha)
        return (first, *others)

    @property
    def size(self) -> tuple[int, int]:
        """The (H, W) of each image or frame."""
        return self.images[0].pixels.shape[:2]


def read_source(job: Job, grouping: Grouping, *, color: str = "keep") -> Source:
    """Reads the files of a job; those of a video keep the colours as stored.

    Args:
        job: The job.
        grouping: The grouping of the method.
        color: See `image_io.read_image`.

    Raises:
        InputError: A file cannot be read, sizes differ, or there are too few or too many files.
    """
    if grouping.kind != "video":
        _check_count(grouping, job.files, "config.input")
        return of_images([image_io.read_image(path, color=color) for path in job.files], grouping)
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
        InputError: The argument does not have this form.
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
    images = [image_io.to_array(frame, name=f"frame {i}") for i, frame in enumerate(image)]
    frames = np.stack([extended(frame).pixels for frame in images])
    return _of_frames(np.round(frames * 255).astype(np.uint8), "video")


def of_images(images: Sequence[ImageFile], grouping: Grouping) -> Source:
    """Returns a source of one or several images; mixed grey and colour images become colour."""
    images = [extended(image) for image in images]
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
    said = [f"{image.path}: {remark}" for image in images for remark in image.remarks]
    first, *others = (image.metadata.profile for image in images)
    if not all(profiles.same(first, other) for other in others):
        said.append(
            "the images have different colour profiles, but their values are not converted; "
            "config.color=srgb converts them"
        )
    return tuple(said)


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
