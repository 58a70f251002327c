"""Samples for `benchmarks.gallery`: photographs that scikit-image bundles, degraded in known ways.

Each function makes the sample of one task. Images have 8 bits, as in files, and random numbers come
from NumPy generators with fixed seeds, so that a sample is the same wherever it is made.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepinternal.ops.kernels import centre_kernel, downscale, gaussian_kernel
from deepinternal.ops.resizing import resize

NOISE_STD = 30.0  # of 255, of the noisy photograph
KNOWN = 0.5  # share of the pixels that are known where most are missing
HAZE = 0.8  # density of the haze: t = exp(-HAZE * depth)
NEAR, FAR = 0.2, 1.8  # least and greatest depth
AIRLIGHT = (0.80, 0.84, 0.88)  # colour of the haze
MARK = 0.5  # opacity of the watermark, which is white
PASSED, REFLECTED = 0.75, 0.35  # shares of the light that a window lets through and reflects
SOFTNESS = 4.0  # standard deviation in pixels of the blur of the reflection

# The outline of the cup, its saucer and the spoon in the photograph `coffee`, drawn by hand: (x, y).
_OUTLINE = (
    *((285, 18), (320, 21), (350, 32), (378, 48), (396, 66), (403, 68), (413, 67), (422, 72)),
    *((424, 82), (418, 98), (436, 116), (456, 147), (472, 183), (479, 220), (477, 255), (468, 285)),
    *(
        (450, 315),
        (425, 342),
        (400, 360),
        (370, 374),
        (340, 383),
        (300, 388),
        (260, 387),
        (220, 379),
    ),
    *((190, 369), (150, 346), (125, 323), (100, 287), (85, 255), (77, 220), (78, 190), (85, 165)),
    *((97, 140), (110, 120), (130, 100), (150, 84), (170, 74), (182, 69), (190, 58), (205, 43)),
    *((230, 28), (260, 20)),
)
# Strokes as a user would paint them: lines through points (x, y).
_FOREGROUND = (
    ((110, 160), (100, 220), (130, 290), (190, 345), (300, 370), (400, 335), (455, 260)),
    ((185, 110), (230, 180), (300, 197), (370, 160)),
    ((340, 40), (270, 30), (210, 60)),
    ((250, 150), (330, 150)),
    ((230, 260), (300, 260), (360, 290)),
    ((412, 75), (405, 120)),
)
_BACKGROUND = (
    ((20, 20), (110, 20)),
    ((30, 130), (60, 220), (60, 300), (120, 370), (200, 393)),
    ((240, 8), (400, 20)),
    ((500, 120), (540, 220), (500, 340), (440, 380), (370, 392)),
)
_STROKE = 6  # width of a stroke in pixels


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a task is given, and what it should find.

    Attributes:
        photograph: The names of the photographs in `skimage.data`, and what was done to them.
        inputs: The arguments of the call by name; the first one is the image or the images.
        truth: What the result is compared with, if it is known.
    """

    photograph: str
    inputs: Mapping[str, Any]
    truth: Any = None

    @property
    def image(self) -> Any:
        """The image, or the list of images."""
        return next(iter(self.inputs.values()))


def halved() -> Sample:
    """The cat at half its size, by cubic downscaling with antialiasing."""
    photo = _photo("chelsea")[:, :450]
    return Sample("chelsea, halved", {"image": _rounded(resize(_float(photo), scale=0.5))}, photo)


def slanted_kernel() -> np.ndarray:
    """Returns a slanted Gaussian blur kernel (K, K) float32, centred for a downscaling by 2."""
    kernel = np.asarray(gaussian_kernel(17, (2.4, 1.0), theta=np.deg2rad(35)))
    return np.asarray(centre_kernel(kernel, 2))


def blurred() -> Sample:
    """The astronaut, blurred by `slanted_kernel` and reduced to every second pixel."""
    photo = _photo("astronaut")[192:512, :384]
    small = downscale(_float(photo), slanted_kernel(), 2)
    return Sample("astronaut, blurred and halved", {"image": _rounded(small)}, photo)


def noisy() -> Sample:
    """The cup of coffee with Gaussian noise of `NOISE_STD`."""
    photo = _photo("coffee")
    noise = np.random.default_rng(1).normal(0, NOISE_STD, photo.shape)
    return Sample("coffee, with noise", {"image": _rounded((photo + noise) / 255)}, photo)


def sparse() -> Sample:
    """The astronaut with a random share `KNOWN` of its pixels; the others are black."""
    photo = _photo("astronaut")[20:180, 120:320]
    mask = np.random.default_rng(2).random(photo.shape[:2]) < KNOWN
    image = np.where(mask[..., None], photo, 0).astype(np.uint8)
    return Sample("astronaut, half of its pixels", {"image": image, "mask": mask}, photo)


def torn() -> Sample:
    """The tissue of `immunohistochemistry` with holes; the holes are black."""
    photo = _photo("immunohistochemistry")[-240:, -300:]
    mask = ~(
        polygon(photo.shape, [(20, 160), (130, 60), (150, 85), (40, 190)])
        | polygon(photo.shape, [(200, 20), (255, 20), (255, 75), (200, 75)])
    )
    image = np.where(mask[..., None], photo, 0).astype(np.uint8)
    return Sample("immunohistochemistry, with holes", {"image": image, "mask": mask}, photo)


