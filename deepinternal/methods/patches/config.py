"""The settings and the presets of the method `patches`."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from deepinternal.config import Auto, MaskConfig, Preset, Text, field, numbers, parsed
from deepinternal.methods.factors import LEAST, MOST, ScaleField, scale_text, scaled
from deepinternal.types import InputError

Size = tuple[int, int]
LARGEST = 32768  # greatest side of a result, in pixels
_SIZE_FORM = f"height,width in pixels from 1 to {LARGEST}, such as 224,548, or ''"


def _parse_size(text: str) -> Size | None:
    if not text.strip():
        return None
    try:
        found = numbers(text)
    except ValueError:
        found = ()
    if len(found) != 2 or not all(1 <= n <= LARGEST and n == int(n) for n in found):
        raise ValueError(f"must be {_SIZE_FORM}")
    return tuple(map(int, found))


def _size_text(size: Size | None) -> str:
    return ",".join(map(str, size)) if size else ""


_Size = parsed(Size | None, _parse_size, _size_text, _SIZE_FORM)


# The values of fields that are 'auto'.
_STANDARD = {
    **{"result_scale": (1.0, 1.0), "smallest": 24, "ratio": 4 / 3, "alpha": 0.00125},
    **{"position": 0.0, "votes": 0.0, "iterations": 5},
}
_OF_TASK: Mapping[str, Mapping[str, Any]] = {
    "retarget": {
        "result_scale": (1.0, 2.0),
        "position": 1.0,
        "votes": 1.0,
        "alpha": 0.0,
        "ratio": 2.0,
        "iterations": 8,
    },
    "inpaint": {"alpha": 0.0, "ratio": 2.0},
    "structure": {"smallest": 48, "alpha": 0.0},
    "collage": {"result_scale": (1.0, 0.75), "position": 1.0, "votes": 1.0, "alpha": 0.0},
}


class Config(MaskConfig):
    """Settings of the method `patches`."""

    task: Literal["retarget", "generate", "edit", "inpaint", "structure", "collage"] = field(
        "retarget",
        "what is made; retarget: the image at another size; generate: random images like it; edit: a "
        "rough edit made plausible; inpaint: the image without its holes; structure: the image's "
        "content in the layout of another one; collage: one image of the content of several",
    )
    algorithm: Literal["gpnn", "bidir", "seams"] = field(
        "gpnn",
        "algorithm that makes the result; gpnn: nearest patches from coarse to fine; bidir: "
        "bidirectional similarity, only for retarget; seams: seam carving, only for retarget",
    )
    result_scale: Auto[ScaleField] = field(
        "auto",
        "vertical,horizontal factors of the result's sides relative to the image's, for structure "
        "those of layout, for collage those of the images side by side; auto: 1,2 for retarget, 1,0.75 "
        "for collage, 1 for other tasks",
    )
    result_size: _Size = field(
        "", "height,width of the result, instead of result_scale; '': not used", unit="pixels"
    )
    samples: int = field(1, "number of results from different random draws", ge=1, le=64)
    mask: Text = field(
        "",
        "file or folder of masks; inpaint: white where the image is known; edit: white where the "
        "edited image must stay; '': transparent pixels are missing for inpaint, nothing must stay "
        "for edit",
    )
    layout: Text = field(
        "",
        "file or folder of images whose layout the result has; edit: the roughly edited image; "
        "structure: the other image",
    )
    patch: int = field(7, "side of a patch", unit="pixels", ge=3, le=15)
    smallest: Auto[Annotated[int, Ge(8)]] = field(
        "auto",
        "least side of the image and the result at the coarsest scale; auto: 48 for structure, 24 "
        "for other tasks",
        unit="pixels",
    )
    ratio: Auto[Annotated[float, Ge(1.1), Le(2)]] = field(
        "auto",
        "ratio of the sizes of two successive scales; auto: 2 for retarget and inpaint, 4/3 for other "
        "tasks",
    )
    fine_ratio: float = field(
        2.25,
        "greatest ratio of the sizes of two successive fine scales, whose patches are searched by "
        "propagation",
        ge=1.1,
        le=4,
    )
    iterations: Auto[Annotated[int, Ge(1)]] = field(
        "auto",
        "number of steps at each scale and at each size of the coarsest scale; auto: 8 for retarget, 5 "
        "for other tasks",
    )
    growth: float = field(
        1.1,
        "greatest ratio of two successive sizes of the coarsest scale, at which retarget changes the "
        "size gradually",
        ge=1.01,
        le=8,
    )
    alpha: Auto[Annotated[float, Ge(0)]] = field(
        "auto",
        "tolerance for patches of the image that the result neglects: the distance to a patch is "
        "divided by alpha plus the least distance of the result's patches from it, as mean squared"
        " differences of values in [0, 1]; 0: distances are not divided; auto: 0 for retarget, "
        "collage, inpaint and structure, 0.00125 for other tasks",
    )
    votes: Auto[Annotated[float, Ge(0)]] = field(
        "auto",
        "weight of the votes of the source's patches, each at its nearest patch of the guess, relative "
        "to the votes for the guess's patches; auto: 1 for retarget and collage, else 0",
    )
    position: Auto[Annotated[float, Ge(0)]] = field(
        "auto",
        "weight, in the distance of two patches at coarse scales, of the squared difference of their "
        "relative positions; a large weight keeps the image's layout; auto: 1 for retarget and "
        "collage, else 0",
    )
    trials: int = field(
        1,
        "number of first guesses of each sample; the best of their coarse results is kept",
        ge=1,
        le=64,
    )
    noise: float = field(
        0.2,
        "standard deviation, relative to that of the image, of the noise in the first guesses of "
        "generate, and in all trials and samples but the first",
        ge=0,
    )
    shift: float = field(
        0.3,
        "greatest distance by which parts of the image are moved for the first guess of generate, "
        "relative to the image's sides",
        ge=0,
        le=4,
    )

    def resolved(self) -> "Config":
        """Replaces 'auto'. Raises InputError if fields contradict each other."""
        classical = self.algorithm != "gpnn"
        if classical and self.task != "retarget":
            raise InputError(
                f"config.task={self.task}: algorithm={self.algorithm} can only retarget; use "
                "algorithm=gpnn"
            )
        if classical and self.samples > 1:
            raise InputError(
                f"config.samples={self.samples}: must be 1 for algorithm={self.algorithm}, which makes "
                "only one result; use algorithm=gpnn for several"
            )
        if self.result_size and self.result_scale != "auto":
            raise InputError(
                f"config.result_size={_size_text(self.result_size)}, config.result_scale="
                f"{scale_text(self.result_scale)}: give only one of them"
            )
        standard = {**_STANDARD, **_OF_TASK.get(self.task, {})}
        if self.result_size:
            del standard["result_scale"]
        missing = {name: x for name, x in standard.items() if getattr(self, name) == "auto"}
        return self.model_copy(update=missing)

    def size(self, image: Size) -> Size:
        """Returns the size (H, W) of the result for an image of size (H, W).

        Raises:
            InputError: `result_size` is much smaller or larger than the image.
        """
        if size := self.result_size:
            if not all(LEAST <= n / m <= MOST for n, m in zip(size, image)):
                raise InputError(
                    f"config.result_size={_size_text(size)}: the sides must be from {LEAST:g} to "
                    f"{MOST:g} times those of the image, which is {image[0]}x{image[1]}"
                )
            return size
        return scaled(image, self.resolved().result_scale)


def least_side(config: Config) -> int:
    """Returns the least side, in pixels, of an image and of a result."""
    return max(config.smallest, config.patch + 1)


def counts(start: int, end: int, factor: float) -> int:
    """Returns the number of steps from one length to another, each by at most a factor."""
    return math.ceil(abs(math.log(end / start)) / math.log(factor) - 1e-9)


PRESETS: Mapping[str, Preset] = {
    "retarget": Preset({"task": "retarget"}, "the image at another size (the default task)"),
    "generate": Preset(
        {"task": "generate", "samples": 4}, "random images with the patches of the image"
    ),
    "edit": Preset({"task": "edit"}, "a rough edit, given as layout, made plausible"),
    "inpaint": Preset({"task": "inpaint"}, "holes of the image filled with its own patches"),
    "structure": Preset(
        {"task": "structure"}, "the content of the image in the layout of another one"
    ),
    "collage": Preset({"task": "collage"}, "one image of the content of several"),
    "gpnn": Preset(
        {"algorithm": "gpnn"},
        "nearest patches from coarse to fine (the default algorithm)",
        "17 s for 224x274 to twice the width with two CPU cores, of which much is compiling",
    ),
    "bidir": Preset(
        {"algorithm": "bidir", "ratio": 2.0, "iterations": 4},
        "bidirectional similarity (Simakov et al. 2008), only for retarget",
        "12 s for 224x274 to twice the width with two CPU cores",
    ),
    "seams": Preset(
        {"algorithm": "seams"}, "seam carving (Avidan and Shamir 2007), only for retarget"
    ),
    "default": Preset({}, "the defaults"),
    "fast": Preset({"trials": 1}, "the defaults, which take seconds; a single trial"),
    "smoke": Preset(
        {"iterations": 1, "smallest": 40, "ratio": 2.0, "growth": 8.0, "samples": 1, "trials": 1},
        "one step at each of a few scales, to check that everything runs",
    ),
}
