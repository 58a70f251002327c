"""Writes a method's outputs to files, and scores them against a ground truth."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.codecs import image_io, png, profiles, video_io
from deepinternal.codecs.kernel_io import check_kernel, write_kernel
from deepinternal.codecs.metadata import NONE, Metadata, png_chunks
from deepinternal.codecs.transparency import on_white
from deepinternal.files import (
    atomic_write_bytes,
    atomic_write_text,
    printable,
    sha256_file,
    show_path,
)
from deepinternal.ops import metrics as measures
from deepinternal.ops.resizing import resize
from deepinternal.report import kernel_picture
from deepinternal.runs.contents import PROGRESS
from deepinternal.runs.sources import Source
from deepinternal.types import InputError, Output


@dataclasses.dataclass(frozen=True)
class Truth:
    """A ground truth.

    Attributes:
        pixels: (H, W, C) in [0, 1] as seen on white; the part that results can be compared with.
        name: The name of its file.
        sha256: The hash of its file.
        remarks: What the user should know about it, one sentence each.
    """

    pixels: np.ndarray
    name: str
    sha256: str
    remarks: tuple[str, ...] = ()


def read_truth(
    truth: Path | np.ndarray,
    shape: tuple[int, ...],
    *,
    size: tuple[int, int],
    name: str,
    color: str = "keep",
    about: Metadata = NONE,
) -> Truth | None:
    """Reads a ground truth of the result's size; None if that of an example has another size.

    The sides of an image that was downscaled need not have been multiples of the factor. A truth
    that differs from the result by less than the factor is compared on their common part.

    Args:
        truth: The file, or the array of an example.
        shape: The shape of the result.
        size: The (H, W) of the input.
        name: The name of the example.
        color: See `image_io.read_image`.
        about: The metadata of the input, whose colours the truth should have.

    Raises:
        InputError: The file cannot be read, or has another size.
    """
    if not isinstance(truth, Path):
        return Truth(np.asarray(truth), name, "") if truth.shape[:2] == shape[:2] else None
    image = image_io.read_image(truth, color=color)
    remarks = _differing_colours(image.metadata.profile, about.profile)
    pixels = on_white(image)
    if pixels.shape[:2] != shape[:2]:
        (h, w), (y, x) = pixels.shape[:2], shape[:2]
        if abs(h - y) >= y / size[0] or abs(w - x) >= x / size[1]:
            raise InputError(
                f"{show_path(truth)}: the ground truth is {h}x{w} but the result will be {y}x{x}; "
                "give a matching file"
            )
        pixels = pixels[:y, :x]
        remarks += (
            f"the ground truth is {h}x{w} and the result {y}x{x}: they are compared on "
            f"{pixels.shape[0]}x{pixels.shape[1]}, without the last rows and columns",
        )
    return Truth(pixels, printable(truth), sha256_file(truth), remarks)


def _differing_colours(truth: bytes | None, own: bytes | None) -> tuple[str, ...]:
    """Returns a remark on the profiles of a ground truth and of the input if they differ."""
    if profiles.same(truth, own):
        return ()
    return (
        f"the ground truth has the colours of {profiles.name(truth)!r}, the input those of "
        f"{profiles.name(own)!r}: PSNR and SSIM compare values that stand for different colours; "
        "config.color=srgb converts both",
    )


def cut(output: Output) -> Output:
    """Returns an output on the host, cut from its canvas to its valid size."""
    value = jax.tree.map(np.asarray, output.value)
    if output.size is not None:
        height, width = map(int, output.size)
        value = value[:height, :width]
    return output.replace(value=value, size=None)


# Compiled as one program: compiling its thirty operations one by one takes longer.
_quality = jax.jit(measures.quality, static_argnames="border")


def border_of(size: tuple[int, int], result: tuple[int, int]) -> tuple[int, int]:
    """Returns the border that scoring ignores: the scale factors, or 0 without upscaling."""
    factors = [o / n for o, n in zip(result, size)]
    return tuple(0 if f <= 1 else math.ceil(round(f, 3)) for f in factors)


def score(result: np.ndarray, truth: np.ndarray, border: tuple[int, int]) -> dict[str, float]:
    """Returns PSNR and SSIM of (H, W, C) images; grey is broadcast to the other's channels."""
    channels = max(result.shape[-1], truth.shape[-1])
    pair = [np.broadcast_to(x, (*x.shape[:2], channels)) for x in (result, truth)]
    figures = _quality(*pair, border=border)
    return {name: round(float(value), 4) for name, value in figures.items()}


def score_result(
    samples: np.ndarray, truth: Truth, before: np.ndarray, size: tuple[int, int]
) -> dict[str, Any]:
    """Returns the figures of a result and of its baseline against the ground truth.

    Images with alpha are compared as seen on white; a baseline has the result's alpha.

    Args:
        samples: The result as it is written, unsigned integers.
        truth: The ground truth, which may be smaller than the result.
        before: The baseline (H, W, C) in [0, 1]; it is not scored if it has another size.
        size: The (H, W) of the input.
    """
    result = image_io.to_array(samples)
    pixels = on_white(result)
    border = border_of(size, pixels.shape[:2])
    common = tuple(slice(n) for n in truth.pixels.shape[:2])
    figures: dict[str, Any] = score(pixels[common], truth.pixels, border)
    if before.shape[:2] == pixels.shape[:2]:
        seen = dataclasses.replace(result, pixels=np.round(before * 255) / 255)
        scored = score(on_white(seen)[common], truth.pixels, border)
        figures |= {f"baseline_{name}": value for name, value in scored.items()}
    return figures | {"ground_truth": truth.name, "ground_truth_sha256": truth.sha256}


