"""Settings of KernelGAN."""

from collections.abc import Mapping
from typing import Literal

from deepinternal.config import (
    Auto,
    MethodConfig,
    NoiseStd,
    Preset,
    Text,
    field,
    parsed,
)
from deepinternal.config import (
    Config as BaseConfig,
)

_SCALE = "2 or 4, the factors that kernels are estimated for"


def _parse(text: str) -> int:
    try:
        factors = {float(part) for part in text.replace("x", ",").split(",")}
    except ValueError:
        factors = set()
    if factors not in ({2.0}, {4.0}):
        raise ValueError(f"must be {_SCALE}")
    return int(factors.pop())


class Estimation(BaseConfig):
    """How a kernel is estimated: what ZSSR's settings hold, too, as `estimation`."""

    train_steps: int = field(1000, "most steps of the estimation", unit="steps", ge=1)
    border: int = field(0, "what is not looked at on each side", unit="pixels", ge=0)
    replicas: int = field(2, "kernels estimated side by side, of which the best is taken", ge=1)
    features: int = field(64, "channels between the layers of both nets", ge=1)
    crop: int = field(64, "side of the crops that are downscaled", unit="pixels", ge=32)
    learning_rate: float = field(2e-4, "learning rate of Adam at first", ge=0)
    decay_every: int = field(
        200, "steps after which it falls tenfold, from nearness to cubic on", unit="steps", ge=1
    )
    covariance: float = field(1.0, "weight of the difference of patches' covariances", ge=0)
    sum: float = field(0.5, "weight of the distance of the kernel's sum from 1", ge=0)
    boundary: float = field(0.5, "weight of values near the kernel's border", ge=0)
    centre: float = field(1.0, "weight of the distance of its centre from the middle", ge=0)
    sparse: float = field(2.0, "weight of many small values", ge=0)
    negative: float = field(1.0, "weight of negative values", ge=0)
    bicubic: float = field(1.0, "weight of the difference from cubic downscaling at first", ge=0)
    bicubic_reached: float = field(
        0.1, "the difference, in units of the variance, at which that weight falls", ge=0
    )
    bicubic_every: int = field(100, "steps after which that weight falls", unit="steps", ge=1)
    bicubic_fall: float = field(100.0, "by what that weight is divided then", ge=1)
    faint: Literal["peak", "rank"] = field(
        "peak", "what is cut off: under 2 % of the peak, or by the 41st greatest value's rank"
    )
    evaluate_every: int = field(50, "steps between looks at the kernel", unit="steps", ge=1)
    settled: float = field(1e-3, "change between looks that counts as none; three end it", ge=0)


class Config(Estimation, MethodConfig):
    """Settings of KernelGAN."""

    scale: parsed(int, _parse, str, _SCALE) = field("2", "factor of the downscaling, 2 or 4")
    reference_kernel: Text = field("", "the true kernel, to score the estimate: file or folder")
    noise_std: Auto[NoiseStd] = field("auto", "deviation of the image's noise; auto: measured")


PRESETS: Mapping[str, Preset] = {
    "x2": Preset(
        {},
        "the kernel of a downscaling by 2 (default)",
        "the sample's slanted Gaussian: correlation .994 after 400 steps, 17 seconds on two CPU cores",
    ),
    "x4": Preset({"scale": "4"}, "the kernel of a downscaling by 4"),
    "published": Preset(
        {
            **{"covariance": 0.0, "train_steps": 3000, "decay_every": 750, "bicubic_every": 200},
            **{"replicas": 1, "settled": 0.0, "sparse": 5.0, "negative": 0.0, "faint": "rank"},
        },
        "the paper's losses alone",
        "the sample's slanted Gaussian: correlation .949 after 2850 steps, 29 s on two CPU cores",
    ),
    "fast": Preset(
        {"train_steps": 600, "decay_every": 250, "replicas": 1},
        "one seed and fewer steps",
        "the sample's slanted Gaussian: correlation .995 after 400 steps, 13 seconds on two CPU cores",
    ),
    "smoke": Preset(
        {"train_steps": 60, "replicas": 1, "features": 8, "bicubic_every": 5},
        "a few steps of tiny nets, to see that everything runs",
    ),
}
