"""Finds the files that belong to an image: its ground truth, kernel, mask, ..."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deepinternal.codecs.video_io import VIDEO_SUFFIXES
from deepinternal.files import expanded, file_name, show_path
from deepinternal.runs.inputs import IMAGE_SUFFIXES, Job, frames_in, listed_in
from deepinternal.types import InputError

SUFFIXES: Mapping[str, Sequence[str]] = {
    "image": IMAGE_SUFFIXES,
    "mask": IMAGE_SUFFIXES,
    "masks": tuple(dict.fromkeys((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))),
    "kernel": (".mat", ".npy", ".png", ".tif", ".tiff"),
}
# How public sets name the ground truth of an image: a pattern of its stem, and the stem of the truth.
_TRUTHS = (
    (r"(.+)_LR\d?", r"\1_HR"),  # Urban100: img_001_SRF_2_LR, img_001_SRF_2_HR; RealSR
    (r"(.+)x[2348]", r"\1"),  # DIV2K: 0801x2, 0801
    (r"im_(\d+)", r"img_\1_gt"),  # DIV2KRK: im_78, img_78_gt
)
_KERNELS = ((r"im_(\d+)", r"kernel_\1"),)  # DIV2KRK


def companion(
    field: str,
    value: str,
    job: Job,
    *,
    kind: str = "image",
    tag: str,
    beside: bool = False,
    scale: str = "",
) -> Path | None:
    """Finds the file that belongs to an image.

    Args:
        field: The config field, for messages.
        value: The value of the field: a file, or a folder. In a folder, the file has the image's
            name, or its stem followed by `_<tag>`, nothing or `_0`; a kernel may also be
            `<stem>_kernel.*`, or `<stem>_kernel_x2.mat` as KernelGAN names it. The names of public
            sets are known as well. For an image from a subfolder, the same subfolder comes first.
        job: The image.
        kind: The kind of file, which determines its suffixes. 'masks' of a video may also be a
            folder in such a folder, or the folder itself.
        tag: 'gt', 'kernel', ...
        beside: Whether to look for `<stem>_<tag>.*` beside the image if `value` is empty.
        scale: The factor of a kernel, which chooses among the files of KernelGAN.

    Returns:
        The path; None if there is none and none was given.

    Raises:
        InputError: The file or folder does not exist, or nothing in the folder matches.
    """
    stem = job.own
    if not value:
        if not beside or job.path is None:
            return None
        near = (job.path.with_name(file_name(stem, f"_{tag}{s}")) for s in SUFFIXES[kind])
        return next((p for p in near if os.path.isfile(p)), None)
    value = expanded(value)
    path = Path(value)
    if not os.path.isdir(value):
        if not os.path.lexists(value):
            raise InputError(f"config.{field}: no such file or folder: {show_path(value)}")
        return path
    known = {p.absolute() for p in (job.path, *job.files) if p}
    names = list(_names(job, kind, tag, scale))
    folders = [path / job.below, path] if job.below else [path]
    for candidate in (folder / name for folder in folders for name in names):
        if os.path.isfile(candidate) and candidate.absolute() not in known:
            return candidate
    if kind == "masks":
        for folder in (path / file_name(stem, f"_{tag}"), path / stem, path):
            if folder.absolute() not in known and os.path.isdir(folder) and mask_files(folder, tag):
                return folder
    raise InputError(
        f"config.{field}: no file for {show_path(stem)} in the folder {show_path(value)}; give one, "
        f"such as {show_path(names[0])}"
    )


def _names(job: Job, kind: str, tag: str, scale: str) -> Iterator[str]:
    """Yields the names that a file in a folder may have, the most specific ones first."""
    stem, suffixes = job.own, SUFFIXES[kind]
    endings = [f"_{tag}", "", "_0"]
    if kind == "kernel":  # before the image's name, which may be another version of the image
        yield from (file_name(stem, f"_{tag}{s}") for s in suffixes)
        yield from (file_name(stem, f"_kernel{s}") for s in suffixes)
        scales = [scale] if scale.isdecimal() else ["2", "4"]
        for name in (file_name(stem, f"_kernel_x{n}.mat") for n in scales):
            yield name
            yield os.path.join(stem, name)  # KernelGAN makes a folder for each image
    if job.path and job.path.suffix.lower() in suffixes:
        yield job.path.name
    yield from (file_name(stem, f"{end}{s}") for end in endings for s in suffixes)
    known = _KERNELS if kind == "kernel" else _TRUTHS if tag == "gt" else ()
    for pattern, replacement in known:
        if found := re.fullmatch(pattern, stem):
            yield from (file_name(found.expand(replacement), s) for s in suffixes)


def mask_files(folder: Path, tag: str) -> dict[str, Path]:
    """Returns the still images of a folder, in order, by the names of the frames they belong to."""
    return {p.stem.removesuffix(f"_{tag}"): p for p in frames_in(listed_in(folder))}
