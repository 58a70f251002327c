"""The task `watermark` of `benchmarks.decomposition`: marks drawn over photographs, and other packages.

Six marks are drawn with Pillow's own font and with polygons, four times too large, and reduced by the
mean, so that their edges are soft. I = (1 - a s) c + a s w is stored with 8 bits. Each photograph gives
six cases with a box around the mark, one with a rough mask, and one without a hint whose mark repeats
over the whole photograph; each four photographs give a case without a hint whose mark they share.
"""

import dataclasses
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.decomposition.restorations import Restoration, Rival, psnr
from deepinternal.codecs.image_io import read_image
from deepinternal.types import InputError

FIGURE = "gain"  # dB inside the mark above the input
MARKED = 0.05  # opacity from which a pixel counts as inside the mark
TOGETHER = 4  # photographs that share a mark
_FINER = 4  # by how much the marks are drawn too large
_MARGIN = 8  # pixels around the mark in its box
_ROUGH = 4  # pixels by which a rough mask is wider than the mark
_PERIOD = 72, 96  # pixels from one mark of the grid to the next
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


@dataclasses.dataclass(frozen=True)
class Mark:
    """A mark.

    Attributes:
        size: (height, width) in pixels, the same on photographs of all sizes that are large enough.
        opacity: In (0, 1).
        colour: In [0, 1], RGB.
    """

    size: tuple[int, int]
    opacity: float
    colour: tuple[float, float, float]


MARKS: Mapping[str, Mark] = {
    "text": Mark((44, 190), 0.45, (1.0, 1.0, 1.0)),
    "logo": Mark((84, 84), 0.7, (1.0, 1.0, 1.0)),
    "grid": Mark((144, 192), 0.35, (1.0, 1.0, 1.0)),
    "coloured": Mark((56, 180), 0.5, (0.85, 0.1, 0.15)),
    "faint": Mark((52, 190), 0.2, (1.0, 1.0, 1.0)),
    "thin": Mark((60, 180), 0.55, (0.05, 0.05, 0.05)),
}


def find(folder: str | Path, *, limit: int = 0) -> list[Restoration]:
    """Makes the cases from the clean photographs in a folder and its subfolders.

    Args:
        folder: The folder. Photographs with a side below 224 pixels are left out.
        limit: Greatest number of photographs; 0: all.

    Returns:
        The cases. Their facts are the `mark`, its `opacity` and `colour`, the `matte` (H, W), which is
        the opacity of each pixel, the `rough` mask (H, W) of booleans, and the kind of the `hint`.

    Raises:
        InputError: There is no such photograph.
    """
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in _SUFFIXES)
    photos = {path.stem: _photo(path) for path in paths}
    photos = {name: photo for name, photo in photos.items() if min(photo.shape[:2]) >= 224}
    if not photos:
        raise InputError(
            f"--data={folder}: no photograph of at least 224 pixels; give a folder of clean photographs"
        )
    names = list(photos)[: limit or None]
    cases = [case for n, name in enumerate(names) for case in _of_one(n, name, photos[name])]
    groups = [names[i : i + TOGETHER] for i in range(0, len(names) - TOGETHER + 1, TOGETHER)]
    kinds = [name for name in MARKS if name != "grid"]
    for n, group in enumerate(groups):
        cases.append(_of_many(kinds[n % len(kinds)], group, [photos[name] for name in group]))
    return cases


def _photo(path: Path) -> np.ndarray:
    """Reads a photograph as float32 (H, W, 3) in [0, 1]."""
    pixels = np.asarray(read_image(path).pixels, np.float32)
    pixels = pixels / 255 if pixels.max() > 1 else pixels
    return np.repeat(pixels[..., :1], 3, -1) if pixels.shape[-1] < 3 else pixels[..., :3]


def _of_one(number: int, name: str, photo: np.ndarray) -> Iterator[Restoration]:
    """The cases of one photograph; the rough mask belongs to each mark in turn."""
    size = photo.shape[:2]
    for kind, mark in MARKS.items():
        draw = np.random.default_rng(zlib.crc32(f"{name} {kind}".encode()))
        high, wide = (min(a, b - 2 * _MARGIN - 2) for a, b in zip(mark.size, size))
        y, x = (
            int(draw.integers(_MARGIN + 1, b - a - _MARGIN)) for a, b in zip((high, wide), size)
        )
        shape = np.zeros(size)
        shape[y : y + high, x : x + wide] = drawn(kind, mark.size)[:high, :wide]
        box = (y - _MARGIN, x - _MARGIN, y + high + _MARGIN, x + wide + _MARGIN)
        made = _made(f"{name}-{kind}", kind, [photo], shape)
        yield dataclasses.replace(
            made,
            fields={"box": ",".join(map(str, box))},
            facts={**made.facts, "hint": "box", "box": box},
        )
        if kind == list(MARKS)[number % len(MARKS)]:
            rough = np.float32(made.facts["rough"])
            yield dataclasses.replace(
                made,
                name=f"{made.name}-mask",
                sides={"mask": rough},
                facts={**made.facts, "hint": "mask"},
            )
    made = _made(f"{name}-repeated", "grid", [photo], drawn("grid", size))
    yield dataclasses.replace(made, facts={**made.facts, "hint": "none"})


