"""The settings and the presets of the method `denoise`."""

from collections.abc import Mapping
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from deepinternal.config import Auto, MaskConfig, NoiseStd, Preset, Text, field

OnOff = Literal["auto", "on", "off"]


class Config(MaskConfig):
    """Settings of the method `denoise`."""

    algorithm: Literal["auto", "ridge", "pairs", "blindspot", "bayes"] = field(
        "auto",
        "how the noise is removed and missing pixels are filled in; auto: bayes if more than a "
        "tenth of the pixels are missing, or any pixel of an image without noise; otherwise ridge, "
        "if there is noise; ridge: by linear combinations of similar patches; pairs: by a small "
        "net that is trained on pairs of noisy versions of the image; blindspot: by a net that is "
        "trained to predict pixels that it does not see; bayes: by the normal distribution of "
        "similar patches",
    )
    noise_std: NoiseStd = field(
        0.0,
        "standard deviation of the image's noise, at its mean brightness if it depends on that; 0: "
        "measured",
    )
    noise_gain: Auto[Annotated[float, Ge(0)]] = field(
        "auto",
        "variance of the noise at white, 1, minus its variance at black, 0, for noise that grows with "
        "the brightness; auto: measured; 0: the noise does not depend on the brightness",
    )
    correlated: OnOff = field(
        "auto", "whether the noise of neighbouring pixels is correlated; auto: measured"
    )
    impulses: OnOff = field(
        "auto",
        "whether the image has impulse noise, single wrong pixels, which are replaced from their "
        "neighbours first; auto: measured",
    )
    jpeg: OnOff = field("auto", "whether the image counts as a JPEG; auto: measured")
    strength: float = field(
        1.0,
        "factor on the standard deviation of the noise, larger for a smoother result; 0: nothing is "
        "removed",
        ge=0,
        le=10,
    )
    mask: Text = field(
        "",
        "file or folder of masks, white where the image is known; the other pixels are filled in by "
        "bayes and blindspot, and replaced from their neighbours first by ridge and pairs; '': all "
        "pixels are known",
    )
    stride: int = field(
        4, "stride of the patches around which ridge and bayes form groups", ge=1, le=8
    )
    reach: int = field(
        18, "greatest distance, along each axis, of the patches of a group", unit="pixels", ge=2
    )
    rounds: int = field(
        20,
        "number of rounds of bayes, each of which begins with the result of the one before",
        ge=1,
    )
    pairs_kind: Literal["auto", "halves", "banks"] = field(
        "auto",
        "where pairs takes its noisy versions of the image from; auto: banks if the noise of "
        "neighbouring pixels is correlated, otherwise halves; halves: the image at half its size; "
        "banks: pixels with similar surroundings",
    )
    train_steps: int = field(
        0,
        "number of training steps; 0: 6000 for pairs by halves, 1000 by banks, 600 for blindspot",
        unit="steps",
        ge=0,
    )
    learning_rate: float = field(0.005, "greatest learning rate of pairs", gt=0)
    crop: int = field(64, "side of the crops that pairs trains on", unit="pixels", ge=8)
    crops: int = field(1, "number of crops in a training step of pairs", ge=1)
    candidates: int = field(
        16, "number of pixels with similar surroundings in a bank of pairs", ge=2, le=128
    )
    drawn: int = field(
        4,
        "number of pixels of a bank whose mean is the input of the net of pairs, less than candidates",
        ge=1,
    )
    window: int = field(
        10,
        "greatest distance, along each axis, of the pixels of a bank",
        unit="pixels",
        ge=2,
        le=120,
    )
    draws: int = field(
        8,
        "number of draws from the banks, or of mirrored images, whose results pairs averages",
        ge=1,
    )
    hidden: Annotated[float, Gt(0), Lt(1)] = field(
        0.2, "share of the known pixels that blindspot hides from its net at each step"
    )
    masks: int = field(
        30, "number of choices of hidden pixels whose results blindspot averages", ge=1
    )

    def resolved(self) -> "Config":
        """Returns the config itself: 'auto' is replaced for each image, see `decisions`."""
        return self


PRESETS: Mapping[str, Preset] = {
    "auto": Preset(
        {"algorithm": "auto"},
        "ridge with the measured noise, if there is any (the default; `fast` is the same)",
    ),
    "ridge": Preset(
        {"algorithm": "ridge"}, "similar patches, combined linearly (NL-Ridge, 2024), in seconds"
    ),
    "pairs": Preset(
        {"algorithm": "pairs"},
        "a small net, trained on the image (zero-shot Noise2Noise, 2023); slower than ridge, "
        "and behind it in our measurements",
    ),
    "blindspot": Preset(
        {"algorithm": "blindspot"},
        "a net that is trained to predict pixels that it does not see (Self2Self, 2020)",
        "128x128 pixels, half of them missing: the centre of barbara (image 09 of Set12), on which the "
        "settings were chosen, to 33.59 dB in 81 CPU seconds of an AMD EPYC, where auto reaches 39.65 "
        "dB in 3; the centre of image 04 to 31.50 dB, auto 31.32",
    ),
    "default": Preset({}, "the defaults"),
    "fast": Preset({}, "the defaults, which take seconds"),
    "smoke": Preset(
        {
            "reach": 4,
            "stride": 6,
            "train_steps": 20,
            "crops": 1,
            "draws": 2,
            "masks": 2,
            "rounds": 2,
        },
        "few patches and steps, to check that everything runs",
    ),
}
