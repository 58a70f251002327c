"""The settings and the presets of KernelGAN."""

from collections.abc import Mapping
from typing import Literal

from deepinternal.config import Auto, NetConfig, NoiseStd, Preset, Text, field, parsed

_SCALE = "2 or 4"


def _parse(text: str) -> int:
    try:
        factors = {float(part) for part in text.replace("x", ",").split(",")}
    except ValueError:
        factors = set()
    if factors not in ({2.0}, {4.0}):
        raise ValueError(f"must be {_SCALE}")
    return int(factors.pop())


class Config(NetConfig):
    """Settings of KernelGAN."""

    scale: parsed(int, _parse, str, _SCALE) = field(
        "2", "factor of the downscaling whose kernel is estimated"
    )
    reference_kernel: Text = field(
        "", "file or folder of true kernels, to score the estimate; '': it is not scored"
    )
    noise_std: Auto[NoiseStd] = field(
        "auto", "standard deviation of the image's noise; auto: measured"
    )
    family: Literal["free", "gaussian"] = field(
        "free",
        "free: kernels of any shape, by the GAN; gaussian: Gaussians, without training, so that most "
        "other fields have no effect",
    )
    train_steps: int = field(1000, "greatest number of steps of the estimation", unit="steps", ge=1)
    border: int = field(
        0, "width of the image's border that is ignored on each side", unit="pixels", ge=0
    )
    replicas: int = field(
        2, "number of seeds trained side by side; the best kernel among theirs is used", ge=1
    )
    features: int = field(64, "channels between the layers of both nets", ge=1)
    crop: int = field(64, "side of the crops that the generator downscales", unit="pixels", ge=32)
    learning_rate: float = field(2e-4, "initial learning rate of Adam", ge=0)
    decay_every: int = field(
        200,
        "steps between tenfold falls of the learning rate, counted from the step at which the "
        "kernel is near the cubic one",
        unit="steps",
        ge=1,
    )
    covariance: float = field(
        1.0,
        "weight of the divergence between the patch covariances of the image and of its downscaled "
        "version; 0: not used",
        ge=0,
    )
    sum: float = field(0.5, "weight of the distance between the kernel's sum and 1", ge=0)
    boundary: float = field(0.5, "weight of the kernel's values near its border", ge=0)
    centre: float = field(
        1.0, "weight of the distance between the kernel's centre of mass and its middle", ge=0
    )
    sparse: float = field(2.0, "weight of the term that makes the kernel sparse", ge=0)
    negative: float = field(1.0, "weight of the kernel's negative values", ge=0)
    bicubic: float = field(1.0, "initial weight of the difference from cubic downscaling", ge=0)
    bicubic_reached: float = field(
        0.1,
        "difference from cubic downscaling, relative to the crop's variance, below which the weight "
        "bicubic begins to fall",
        ge=0,
    )
    bicubic_every: int = field(100, "steps between falls of the weight bicubic", unit="steps", ge=1)
    bicubic_fall: float = field(
        100.0, "number by which the weight bicubic is divided at each fall", ge=1
    )
    faint: Literal["peak", "rank"] = field(
        "peak",
        "level subtracted from the kernel; peak: 2 % of its greatest value; rank: three quarters of "
        "its 41st greatest value",
    )
    evaluate_every: int = field(50, "steps between evaluations of the kernel", unit="steps", ge=1)
    settled: float = field(
        1e-3,
        "change of the kernel between two evaluations below which the kernel counts as settled; three "
        "such evaluations in a row end the estimation",
        ge=0,
    )


PRESETS: Mapping[str, Preset] = {
    "x2": Preset(
        {},
        "the kernel of a downscaling by 2 (the default of `train`; verbs and calls use `fast`)",
        "slanted Gaussian of the sample: correlation .994 after 400 steps, 17 seconds on two CPU cores",
    ),
    "x4": Preset({"scale": "4"}, "the kernel of a downscaling by 4"),
    "published": Preset(
        {
            **{"covariance": 0.0, "train_steps": 3000, "decay_every": 750, "bicubic_every": 200},
            **{"replicas": 1, "settled": 0.0, "sparse": 5.0, "negative": 0.0, "faint": "rank"},
        },
        "only the losses of the paper",
        "slanted Gaussian of the sample: correlation .949 after 2850 steps, 29 s on two CPU cores",
    ),
    "fast": Preset(
        {"train_steps": 600, "decay_every": 250, "replicas": 1},
        "a single seed and fewer steps",
        "slanted Gaussian of the sample: correlation .995 after 400 steps, 13 seconds on two CPU cores",
    ),
    "gaussian": Preset(
        {"family": "gaussian", "replicas": 1},
        "the Gaussian under which patches recur best across scales, without training",
        "84 photographs downscaled with DIV2KRK's kernels: a mean correlation of .985 (the best "
        "Gaussian has .991), in less than a second on two CPU cores",
    ),
    "smoke": Preset(
        {"train_steps": 60, "replicas": 1, "features": 8, "bicubic_every": 5},
        "a few steps of tiny nets, to check that everything runs",
    ),
}