def _of_many(kind: str, names: Sequence[str], photos: Sequence[np.ndarray]) -> Restoration:
    """A case of several photographs, cropped to their common centre, with a mark in the middle."""
    size = tuple(min(photo.shape[axis] for photo in photos) for axis in (0, 1))
    starts = [[(n - m) // 2 for n, m in zip(photo.shape, size)] for photo in photos]
    photos = [p[y : y + size[0], x : x + size[1]] for p, (y, x) in zip(photos, starts)]
    shape, mark = np.zeros(size), MARKS[kind].size
    y, x = ((n - m) // 2 for n, m in zip(size, mark))
    shape[y : y + mark[0], x : x + mark[1]] = drawn(kind, mark)
    made = _made(f"{'+'.join(names)}-{kind}", kind, photos, shape)
    return dataclasses.replace(
        made, fields={"task": "many"}, facts={**made.facts, "hint": "several images"}
    )


def _made(name: str, kind: str, photos: Sequence[np.ndarray], shape: np.ndarray) -> Restoration:
    """Composites a mark of a shape (H, W) in [0, 1] with photographs of that size."""
    from scipy import ndimage

    mark = MARKS[kind]
    matte = mark.opacity * shape
    truth = np.stack(photos)
    share = matte[..., None]
    image = np.round(255 * ((1 - share) * truth + share * np.array(mark.colour))) / 255
    rough = ndimage.binary_dilation(matte > MARKED, iterations=_ROUGH)
    facts = {"mark": kind, "opacity": mark.opacity, "colour": mark.colour}
    facts |= {"matte": matte, "rough": rough}
    image, truth = (np.float32(x if len(photos) > 1 else x[0]) for x in (image, truth))
    return Restoration(name, image, truth, facts=facts)


def drawn(kind: str, size: tuple[int, int]) -> np.ndarray:
    """Draws the shape of a mark.

    Args:
        kind: Its name in `MARKS`.
        size: Its (height, width) in pixels; that of the grid is filled with repetitions.

    Returns:
        (height, width) in [0, 1].
    """
    h, w = size
    if kind == "grid":
        one = _tile()
        return np.tile(one, (-(-h // _PERIOD[0]), -(-w // _PERIOD[1])))[:h, :w]
    canvas, draw = _canvas(size)
    scaled = lambda *numbers: tuple(round(_FINER * n) for n in numbers)
    if kind == "logo":
        draw.ellipse(scaled(2, 2, h - 2, h - 2), outline=255, width=7 * _FINER)
        star = np.deg2rad(np.arange(-90, 270, 36))
        radius = np.where(np.arange(10) % 2, 11, 27)
        points = np.stack([h / 2 + radius * np.cos(star), h / 2 + radius * np.sin(star)], -1)
        draw.polygon([scaled(*point) for point in points], fill=255)
    elif kind == "coloured":
        draw.rounded_rectangle(
            scaled(2, 2, w - 2, h - 2), 10 * _FINER, outline=255, width=4 * _FINER
        )
        _text(draw, "PREVIEW", (h / 2, w / 2), 28)
    elif kind == "thin":
        draw.ellipse(scaled(4, 6, 52, 54), outline=255, width=round(1.5 * _FINER))
        for n in range(5):
            line = scaled(60, 8 + 11 * n, w - 4, 8 + 11 * n + (6 if n % 2 else -4))
            draw.line(line, fill=255, width=round(1.5 * _FINER))
        _text(draw, "draft", (h / 2, w / 2 + 26), 30)
    else:
        _text(draw, "Sample 42" if kind == "text" else "COPYRIGHT", (h / 2, w / 2), h * 0.68)
    return _reduced(canvas)


def _tile() -> np.ndarray:
    """One period of the grid: two diagonal lines and a word."""
    high, wide = _PERIOD
    canvas, draw = _canvas((3 * high, 3 * wide))
    for n in range(-3, 6):
        for sign in (1, -1):
            y0, y1 = (0, 3 * high) if sign > 0 else (3 * high, 0)
            line = [(x * _FINER, y * _FINER) for x, y in ((n * wide, y0), ((n + 3) * wide, y1))]
            draw.line(line, fill=255, width=2 * _FINER)
    for row in range(3):
        for column in range(3):
            _text(draw, "stock", ((row + 0.5) * high, (column + 1) * wide), 18)
    return _reduced(canvas)[high : 2 * high, wide : 2 * wide]


def _canvas(size: tuple[int, int]):
    """An empty grey picture for a mark of a size (height, width), and what draws on it."""
    from PIL import Image, ImageDraw

    canvas = Image.new("L", (size[1] * _FINER, size[0] * _FINER))
    return canvas, ImageDraw.Draw(canvas)


def _text(draw: Any, text: str, centre: tuple[float, float], height: float) -> None:
    """Writes text around a centre (y, x), with letters of a height in pixels."""
    from PIL import ImageFont

    font = ImageFont.load_default(round(height * _FINER))
    draw.text((centre[1] * _FINER, centre[0] * _FINER), text, fill=255, font=font, anchor="mm")


def _reduced(canvas: Any) -> np.ndarray:
    """The means of the squares of a canvas that become pixels, in [0, 1]."""
    pixels = np.asarray(canvas, np.float64) / 255
    h, w = (n // _FINER for n in pixels.shape)
    return pixels.reshape(h, _FINER, w, _FINER).mean((1, 3))


def score(outputs: Mapping[str, np.ndarray], case: Restoration) -> dict[str, float]:
    """Compares a result with the truth.

    Args:
        outputs: `result` of the shape of the truth, or `clean1`, ... of several images; and `mask`
            (H, W), if any.
        case: The case.

    Returns:
        `inside`, the PSNR in dB where the mark has an opacity of more than `MARKED`; `input`, that of
        the input; `gain`, their difference; `outside`, the share of pixels that equal the input to the
        bit, of those outside the hint, without one, of those `_MARGIN` pixels off the mark (1 if there
        are none); with a mask, `opacity`, the median error of its values in the mark's solid part.
    """
    from scipy import ndimage

    count = len(case.truth) if case.truth.ndim == 4 else 1
    made = [outputs["result"]]
    if f"clean{count}" in outputs:
        made = [outputs[f"clean{n}"] for n in range(1, count + 1)]
    made = np.stack(made).reshape(-1, *case.truth.shape[-3:])
    truth, image = (x.reshape(made.shape) for x in (case.truth, case.image))
    matte = case.facts["matte"]
    inside = np.broadcast_to(matte > MARKED, made.shape[:3])
    figures = {"inside": psnr(made, truth, inside), "input": psnr(image, truth, inside)}
    figures["gain"] = figures["inside"] - figures["input"]
    if case.facts["hint"] == "box":
        y0, x0, y1, x1 = case.facts["box"]
        off = np.ones(matte.shape, bool)
        off[y0:y1, x0:x1] = False
    elif case.facts["hint"] == "mask":
        off = ~case.facts["rough"]
    else:
        off = ~ndimage.binary_dilation(matte > 0, iterations=_MARGIN)
    same = (made == image).all(-1)[:, off]
    figures["outside"] = float(same.mean()) if same.size else 1.0
    if "mask" in outputs:
        solid = matte >= 0.98 * case.facts["opacity"]
        figures["opacity"] = float(abs(np.median(outputs["mask"][solid]) - case.facts["opacity"]))
    return figures


def _inpainted(case: Restoration, name: str, where: np.ndarray) -> np.ndarray:
    """OpenCV's inpainting `cv2.INPAINT_*` of a region (H, W)."""
    import cv2

    images = case.image.reshape(-1, *case.image.shape[-3:])
    fill = lambda x: cv2.inpaint(
        np.uint8(np.round(255 * x)), np.uint8(where), 3, getattr(cv2, name)
    )
    made = np.stack([fill(image) for image in images])
    return np.float32(made / 255).reshape(case.image.shape)


def _boxed(case: Restoration) -> np.ndarray:
    """The box of a case, without one that of its rough mask, (H, W) booleans."""
    where = np.zeros(case.facts["rough"].shape, bool)
    if "box" in case.facts:
        y0, x0, y1, x1 = case.facts["box"]
        where[y0:y1, x0:x1] = True
        return where
    spans = [np.flatnonzero(case.facts["rough"].any(axis=1 - axis)) for axis in (0, 1)]
    where[tuple(slice(span[0], span[-1] + 1) for span in spans)] = True
    return where


PEERS: Mapping[str, Rival] = {
    "OpenCV, Telea, box": lambda case: _inpainted(case, "INPAINT_TELEA", _boxed(case)),
    "OpenCV, Navier-Stokes, box": lambda case: _inpainted(case, "INPAINT_NS", _boxed(case)),
    "OpenCV, Telea, rough mask": lambda case: _inpainted(
        case, "INPAINT_TELEA", case.facts["rough"]
    ),
    "OpenCV, Navier-Stokes, rough mask": lambda case: _inpainted(
        case, "INPAINT_NS", case.facts["rough"]
    ),
}