def stroked() -> Sample:
    """The cup of coffee with strokes on the cup and on the table; the outline is drawn by hand."""
    photo = _photo("coffee")
    inputs = {
        "image": photo,
        "foreground": strokes(photo.shape, _FOREGROUND),
        "background": strokes(photo.shape, _BACKGROUND),
    }
    return Sample("coffee", inputs, polygon(photo.shape, _OUTLINE))


def hazy() -> Sample:
    """The cup of coffee at half its size in haze; the depth grows evenly from below to above."""
    photo = _rounded(resize(_float(_photo("coffee")), scale=0.5))
    depth = np.linspace(FAR, NEAR, photo.shape[0])[:, None] * np.ones(photo.shape[:2])
    return Sample("coffee, halved, with haze", {"image": haze(photo, depth)}, photo)


def haze(photo: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Returns a photograph in haze of the colour `AIRLIGHT`: t J + (1 - t) A, t = exp(-HAZE depth).

    Args:
        photo: (H, W, 3) uint8.
        depth: (H, W), positive.
    """
    t = np.exp(-HAZE * depth)[..., None]
    return _rounded(t * _float(photo) + (1 - t) * np.array(AIRLIGHT))


def mirrored() -> Sample:
    """The motorcycle behind a window, with the cup of coffee as a soft reflection: I = B + R.

    The truth is B, the motorcycle as seen through the glass.
    """
    import skimage.data

    photo = resize(_float(skimage.data.stereo_motorcycle()[0]), scale=0.5)[:240, :300]
    other = resize(_float(_photo("coffee")), scale=0.65)[:240, 40:340]
    image, behind = reflection(np.asarray(photo), np.asarray(other))
    return Sample("motorcycle, with a reflection of coffee", {"image": image}, behind)


def reflection(photo: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Composites a scene behind a window with a reflection that is out of focus.

    Args:
        photo: The scene, (H, W, 3) in [0, 1].
        other: What is reflected, of the same shape.

    Returns:
        The image, and the scene as seen through the glass; uint8.
    """
    from scipy import ndimage

    soft = ndimage.gaussian_filter(other, (SOFTNESS, SOFTNESS, 0))
    return _rounded(PASSED * photo + REFLECTED * soft), _rounded(PASSED * photo)


def marked() -> Sample:
    """The astronaut under a white watermark of the opacity `MARK`."""
    photo = _photo("astronaut")[:320, :400]
    box = (130, 60, 190, 340)
    matte = MARK * word("DO NOT COPY", photo.shape, box)[..., None]
    image = _rounded((1 - matte) * _float(photo) + matte)
    return Sample("astronaut, with a watermark", {"image": image, "box": box}, photo)


def coins() -> Sample:
    """The photograph of coins, which is grey."""
    photo = _photo("coins")
    return Sample("coins", {"image": photo})


def galaxies() -> Sample:
    """A part of the Hubble deep field."""
    return Sample(
        "hubble_deep_field, a part", {"image": _photo("hubble_deep_field")[300:540, 400:640]}
    )


def polygon(shape: Sequence[int], points: Sequence[tuple[float, float]]) -> np.ndarray:
    """Returns (H, W) booleans that are true inside a polygon with corners (x, y)."""
    from skimage import draw

    x, y = np.transpose(points)
    return draw.polygon2mask(shape[:2], np.stack([y, x], -1))


def strokes(shape: Sequence[int], lines: Sequence[Sequence[tuple[int, int]]]) -> np.ndarray:
    """Returns (H, W) booleans that are true on lines through points (x, y)."""
    from PIL import Image, ImageDraw

    canvas = Image.new("L", (shape[1], shape[0]))
    for line in lines:
        ImageDraw.Draw(canvas).line(line, fill=255, width=_STROKE, joint="curve")
    return np.asarray(canvas) > 0


def word(text: str, shape: Sequence[int], box: Sequence[int]) -> np.ndarray:
    """Returns (H, W) in [0, 1] with a text in the middle of a box (y0, x0, y1, x1)."""
    from PIL import Image, ImageDraw, ImageFont

    y0, x0, y1, x1 = box
    canvas = Image.new("L", (shape[1], shape[0]))
    font = ImageFont.load_default(round(0.65 * (y1 - y0)))
    middle = ((x0 + x1) / 2, (y0 + y1) / 2)
    ImageDraw.Draw(canvas).text(middle, text, fill=255, font=font, anchor="mm")
    return np.asarray(canvas, np.float64) / 255


def _photo(name: str) -> np.ndarray:
    import skimage.data

    return getattr(skimage.data, name)()


def _float(photo: np.ndarray) -> np.ndarray:
    return photo.astype(np.float32) / 255


def _rounded(image: Any) -> np.ndarray:
    """Rounds an image in [0, 1] to 8 bits."""
    return np.uint8(np.round(255 * np.clip(np.asarray(image, np.float64), 0, 1)))