def views(outputs: Mapping[str, Output]) -> dict[str, np.ndarray]:
    """Returns images, masks, and kernels scaled to their peak, as (H, W[, C]) in [0, 1] by name."""
    found = {}
    for name, output in outputs.items():
        if output.kind in ("image", "mask"):
            found[name] = output.value
        elif output.kind == "images":
            found |= {f"{name}/{key}": value for key, value in output.value.items()}
        elif output.kind == "kernel":
            found[name] = np.clip(output.value / max(output.value.max(), 1e-12), 0, 1)
    return found


def write_input(source: Source, folder: Path) -> None:
    """Writes the input made from the sample: input.png, input-2.png, ..., or input.mp4."""
    if source.is_video:
        video_io.write_frames(folder, "input", source.given / np.float32(255), video_io.FRAME_RATE)
        return
    for number, image in enumerate(source.images, 1):
        name = "input.png" if number == 1 else f"input-{number}.png"
        image_io.write_image(folder / name, image.pixels)


def write_pictures(
    folder: Path, about: Metadata, step: int, pictures: Mapping[str, np.ndarray]
) -> None:
    """Writes the pictures of an evaluation during training: progress/NAME-STEP.png."""
    (folder / PROGRESS).mkdir(exist_ok=True)
    for name, value in pictures.items():
        path = folder / PROGRESS / f"{name}-{step:06d}.png"
        image_io.write_image(path, np.clip(value, 0, 1), about=about)


def write_outputs(
    outputs: Mapping[str, Output], folder: Path, source: Source
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Writes every output in the format of its kind; the result in the input's format.

    Images keep the colour profile and the metadata of their input, and its physical size.

    Args:
        outputs: The outputs of a method, on the host. The drawing of a kernel `NAME` also shows
            `reference_NAME`, if it exists.
        folder: The folder of the job.
        source: The input of the job.

    Returns:
        Figures for metrics.json: scalar outputs, the maxima of maps, whose pictures are scaled to
        them, and `outputs`, the names of the files. Also the samples of pictures by file.
    """
    files: list[str] = []
    figures: dict[str, Any] = {"outputs": files}
    pictures: dict[str, np.ndarray] = {}
    for name, output in outputs.items():
        value, made, about = output.value, {}, NONE
        like = source.like[output.source]
        if output.kind == "scalar":
            figures[name] = value.tolist()
        elif output.kind == "frames":
            rate = output.frame_rate or source.frame_rate or video_io.FRAME_RATE
            files += video_io.write_frames(folder, name, value, rate)
        elif output.kind == "kernel":
            files += _write_kernel(outputs, name, folder)
        elif output.kind == "map":
            peak = figures[f"{name}_max"] = float(value.max())
            made = {f"{name}.png": _samples(value / max(peak, 1e-12))}
        elif output.kind == "mask":
            made = {f"{name}.png": _samples(value)}
        elif output.kind == "image":
            made = {f"{name}.png": _samples(value, like)}
            factors = (n / m for n, m in zip(value.shape, like.pixels.shape[:2]))
            about = like.metadata.scaled(*factors)
        elif output.kind == "images":
            made = {f"{name}/{key}.png": _samples(image, like) for key, image in value.items()}
            about = like.metadata
        else:
            raise ValueError(f"output {name!r} has an unknown kind {output.kind!r}")
        for file, samples in made.items():
            (folder / file).parent.mkdir(exist_ok=True)
            chunks = png_chunks(about, samples.shape)
            atomic_write_bytes(folder / file, png.encode(samples, chunks))
        files += made
        pictures |= made
    return figures, pictures


def _samples(pixels: np.ndarray, like: image_io.ImageFile | None = None) -> np.ndarray:
    """Converts an image to integers with another's alpha and bit depth, by default 8 bits."""
    depth = np.empty((1, 1, 1), f"uint{like.bit_depth if like else 8}")
    alpha = alpha_of(like, pixels.shape[:2]) if like else None
    return image_io.from_float(pixels.reshape(*pixels.shape[:2], -1), depth, alpha=alpha)


def alpha_of(image: image_io.ImageFile, size: tuple[int, int]) -> np.ndarray | None:
    """Returns the alpha of an image, interpolated to a size (H, W); None if it has none."""
    if image.alpha is None or image.alpha.shape == size:
        return image.alpha
    large = resize(jnp.asarray(image.alpha)[..., None], output_shape=size)
    return np.clip(np.asarray(large)[..., 0], 0, 1)


def _write_kernel(outputs: Mapping[str, Output], name: str, folder: Path) -> list[str]:
    """Writes a kernel in all its formats; returns the names of the files."""
    names = [n for n in (name, f"reference_{name}") if n in outputs and outputs[n].kind == "kernel"]
    kernels = {n: check_kernel(np.asarray(outputs[n].value), n) for n in names}
    for suffix in (".png", ".mat", ".npy"):
        write_kernel(folder / f"{name}{suffix}", kernels[name])
    atomic_write_text(folder / f"{name}.svg", kernel_picture.svg(kernels))
    return [f"{name}{suffix}" for suffix in kernel_picture.SUFFIXES]
