"""Reads masks in their usual forms: black and white, labels, soft edges, JPEG, alpha.

The values of a mask determine its kind; a field of the method chooses among labels:

    palette with colours     labels; the palette must start with black, which is the background; 255
                             is void in the palette of Pascal VOC and DAVIS
    0 and 1, or 0, 1, 2, ... labels, up to 4; other values are labels only if one of them is chosen
    0 and 255 (or 65535)     black and white
    many grey levels         soft, 0 to 1
    JPEG and lossy videos    set to black or white, whichever is nearer

A mask of any other kind is refused, because guessing its meaning would give a wrong result silently.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from deepinternal import files
from deepinternal.codecs import png, tiff
from deepinternal.codecs.decoding import FORMATS, decode
from deepinternal.codecs.image_io import check_shape
from deepinternal.codecs.mask_values import Choice, Label, Stored, understood
from deepinternal.types import InputError

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_MAX_PIXELS = 100_000_000  # of a file, as of images
_HEAD = 1_000_000  # bytes in which a WebP file says how it is compressed


def read_masks(
    paths: Sequence[str | os.PathLike], *, label: Label = "any", field: str = "label"
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reads image files as the masks of one image or of the frames of a video.

    Args:
        paths: The files, at least one; they are understood together.
        label: The label that counts as white in images of labels; 'any': all except background and
            void. It has no effect on masks of other kinds, unless they contain its value.
        field: The field of the label, for messages.

    Returns:
        (T, H, W) float32 in [0, 1], and remarks on the files.

    Raises:
        InputError: A file cannot be read, sizes differ, or the meaning of the values is unclear.
    """
    found = [_read(path) for path in paths]
    values, remarks = understood(found, Choice(label, field))
    return values, (*(r for mask in found for r in mask.remarks), *remarks)


