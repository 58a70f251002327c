"""Settings of InGAN and its presets."""

import math
from collections.abc import Mapping

from deepinternal.config import MethodConfig, NoiseStd, Preset, field, numbers, parsed
from deepinternal.types import InputError

Scale = tuple[float, float]
_SCALE_FORM = "vertical,horizontal factors from 0.05 to 8, or one for both, such as 1,2"


def parse_scale(text: str) -> Scale:
    """Factors of an image's sides from text.

    Args:
        text: 'vertical,horizontal', or one factor for both.

    Raises:
        ValueError: something else stands there, or a factor is not from 0.05 to 8.
    """
    try:
        found = numbers(text)
    except ValueError:
        found = ()
    found = found * 2 if len(found) == 1 else found
    if len(found) != 2 or not all(0.05 <= factor <= 8 for factor in found):
        raise ValueError(f"must be {_SCALE_FORM}")
    return found


def _scale_text(scale: Scale) -> str:
    return ",".join(repr(factor).removesuffix(".0") for factor in scale)


def _parse_scales(text: str) -> tuple[Scale, ...]:
    return tuple(parse_scale(part) for part in text.split(";") if part.strip())


def _scales_text(scales: tuple[Scale, ...]) -> str:
    return ";".join(map(_scale_text, scales))


_Scale = parsed(Scale, parse_scale, _scale_text, _SCALE_FORM)
_Scales = parsed(
    tuple[Scale, ...], _parse_scales, _scales_text, f"{_SCALE_FORM}; several with ';', '' for none"
)


class Config(MethodConfig):
    """Settings of InGAN; the defaults are the published ones."""

    train_steps: int = field(75000, "steps of the training", unit="steps", ge=1)
    together: bool = field(
        False, "whether all files of config.input are one job: one net learns from all of them"
    )
    fit_side: int = field(
        0,
        "the net learns from the image reduced so that no side is over this; 0: from the whole one",
        unit="pixels",
        ge=0,
    )
    crop: int = field(
        256, "side of the crops that it trains on; less in smaller images", unit="pixels", ge=40
    )
    channels: int = field(64, "channels of the generator's first layer, a multiple of 4", ge=4)
    blocks: int = field(6, "residual blocks of the generator", ge=0)
    discriminator_channels: int = field(64, "channels of the discriminator's first layer", ge=1)
    ratio: float = field(1.4, "factor from one scale of the discriminator to the next", ge=1.2)
    smallest: float = field(
        0.15, "least factor of the sides of what is made in training", ge=0.05, lt=1
    )
    largest: float = field(2.25, "greatest factor of these sides", ge=1.01, lt=8)
    shapes: int = field(40, "sizes to train with, each of which is a program to compile", ge=1)
    antialias: bool = field(
        False, "whether images are smoothed when they are shrunk for the discriminator's scales"
    )
    hold: int = field(1, "steps for which a size is kept", unit="steps", ge=1)
    growth: int = field(
        10000, "steps in which the range of sizes and shifts grows to its width", unit="steps", ge=1
    )
    shift: float = field(
        0.0,
        "greatest shift of two corners in half widths, for shapes that are not rectangular",
        ge=0,
        lt=0.5,
    )
    cycle: float = field(0.1, "weight of the reconstruction of the image", ge=0)
    inverse_from: int = field(
        10000,
        "step from which the way back has an update of its own; -1: never",
        unit="steps",
        ge=-1,
    )
    swap: bool = field(False, "whether two rectangles of the crops are swapped")
    noise_std: NoiseStd = field(
        1 / 255 / math.sqrt(3),
        "standard deviation of the uniform noise added to what the nets see",
    )
    even_at: int = field(
        25000,
        "step at which all scales of the discriminator weigh the same; coarse ones weigh more before",
        unit="steps",
        ge=1,
    )
    learning_rate: float = field(5e-5, "learning rate of Adam", ge=0)
    decay_from: int = field(
        20000,
        "step from which the learning rate falls, to 0 at the end",
        unit="steps",
        ge=0,
    )
    detail: int = field(
        0,
        "rounds in which results at a greater size than the net's take their detail from patches of "
        "the full image; 0: they are enlarged by cubic interpolation",
        ge=0,
    )
    picture_every: int = field(
        200, "steps between pictures of the progress; 0: none", unit="steps", ge=0
    )
    average: float = field(
        0.0,
        "decay of the moving average of the generator that is used; 0: its last state",
        ge=0,
        lt=1,
    )
    result_scale: _Scale = field(
        "1,2", "vertical,horizontal factors of the image's sides that the result has"
    )
    samples: _Scales = field(
        "2,1;0.5,1;1,0.5;1.5,1.5", "such factors of further results; several with ';'"
    )

    def resolved(self) -> "Config":
        """The config itself. Raises InputError where `channels` is no multiple of 4."""
        if self.channels % 4:
            raise InputError(f"config.channels={self.channels}: must be a multiple of 4")
        return self


_NARROW = {
    **{"channels": 16, "blocks": 4, "discriminator_channels": 16, "ratio": 1.7, "antialias": True},
    **{"smallest": 0.5, "largest": 2.1, "inverse_from": -1, "average": 0.99, "detail": 3},
    "learning_rate": 4e-4,
}
PRESETS: Mapping[str, Preset] = {
    "default": Preset(
        {},
        "the published settings, for accelerators",
        "45 sizes to compile; not run at length: 75000 steps take days on a CPU",
    ),
    "nonrect": Preset({"shift": 0.45}, "shapes that are not rectangular"),
    "swap": Preset({"swap": True}, "learn to repair images with two rectangles swapped"),
    "many": Preset({"together": True}, "one net for several images"),
    "lite": Preset(
        {
            **_NARROW,
            **{"fit_side": 144, "crop": 128, "train_steps": 3600, "growth": 1000, "even_at": 3200},
            **{"shapes": 6, "decay_from": 2200},
        },
        "for machines without an accelerator: a narrow net that sees the image at no side over 144",
        "coins double, fruit in crates multiplies, larger objects do so in part; 930 s on the coins "
        "with two CPU cores, a third of it compiling of 11 sizes",
    ),
    "fast": Preset(
        {
            **_NARROW,
            **{"fit_side": 112, "crop": 96, "train_steps": 3000, "growth": 800, "even_at": 2800},
            **{"shapes": 2, "decay_from": 1900},
        },
        "half the time of `lite`, for sizes from the image's own on",
        "coins double at twice the width; 481 s on the coins with two CPU cores",
    ),
    "smoke": Preset(
        {
            **{"fit_side": 64, "crop": 48, "channels": 4, "blocks": 1, "discriminator_channels": 4},
            **{"train_steps": 6, "growth": 99, "even_at": 6, "inverse_from": -1, "decay_from": 3},
            **{"shapes": 1, "samples": "", "ratio": 3.0, "picture_every": 0},
        },
        "a few steps of tiny nets, to see that everything runs",
    ),
}
