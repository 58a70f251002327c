"""What a job is made from, read: one image, several images, or a video, and its side inputs.

In which of these forms a method takes its input, its module says: see `deepinternal.methods.registry`.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_collections
import numpy as np

from deepinternal.codecs import image_io, kernel_io, video_io
from deepinternal.files import show_path
from deepinternal.codecs.image_io import ImageFile
from deepinternal.runs.inputs import Job, mask_files
from deepinternal.types import InputError

GROUPINGS = ("single", "together", "video")
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A job's input.

    Attributes:
        grouping: 'single', 'together' or 'video'.
        given: what the method's `prepare` takes.
        images: the images, or the first frame: what results are compared with and formatted like.
        shape: of the (first) image or of the video.
        frame_rate: of a video, 0 where it is not known.
        name: the file or files, for messages.
    """

    grouping: str
    given: Any
    images: tuple[ImageFile, ...]
    shape: tuple[int, ...]
    frame_rate: float = 0.0
    name: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of each image or frame."""
        return self.images[0].pixels.shape[:2]

    @property
    def is_video(self) -> bool:
        """Whether it has frames."""
        return self.grouping == "video"


def grouping_of(module: ModuleType, config: ml_collections.ConfigDict) -> str:
    """How a method's input files make jobs."""
    grouping = getattr(module, "grouping", lambda _: "single")(config)
    if grouping not in GROUPINGS:
        raise ValueError(f"{module.__name__}.grouping: {grouping!r} is none of {GROUPINGS}")
    return grouping


def is_scored(module: ModuleType) -> bool:
    """Whether the results of a method are compared with a ground truth."""
    return getattr(module, "SCORED", True)


def check_count(
    module: ModuleType, config: ml_collections.ConfigDict, number: int, what: str, *, name: str
) -> None:
    """Refuses too few or too many images taken together, or frames of a video.

    Args:
        module: the method's.
        config: its config.
        number: how many there are.
        what: 'image' or 'frame', for the message.
        name: of what has them, for the message.
    """
    default = (2, None) if what == "frame" else (1, None)
    least, most = getattr(module, "counts", lambda _: default)(config)
    if number < least or (most is not None and number > most):
        right = f"exactly {least}" if least == most else f"at least {least}"
        right = right if most in (None, least) else f"from {least} to {most}"
        has = f"{number} {what}{'' if number == 1 else 's'}"
        raise InputError(f"{name}: has {has}; this needs {right}")


def single(image: ImageFile) -> Source:
    """One image."""
    return Source("single", image.pixels, (image,), image.pixels.shape, name=image.path)


def together(
    images: Sequence[ImageFile], module: ModuleType, config: ml_collections.ConfigDict
) -> Source:
    """Several images; grey ones beside coloured ones become coloured.

    Raises:
        InputError: sizes that differ, where the method needs one size.
    """
    first, any_size = images[0], getattr(module, "any_size", lambda _: False)(config)
    for image in () if any_size else images[1:]:
        if image.pixels.shape[:2] != first.pixels.shape[:2]:
            (h, w), (y, x) = first.pixels.shape[:2], image.pixels.shape[:2]
            raise InputError(
                f"{first.path} is {h}x{w} but {image.path} is {y}x{x}; images that are taken together "
                "must have one size"
            )
    colours = max(image.pixels.shape[2] for image in images)
    given = [np.broadcast_to(i.pixels, (*i.pixels.shape[:2], colours)) for i in images]
    name = ", ".join(image.path for image in images)
    return Source("together", given, tuple(images), given[0].shape, name=name)


def video(frames: np.ndarray, rate: float, name: str) -> Source:
    """A video of uint8 frames (T, H, W, C)."""
    first = image_io.to_array(frames[0], name=name)
    return Source("video", frames, (first,), frames.shape, rate, name)


def read_source(job: Job, module: ModuleType, config: ml_collections.ConfigDict) -> Source:
    """Reads the file or files of a job.

    Raises:
        InputError: one that cannot be read, sizes that differ, too few or too many.
    """
    grouping = grouping_of(module, config)
    if grouping == "single":
        return single(image_io.read_image(job.path))
    if grouping == "together":
        check_count(module, config, len(job.files), "image", name="config.input")
        return together([image_io.read_image(path) for path in job.files], module, config)
    name, rate = show_path(job.path), 0.0
    if job.several:
        check_count(module, config, len(job.several), "frame", name=name)
        frames = video_io.read_frames(job.several)
    else:
        frames, rate = video_io.read_video(job.path)
        check_count(module, config, len(frames), "frame", name=name)
    return video(frames, rate, name)


def from_example(image: Any, module: ModuleType, config: ml_collections.ConfigDict) -> Source:
    """What a method's module made of the sample photograph, of 8 bits."""
    grouping = grouping_of(module, config)
    if grouping == "video":
        return video(np.asarray(image), 0.0, "")
    images = [np.asarray(x, np.float32) for x in (image if grouping == "together" else [image])]
    files = [ImageFile(x, None, 8, x.shape[2] == 1, "") for x in images]
    return together(files, module, config) if grouping == "together" else single(files[0])


