"""The settings of watermark removal and its presets; see `watermark`."""

from collections.abc import Mapping
from typing import Literal

from deepinternal.config import (
    MaskConfig,
    Preset,
    Text,
    field,
    parsed,
    spelled,
    whole_numbers,
)
from deepinternal.methods.fit_config import FitConfig, Odd
from deepinternal.types import InputError

_BOX = "y0,x0,y1,x1, four whole numbers of pixels, the end excluded; '': none"


def _parse_box(text: str) -> tuple[int, ...]:
    try:
        box = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        box = (0,)
    if len(box) not in (0, 4):
        raise ValueError(f"must be {_BOX}")
    return box


class Config(FitConfig, MaskConfig):
    """Settings of watermark removal; the defaults are the published ones for one image."""

    task: Literal["single", "many"] = field(
        "single", "single: one image with a mark; many: several images with the same mark"
    )
    solver: Literal["nets", "cuts"] = field(
        "nets",
        "nets: all layers are fitted; cuts: the mark has one colour, its opacity at each pixel comes "
        "from minimum cuts, and the mixture is inverted, in seconds and without nets",
    )
    clean_steps: int = field(
        4000,
        "number of steps of single's first stage, which fits the image outside the region",
        unit="steps",
        ge=1,
    )
    fit_steps: int = field(
        7000, "number of steps of the stage that fits all layers", unit="steps", ge=1
    )
    mask: Text = field(
        "",
        "file or folder of masks for single, roughly white where the mark is; '': box gives the region",
    )
    box: parsed(tuple[int, ...], _parse_box, spelled, _BOX) = field(
        "", "rectangle around the mark for single; '': mask gives the region", unit="pixels"
    )
    margin: int = field(
        0,
        "width of the surroundings that are fitted with the region of the mark; 0: the whole image",
        unit="pixels",
        ge=0,
    )
    replicas: int = field(
        3, "number of seeds that are fitted side by side; the result is their median", ge=1
    )
    flips: int = field(
        4,
        "interval at which a step of single fits a mirrored or transposed image; 0: never",
        unit="steps",
        ge=0,
    )
    jitter_every: whole_numbers(at_least=1) = field(
        "300,700",
        "steps after which the standard deviation of the noise added to the nets' inputs grows by "
        "0.001, one number or one for each stage",
        unit="steps",
    )
    filters: Odd = field(5, "side of the kernels of the layers' nets", unit="pixels")

    def resolved(self) -> "Config":
        """The config itself. Raises InputError if `jitter_every` has more than two numbers."""
        if len(self.jitter_every) > 2:
            raise InputError(
                f"config.jitter_every={spelled(self.jitter_every)}: give one or two whole numbers"
            )
        return super().resolved()


PRESETS: Mapping[str, Preset] = {
    "single": Preset(
        {"task": "single"},
        "one image, with the published settings (the default of `train`; verbs and calls use `fast`)",
        "takes hours on a CPU",
    ),
    "many": Preset(
        {
            **{"task": "many", "fit_steps": 4000, "filters": 3, "flips": 0},
            **{"jitter_every": "400,400"},
        },
        "several images with the same mark, without a region, with the published settings",
        "takes hours on a CPU",
    ),
    "fast": Preset(
        {"solver": "cuts", "replicas": 1},
        "a mark of one colour; a single image without a region is searched for a mark that repeats",
        "six marks on five photographs on which nothing was chosen, each with a box: inside the mark, "
        "15.6 dB above the input on average (OpenCV's inpainting of the box 1.8, of a rough mask 6.5); "
        "3 CPU seconds on an AMD EPYC, 7 with the start of the program; on fotolia, a stock photograph "
        "of the authors, the mark is removed except for faint outlines",
    ),
    "smoke": Preset(
        {
            **{"solver": "nets", "steps": 8, "replicas": 1},
            **{"channels": "8,16", "skip": "0,4", "filters": 3},
        },
        "a few steps of tiny nets, to check that everything runs",
    ),
}
