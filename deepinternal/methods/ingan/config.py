"""The settings and the presets of InGAN."""

import math
from collections.abc import Mapping

from deepinternal.config import NetConfig, NoiseStd, Preset, field, parsed
from deepinternal.methods.factors import FORM, Scale, ScaleField, parse_scale, scale_text
from deepinternal.types import InputError


def _parse_scales(text: str) -> tuple[Scale, ...]:
    return tuple(parse_scale(part) for part in text.split(";") if part.strip())


def _scales_text(scales: tuple[Scale, ...]) -> str:
    return ";".join(map(scale_text, scales))


_Scales = parsed(
    tuple[Scale, ...],
    _parse_scales,
    _scales_text,
    f"{FORM}; several separated by ';', or '' for none",
)


class Config(NetConfig):
    """Settings of InGAN; the defaults are the published ones."""

    train_steps: int = field(75000, "number of training steps", unit="steps", ge=1)
    together: bool = field(
        False, "train one net on all files of config.input together, as a single job"
    )
    fit_side: int = field(
        0,
        "greatest side of the image that the net learns from, to which larger images are reduced; "
        "0: only fit_pixels limits it",
        unit="pixels",
        ge=0,
    )
    fit_pixels: int = field(
        1_200_000,
        "greatest number of pixels of the image that the net learns from, to which larger images are "
        "reduced; 0: no limit",
        unit="pixels",
        ge=0,
    )
    crop: int = field(
        256, "side of the training crops; smaller in smaller images", unit="pixels", ge=40
    )
    channels: int = field(64, "channels of the generator's first layer, a multiple of 4", ge=4)
    blocks: int = field(6, "number of residual blocks of the generator", ge=0)
    discriminator_channels: int = field(64, "channels of the discriminator's first layer", ge=1)
    ratio: float = field(
        1.4, "ratio of the sizes of two successive scales of the discriminator", ge=1.2
    )
    smallest: float = field(
        0.15, "smallest factor by which training changes the sides of a crop", ge=0.05, lt=1
    )
    largest: float = field(
        2.25, "greatest factor by which training changes the sides of a crop", ge=1.01, lt=8
    )
    shapes: int = field(
        44,
        "number of sizes in training, besides the crop's own; each is a program to compile. The first "
        "four change one side to its greatest or least length, the next four are near the crop's size",
        ge=1,
    )
    antialias: bool = field(
        False, "smooth images before they are reduced for the scales of the discriminator"
    )
    hold: int = field(1, "steps for which a drawn size is kept", unit="steps", ge=1)
    growth: int = field(
        10000,
        "steps over which the range of sizes and shifts grows to its full width",
        unit="steps",
        ge=1,
    )
    shift: float = field(
        0.0,
        "greatest shift of two corners, in half widths of the image, for shapes that are not "
        "rectangular; 0: rectangles only",
        ge=0,
        lt=0.5,
    )
    cycle: float = field(0.1, "weight of the reconstruction of the image", ge=0)
    inverse_from: int = field(
        10000,
        "step from which the generator gets a second update, for the reconstruction alone; -1: never",
        unit="steps",
        ge=-1,
    )
    swap: bool = field(
        False, "swap two rectangles of the crops, so that the net learns to repair them"
    )
    noise_std: NoiseStd = field(
        1 / 255 / math.sqrt(3),
        "standard deviation of the uniform noise added to the images that the nets see",
    )
    even_at: int = field(
        25000,
        "step at which all scales of the discriminator have equal weight; before it, coarse scales "
        "have more",
        unit="steps",
        ge=1,
    )
    learning_rate: float = field(5e-5, "initial learning rate of Adam", ge=0)
    decay_from: int = field(
        20000,
        "step from which the learning rate falls linearly, to 0 at the last step",
        unit="steps",
        ge=0,
    )
    detail: int = field(
        0,
        "number of scales, from coarse to full size, at which patches of the full image sharpen the "
        "net's picture; 0: results are enlarged by cubic interpolation instead",
        ge=0,
    )
    picture_every: int = field(
        200, "steps between pictures of the progress; 0: none", unit="steps", ge=0
    )
    average: float = field(
        0.0,
        "decay of the moving average of the generator's weights; 0: the last weights are used",
        ge=0,
        lt=1,
    )
    result_scale: ScaleField = field(
        "1,2", "vertical,horizontal factors of the result's sides relative to the image's"
    )
    samples: _Scales = field(
        "2,1;0.5,1;1,0.5;1.5,1.5",
        "vertical,horizontal factors of further results, separated by ';'; '': none",
    )

    def resolved(self) -> "Config":
        """The config itself. Raises InputError if `channels` is not a multiple of 4."""
        if self.channels % 4:
            raise InputError(f"config.channels={self.channels}: must be a multiple of 4")
        return self


_NARROW = {
    **{"fit_side": 96, "crop": 88, "channels": 16, "blocks": 3, "discriminator_channels": 16},
    **{"ratio": 2.0, "antialias": True, "smallest": 0.5, "largest": 2.1, "inverse_from": -1},
    **{"learning_rate": 4e-4, "average": 0.99, "detail": 4, "cycle": 0.5, "growth": 200},
}
PRESETS: Mapping[str, Preset] = {
    "default": Preset(
        {},
        "the published settings, for accelerators",
        "45 sizes to compile; not measured in full: 75000 steps take days on a CPU",
    ),
    "nonrect": Preset(
        {"shift": 0.45},
        "results whose shape is not rectangular",
        "fast,nonrect: in 25 shapes, scikit-image's coins stay sharp, and nearly all stay whole; about "
        "160 s on two CPU cores",
    ),
    "swap": Preset({"swap": True}, "repair of images in which two rectangles are swapped"),
    "many": Preset({"together": True}, "one net for several images"),
    "lite": Preset(
        {
            **_NARROW,
            **{"train_steps": 1600, "even_at": 1300, "decay_from": 1000, "shapes": 4},
        },
        "for machines without an accelerator: a narrow net decides the layout at sides of at most 96 "
        "pixels, and patches of the full image give the detail",
        "at twice the width, there are more coins instead of wider ones; 160 to 170 s on two CPU "
        "cores (half of the CPU seconds), a third of which is spent compiling 5 sizes; 2400 steps "
        "took 260 s and were no better",
    ),
    "fast": Preset(
        {
            **_NARROW,
            **{"train_steps": 1600, "even_at": 1300, "decay_from": 1000, "shapes": 2},
        },
        "lite with 3 sizes, for results that are at least as large as the image",
        "at twice the width, six coins become thirteen round ones, but at 1.5 times both sides "
        "they are smeared; about 110 s on two CPU cores (half of the CPU seconds)",
    ),
    "smoke": Preset(
        {
            **{"fit_side": 64, "crop": 48, "channels": 4, "blocks": 1, "discriminator_channels": 4},
            **{"train_steps": 6, "growth": 99, "even_at": 6, "inverse_from": -1, "decay_from": 3},
            **{"shapes": 1, "samples": "", "ratio": 3.0, "picture_every": 0},
        },
        "a few steps of tiny nets, to check that everything runs",
    ),
}
