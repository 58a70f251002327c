"""Sheets with the masks of all rows of a case, to be looked at."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.decomposition.cases import Loaded
from benchmarks.decomposition.scores import outline

SHOWN = 4  # frames of a clip in a sheet
ROW, TRUTH = (1.0, 1.0, 0.0), (0.0, 1.0, 1.0)  # colours of outlines
STROKES = (1.0, 0.0, 0.0), (0.0, 0.3, 1.0)  # colours of hints: foreground, background


def over(image: np.ndarray, mask: np.ndarray, colour: Sequence[float]) -> np.ndarray:
    """Draws a mask over an image: grey and darker outside, and its outline in a colour.

    Args:
        image: (H, W, 3) in [0, 1].
        mask: (H, W) booleans.
        colour: Red, green and blue in [0, 1].
    """
    made = np.where(mask[..., None], image, 0.4 * image.mean(-1, keepdims=True))
    made[outline(mask)] = colour
    return made


def titled(picture: np.ndarray, text: str) -> np.ndarray:
    """Adds a line of text above a picture (H, W, 3)."""
    from PIL import Image, ImageDraw

    line = Image.new("RGB", (picture.shape[1], 14), "white")
    ImageDraw.Draw(line).text((2, 1), text, fill="black")
    return np.concatenate([np.float32(line) / 255, picture])


def sheet(case: Loaded, masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Draws the image with its strokes, the truth, and the masks of rows.

    Args:
        case: The case.
        masks: Masks in [0, 1] by title: (H, W), of clips (T * H, W), frames below each other.

    Returns:
        (H', W', 3) in [0, 1]. A clip has a line of `SHOWN` frames for each of them.
    """
    frames = case.image if case.image.ndim == 4 else case.image[None]
    shape = frames.shape[:3]
    pixels = np.broadcast_to(frames / np.float32(255), (*shape, 3))
    shown = sorted({round(i) for i in np.linspace(0, shape[0] - 1, min(SHOWN, shape[0]))})
    hinted = pixels.copy()
    for hint, colour in zip(case.hints or (), STROKES):
        hinted[0][hint] = 0.3 * hinted[0][hint] + 0.7 * np.array(colour)
    wanted = {"truth": (case.truth | case.void, TRUTH)}
    wanted |= {title: (x > 0.5, ROW) for title, x in masks.items()}
    lines = [[titled(hinted[i], f"hints, {i + 1}" if i else "hints") for i in shown]]
    for title, (mask, colour) in wanted.items():
        mask = mask.reshape(shape)
        lines.append([titled(over(pixels[i], mask[i], colour), title) for i in shown])
    if len(shown) > 1:
        return np.float32(np.concatenate([np.concatenate(line, 1) for line in lines]))
    return tiled([line[0] for line in lines])


def tiled(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Places pictures of one size in a grid that is about square."""
    across = math.ceil(math.sqrt(len(pictures)))
    blank = np.ones_like(pictures[0])
    padded = [*pictures, *[blank] * (-len(pictures) % across)]
    lines = [np.concatenate(padded[i : i + across], 1) for i in range(0, len(padded), across)]
    return np.float32(np.concatenate(lines))