def from_memory(image: Any, module: ModuleType, config: ml_collections.ConfigDict) -> Source:
    """A job's input from arrays as users have them, see `image_io.to_array`.

    Args:
        image: an image; a sequence of images where the method takes several together; frames
            (T, H, W) or (T, H, W, C) where it takes a video, rounded to uint8.
        module: the method's.
        config: its config.

    Raises:
        InputError: no such arrays.
    """
    grouping = grouping_of(module, config)
    if grouping == "single":
        return single(image_io.to_array(image))
    if grouping == "together":
        _refuse_one(image, "images: one array of shape {}; give a list of images")
        check_count(module, config, len(image), "image", name="images")
        images = [image_io.to_array(x, name=f"images[{i}]") for i, x in enumerate(image)]
        return together(images, module, config)
    _refuse_one(image, "video: one image of shape {}; give (T, H, W) or (T, H, W, C)")
    sizes = {np.shape(frame) for frame in image}
    if len(sizes) > 1 or len(next(iter(sizes), ())) not in (2, 3):
        shapes = " and ".join(map(str, sorted(sizes))) or "none"
        raise InputError(f"video: frames of shape {shapes}; give (T, H, W) or (T, H, W, C)")
    check_count(module, config, len(image), "frame", name="video")
    frames = [image_io.to_array(frame, name=f"frame {i}").pixels for i, frame in enumerate(image)]
    return video(np.round(np.stack(frames) * 255).astype(np.uint8), 0.0, "video")


def _refuse_one(images: Any, message: str) -> None:
    """Refuses one image where several are wanted: its rows would be taken for them."""
    shape = images.shape if isinstance(images, np.ndarray) else ()
    if len(shape) in (1, 2) or (len(shape) == 3 and shape[2] <= 4):
        raise InputError(message.format(shape))


def read_side(kind: str, path: Path, job: Job, *, tag: str) -> np.ndarray:
    """Reads a side input in the form of its kind, see `deepinternal.methods.registry`.

    Args:
        kind: 'kernel', 'image', 'mask' or 'masks'.
        path: as `companion` returns it.
        job: that it goes with.
        tag: what its file name may end with.

    Raises:
        InputError: it cannot be read.
    """
    if kind == "kernel":
        return kernel_io.read_kernel(path)
    if kind == "image":
        return _coloured(image_io.read_image(path))
    if kind == "mask":
        return to_mask(image_io.read_image(path))
    if kind != "masks":
        raise ValueError(f"side input {tag!r} is of an unknown kind {kind!r}")
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


def to_side(kind: str, value: Any, *, name: str) -> np.ndarray:
    """A side input in the form of its kind from an array as users have it.

    Args:
        kind: as of `read_side`.
        value: a kernel (K, K); an image or mask, see `image_io.to_array`; masks (T, H, W) or
            (H, W).
        name: for messages.

    Raises:
        InputError: no such array.
    """
    if kind == "kernel":
        return kernel_io.check_kernel(np.asarray(value), name)
    if kind == "masks":
        masks = [value] if np.ndim(value) == 2 else value
        return np.stack([to_mask(image_io.to_array(mask, name=name)) for mask in masks])
    image = image_io.to_array(value, name=name)
    return to_mask(image) if kind == "mask" else _coloured(image)


def _coloured(image: ImageFile) -> np.ndarray:
    """Pixels (H, W, 3)."""
    return np.broadcast_to(image.pixels, (*image.pixels.shape[:2], 3))


def to_mask(image: ImageFile) -> np.ndarray:
    """A mask (H, W) in [0, 1] from an image: its luma, where it is not transparent.

    Where only the transparency varies it is the mask.
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
    kinds: Mapping[str, str],
    source: Source,
    names: Mapping[str, Any],
) -> None:
    """Refuses side inputs whose size is not the image's.

    Args:
        sides: as they were read, by field.
        kinds: of the fields.
        source: the image or video.
        names: of the files, by field, for messages.

    Raises:
        InputError: one of another size, or masks for another number of frames.
    """
    for field, value in sides.items():
        kind, name = kinds[field], show_path(str(names.get(field) or field))
        if kind == "kernel":
            continue
        size = value.shape[1:3] if kind == "masks" else value.shape[:2]
        if size != source.size:
            (h, w), (y, x) = size, source.size
            raise InputError(
                f"{name}: the {field} is {h}x{w} but {source.name or 'the image'} is {y}x{x}; "
                "give one of the same size"
            )
        frames = source.shape[0] if source.is_video else 1
        if kind == "masks" and len(value) not in (1, frames):
            raise InputError(
                f"{name}: {len(value)} masks for {frames} frames; give one for each, or one "
                "for the first"
            )