def to_masks(
    arrays: Sequence[Any],
    *,
    name: str,
    label: Label = "any",
    field: str = "label",
    lossy: bool = False,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Converts arrays to the masks of one image or of the frames of a video.

    Args:
        arrays: At least one, (H, W) or (H, W, C), C = 1 to 4, all of one size: bool; integers 0
            and 1, 0 and 255, or labels; uint8 or uint16 grey levels; floats in [0, 1]. They are
            understood together.
        name: Their name in messages.
        label: See `read_masks`.
        field: The field of the label, for messages.
        lossy: Whether their grey levels are altered by compression.

    Returns:
        (T, H, W) float32 in [0, 1], and remarks.

    Raises:
        InputError: An array does not have this form, or the meaning of the values is unclear.
    """
    if not len(arrays):
        raise InputError(f"{name}: there is no mask; give at least one")
    found = [Stored(_grey(_samples(x, name), name, lossy), name, lossy=lossy) for x in arrays]
    return understood(found, Choice(label, field))


def _read(path: str | os.PathLike) -> Stored:
    """Reads an image file as a mask, with its labels if it has a palette with colours."""
    name, decoded = files.show_path(path), decode(path, _MAX_PIXELS)
    indices, palette, lossy = _as_stored(path)
    known = palette is not None and indices.shape == decoded.samples.shape[:2]
    if known and _has_labels(palette, indices):
        return Stored(indices, name, palette, remarks=decoded.remarks)
    values = _grey(_samples(decoded.samples, name), name, lossy)
    return Stored(values, name, lossy=lossy, remarks=decoded.remarks)


def _as_stored(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Returns the indices and the palette of a readable file, and whether it is compressed lossily.

    Returns:
        The indices (H, W) uint8 of an opaque image with a palette, upright; the palette (256, 3)
        uint8, or None; and whether the compression alters samples.
    """
    from PIL import Image, ImageOps

    nothing = np.zeros((0, 0), np.uint8)
    with files.open_file(path) as file, files.quiet():
        head = file.read(_HEAD)
        file.seek(0)
        try:
            whole = png.check(file)[0] if head.startswith(png.SIGNATURE) else file
            image = Image.open(whole, formats=FORMATS)
            lossy = image.format in ("JPEG", "MPO", "AVIF") or "jpeg" in str(
                image.info.get("compression")
            )
            lossy |= image.format == "WEBP" and b"VP8L" not in head
            if image.mode != "P" or "transparency" in image.info:
                return nothing, None, lossy
            palette = np.zeros((256, 3), np.uint8)
            colours = np.reshape(image.getpalette("RGB"), (-1, 3))
            palette[: len(colours)] = colours
            return np.asarray(ImageOps.exif_transpose(image)), palette, lossy
        except Exception:  # a TIFF or HEIC that Pillow cannot read
            return nothing, None, head[:4] not in tiff.MAGIC


def _has_labels(palette: np.ndarray, indices: np.ndarray) -> bool:
    """Whether a palette (N, 3) stands for labels, not for grey levels from black to white."""
    used = palette[np.flatnonzero(np.bincount(indices.ravel(), minlength=256))]
    if (used == used[:, :1]).all() and (used.max() == 255 or not used.any()):
        return False
    return bool((palette != palette[:, :1]).any())


def _samples(array: Any, name: str) -> np.ndarray:
    """Returns samples (H, W, C) as uint8, uint16, or float32 in [0, 1]. Refuses other values."""
    array = np.asarray(array)
    check_shape(array, name, what="a mask")
    array = array.reshape(*array.shape[:2], -1)
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    low, high = array.min(), array.max()
    if array.dtype.kind == "f":
        if not np.isfinite([low, high]).all():
            raise InputError(f"{name}: NaN or infinite values; give finite values in [0, 1]")
        if high == 255 and np.isin(array, (0, 255)).all():
            return array.astype(np.uint8)
        if low < -1e-6 or high > 1 + 1e-6:
            raise InputError(
                f"{name}: float values in [{low:g}, {high:g}]; give floats in [0, 1], or labels as "
                "integers"
            )
        return np.clip(array.astype(np.float32), 0, 1)
    if low < 0 or high > 65535:
        raise InputError(
            f"{name}: whole numbers in [{low}, {high}]; give masks and labels from 0 to 65535"
        )
    if array.dtype in (np.uint8, np.uint16):
        return array
    return array.astype(np.uint8 if high <= 255 else np.uint16)


def _grey(samples: np.ndarray, name: str, lossy: bool) -> np.ndarray:
    """Returns the grey levels (H, W) of samples (H, W, C): their luma, multiplied by their alpha.

    If all visible pixels have one colour, the alpha is the mask. Refuses colours.
    """
    channels = samples.shape[2]
    if channels == 1:
        return samples[..., 0]
    top = np.float32(1 if samples.dtype.kind == "f" else np.iinfo(samples.dtype).max)
    if channels == 3:
        return _colourless(samples, top, name, lossy)
    colours, alpha = samples[..., :-1], samples[..., -1]
    if (alpha == top).all():
        return _grey(colours, name, lossy)
    share = alpha[..., None].astype(np.float32) / top
    mean = (colours * share).sum((0, 1)) / max(share.sum(), 1e-9)
    if np.ptp(alpha) and np.abs((colours - mean) * share).max() <= 2 * top / 255:
        return alpha
    seen = colours * share
    seen = seen if samples.dtype.kind == "f" else np.round(seen).astype(samples.dtype)
    return _grey(seen, name, lossy)


def _colourless(samples: np.ndarray, top: np.float32, name: str, lossy: bool) -> np.ndarray:
    """Returns the grey levels of RGB samples; refuses colours, except for traces of conversions."""
    least, most = samples.min(axis=2), samples.max(axis=2)
    if (least == most).all():
        return most
    slack = (48 if lossy else 8 if most.max() > top / 2 else 0) * top / 255
    wrong = most.astype(np.float32) - least > 0.1 * most + slack
    if wrong.any():
        row, column = np.unravel_index(np.argmax(wrong), wrong.shape)
        colour = ", ".join(f"{x:g}" for x in samples[row, column])
        raise InputError(
            f"{name}: has colours, such as ({colour}) in row {row}, column {column}; give a mask of "
            "black and white, or labels as an image with a palette"
        )
    luma = samples @ _LUMA
    return luma if samples.dtype.kind == "f" else np.round(luma).astype(samples.dtype)
