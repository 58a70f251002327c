"""The settings of segmentation and its presets; see `segmentation`."""

from collections.abc import Mapping
from typing import Annotated, Literal

from deepinternal.config import Label, MaskConfig, Preset, Text, field
from deepinternal.field_forms import Form
from deepinternal.methods.fit_config import Channels, FitConfig, Skip


class Config(FitConfig, MaskConfig):
    """Settings of segmentation; the defaults are the published ones."""

    hint_steps: int = field(
        2000,
        "number of steps of the first stage, which fits the hints; with spread, there is no such stage",
        unit="steps",
        ge=1,
    )
    fit_steps: int = field(
        4000, "number of steps of the second stage, which fits the image", unit="steps", ge=1
    )
    hints_until: int = field(
        1000, "first steps of the second stage, which also fit the hints", unit="steps", ge=1
    )
    more_steps: int = field(
        0,
        "number of steps with which a finished run continues after its hints have changed; 0: a tenth "
        "of fit_steps",
        unit="steps",
        ge=0,
    )
    foreground: Text = field(
        "",
        "file or folder of masks, white where a pixel is surely foreground; '': the hints are "
        "estimated from the image",
    )
    background: Text = field(
        "",
        "file or folder of masks, white where a pixel is surely background; '': the hints are "
        "estimated from the image",
    )
    background_label: Label = field(
        "any",
        "like label, but for background; 0: the pixels without an object in an image of labels",
    )
    hints: Annotated[Literal["", "auto"], Form("auto or empty")] = field(
        "",
        "auto: the hints are estimated from the image; '': only where foreground and background are "
        "empty",
    )
    hint_share: float = field(
        0.06,
        "fraction of the pixels that the estimated hints mark as foreground, and as background",
        ge=0.001,
        lt=0.5,
    )
    spread: bool = field(
        False,
        "spread the hints over the image: small nets learn how the hinted pixels look, and a minimum "
        "cut makes the mask, each part of which is connected with a hint",
    )
    layers: bool = field(True, "output the two layers as well as the mask")
    edges: int = field(
        50,
        "radius, in the fitted image, of the filter that fits the mask to the image's edges",
        unit="pixels",
        ge=1,
    )
    jitter: float = field(
        1e-3,
        "standard deviation of the noise added to the nets' inputs: its growth per 100 steps during "
        "the first 1000 steps, and its value afterwards",
        ge=0,
    )
    fit_side: int = field(
        0,
        "greatest side of the fitted image, to which larger images are reduced; 0: only fit_pixels "
        "limits it",
        unit="pixels",
        ge=0,
    )
    channels: Channels = field(
        "8,16,32", "channels of the nets at each scale, the finest scale first"
    )
    skip: Skip = field(
        "0",
        "channels of the skip branches, one number for all scales or one for each; 0: no branch",
    )
    target: float = field(30.0, "PSNR of the reconstruction at which the fit ends", unit="dB", ge=1)


# The fields after whose change a finished run continues.
CONTINUED = ("foreground", "background", "label", "background_label", "hints", "more_steps")
PRESETS: Mapping[str, Preset] = {
    "default": Preset({}, "the published settings", "takes hours on a CPU"),
    "fast": Preset(
        {
            **{"fit_side": 160, "fit_steps": 100, "learning_rate": 8e-3, "schedule": "cosine"},
            "jitter": 0.0,
            "spread": True,
        },
        "a mask by appearance and edges, and fewer steps for the layers on a smaller image",
        "ten photographs of 481x321, five of them used to choose settings, with strokes on 3.4 % of "
        "the pixels: mean IoU .905, outlines 2.9 pixels off (GrabCut .802, 10.2; GrabCut limited to "
        "the parts connected with a stroke .821, 7.3); on 1.4 %: .760, 8.9 (.723, 14.9; limited .768, "
        "9.7); 30 s on two cores of an AMD EPYC, 26 of them to compile, and 4 s for further images of "
        "that size",
    ),
    "preview": Preset(
        {"spread": True, "layers": False},
        "the mask of `fast` without the layers",
        "the IoU of `fast`; 11 s, and 1.4 s for further images of that size",
    ),
    "smoke": Preset(
        {"steps": 15, "fit_side": 96, "channels": "4,8", "skip": "0"},
        "a few steps of tiny nets, to check that everything runs",
    ),
}
