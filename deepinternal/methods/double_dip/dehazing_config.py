"""The settings of dehazing and its presets; see `dehazing`."""

from collections.abc import Mapping
from typing import Literal

from deepinternal.config import Preset, field, numbers, parsed, spelled
from deepinternal.methods.fit_config import FitConfig, replicas_field

ESTIMATES = ("auto", "dark_channel")  # ways to estimate the airlight
_FORM = (
    "auto (patch recurrence), dark_channel, or red,green,blue, each greater than 0 and at most 1, such "
    "as 0.56,0.65,0.73"
)

_AMOUNT = "auto or a number from 0 to 1"


def _parse_airlight(text: str) -> str | tuple[float, ...]:
    if text in ESTIMATES:
        return text
    try:
        given = numbers(text)
    except ValueError:
        given = ()
    if len(given) != 3 or not all(0 < a <= 1 for a in given):
        raise ValueError(f"must be {_FORM}")
    return given


def _parse_amount(text: str) -> str | float:
    try:
        given = 0.0 if text == "auto" else float(text)
    except ValueError:
        given = -1.0
    if not 0 <= given <= 1:
        raise ValueError(f"must be {_AMOUNT}")
    return "auto" if text == "auto" else given


class Config(FitConfig):
    """Settings of dehazing; the defaults are the published ones, with a learned airlight."""

    pass_steps: int = field(4000, "number of steps of each pass", unit="steps", ge=1)
    anchor_until: int = field(
        1000,
        "steps at the start of each pass in which the airlight is pulled to its initial value",
        unit="steps",
        ge=1,
    )
    passes: int = field(
        2, "number of passes; the second one dehazes the result of the first", ge=1, le=2
    )
    airlight: parsed(str | tuple[float, ...], _parse_airlight, spelled, _FORM) = field(
        "auto",
        "initial colour of the haze; auto: estimated from patch recurrence; dark_channel: from the "
        "haziest pixels",
    )
    uniform: bool = field(
        False, "keep the initial airlight everywhere instead of learning an airlight for each pixel"
    )
    smoothness: float = field(
        0.005, "weight of the difference between the transmission and its blurred version", ge=0
    )
    transmission: Literal["learned", "estimated"] = field(
        "learned",
        "how the transmission is found; learned: with nets; estimated: from the darkest colours of "
        "windows, without training, and with a uniform airlight",
    )
    amount: parsed(str | float, _parse_amount, spelled, _AMOUNT) = field(
        "auto",
        "fraction of the haze that is removed if the transmission is estimated; auto: less where the "
        "image shows little evidence of haze",
    )
    replicas: int = replicas_field()
    fit_side: int = field(
        799,
        "greatest side of the fitted image, to which larger images are reduced; 0: only fit_pixels "
        "limits it",
        unit="pixels",
        ge=0,
    )


PRESETS: Mapping[str, Preset] = {
    "default": Preset(
        {}, "the published settings, with a learned airlight", "takes hours on a CPU"
    ),
    "uniform": Preset({"uniform": True}, "one fixed airlight for the whole image"),
    "fast": Preset(
        {"transmission": "estimated", "fit_side": 0},
        "estimates instead of nets, and less removed where there is little evidence of haze",
        "23 photographs of 320 pixels with three synthetic hazes each: mean PSNR 20.0 dB (hazy 12.9, "
        "dark channel prior 18.2), never below the hazy one; on the 33 of these 69 cases on which "
        "nothing was chosen 19.6 dB (12.7, 17.3); one of O-HAZE at 512 pixels: 18.5 dB (13.8, 14.4); "
        "2 s at 320 pixels on an AMD EPYC, and 6.5 s at 512 with the start of the program",
    ),
    "smoke": Preset(
        {"steps": 10, "fit_side": 96, "passes": 1, "channels": "8,16", "skip": "0,4"},
        "a few steps of tiny nets, to check that everything runs",
    ),
}
