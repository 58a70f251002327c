"""Writes a method's outputs to files, and scores them against a ground truth."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.codecs import image_io, png, video_io
from deepinternal.codecs.kernel_io import check_kernel, write_kernel
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
from deepinternal.runs.sources import Source
from deepinternal.runs.workdir import PROGRESS
from deepinternal.types import InputError, Output


@dataclasses.dataclass(frozen=True)
class Truth:
    """A ground truth: pixels (H, W, C) in [0, 1], with the name and hash of its file."""

    pixels: np.ndarray
    name: str
    sha256: str


def read_truth(truth: Path | np.ndarray, shape: tuple[int, ...], *, name: str) -> Truth | None:
    """Reads a ground truth of the result's size; None if that of an example has another size.

    Args:
        truth: The file, or the array of an example.
        shape: The shape of the result.
        name: The name of the example.

    Raises:
        InputError: The file cannot be read, or has another size.
    """
    if not isinstance(truth, Path):
        return Truth(np.asarray(truth), name, "") if truth.shape[:2] == shape[:2] else None
    pixels = image_io.read_image(truth).pixels
    if pixels.shape[:2] != shape[:2]:
        (h, w), (y, x) = pixels.shape[:2], shape[:2]
        raise InputError(
            f"{show_path(truth)}: the ground truth is {h}x{w} but the result will be {y}x{x}; "
            "give a matching file"
        )
    return Truth(pixels, printable(truth), sha256_file(truth))


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

    Args:
        samples: The result as it is written, unsigned integers.
        truth: The ground truth, of the result's size.
        before: The baseline (H, W, C) in [0, 1]; it is not scored if it has another size.
        size: The (H, W) of the input.
    """
    pixels = image_io.to_array(samples).pixels
    border = border_of(size, pixels.shape[:2])
    figures: dict[str, Any] = score(pixels, truth.pixels, border)
    if before.shape[:2] == pixels.shape[:2]:
        scored = score(np.round(before * 255) / 255, truth.pixels, border)
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


def write_pictures(folder: Path, step: int, pictures: Mapping[str, np.ndarray]) -> None:
    """Writes the pictures of an evaluation during training: progress/NAME-STEP.png."""
    (folder / PROGRESS).mkdir(exist_ok=True)
    for name, value in pictures.items():
        image_io.write_image(folder / PROGRESS / f"{name}-{step:06d}.png", np.clip(value, 0, 1))


def write_outputs(
    outputs: Mapping[str, Output], folder: Path, source: Source
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Writes every output in the format of its kind; the result in the input's format.

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
        value, made = output.value, {}
        like = source.images[output.source]
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
        elif output.kind == "images":
            made = {f"{name}/{key}.png": _samples(image, like) for key, image in value.items()}
        else:
            raise ValueError(f"output {name!r} has an unknown kind {output.kind!r}")
        for file, samples in made.items():
            (folder / file).parent.mkdir(exist_ok=True)
            atomic_write_bytes(folder / file, png.encode(samples))
        files += made
        pictures |= made
    return figures, pictures


def _samples(pixels: np.ndarray, like: image_io.ImageFile | None = None) -> np.ndarray:
    """Converts an image to integers with another's alpha and bit depth, by default 8 bits."""
    pixels, alpha = pixels.reshape(*pixels.shape[:2], -1), like.alpha if like else None
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        alpha = resize(jnp.asarray(alpha)[..., None], output_shape=pixels.shape[:2])
        alpha = np.clip(np.asarray(alpha)[..., 0], 0, 1)
    depth = np.empty((1, 1, 1), f"uint{like.bit_depth if like else 8}")
    return image_io.from_float(pixels, depth, alpha=alpha)


def _write_kernel(outputs: Mapping[str, Output], name: str, folder: Path) -> list[str]:
    """Writes a kernel in all its formats; returns the names of the files."""
    names = [n for n in (name, f"reference_{name}") if n in outputs and outputs[n].kind == "kernel"]
    kernels = {n: check_kernel(np.asarray(outputs[n].value), n) for n in names}
    for suffix in (".png", ".mat", ".npy"):
        write_kernel(folder / f"{name}{suffix}", kernels[name])
    atomic_write_text(folder / f"{name}.svg", kernel_picture.svg(kernels))
    return [f"{name}{suffix}" for suffix in kernel_picture.SUFFIXES]
