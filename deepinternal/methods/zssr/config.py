"""Settings of ZSSR."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from deepinternal.config import Auto, MethodConfig, NoiseStd, Preset, Text, field, whole_numbers
from deepinternal.methods.kernelgan import Estimation
from deepinternal.methods.zssr.jumps import Bases, Factors, Shape, plan, taken
from deepinternal.types import InputError

Switch = Literal["auto", "on", "off"]


class Config(MethodConfig):
    """Settings of ZSSR; the defaults are the published ones, for one jump by a factor of 2."""

    scale: Factors = field("2", "factor of enlargement; several are taken one after the other")
    jumps: int = field(0, "most factors that are taken, from first to last; 0: all", ge=0)
    rounds: int = field(1, "how often the last one is taken, learning from its own results", ge=1)
    base_change: Bases = field("", "factors after which the result takes the input's place")
    output_shape: Shape = field("", "height,width of the result, instead of scale", unit="pixels")
    kernel: Text = field("", "blur kernels, file or folder; '': cubic, or with blind an estimate")
    train_steps: int = field(3000, "most steps of each jump", unit="steps", ge=1)
    noise_std: Auto[NoiseStd] = field(
        "auto", "standard deviation of noise added to sons; auto: with blind as measured, else 0"
    )
    tile: int = field(0, "side of the tiles of large images; 0: chosen", unit="pixels", ge=0)
    net: Literal["interpolated", "subpixel"] = field(
        "interpolated", "what the net gets: the interpolated image, or the image as it is"
    )
    layers: int = field(8, "convolutions of the net", ge=1)
    features: int = field(64, "channels between them", ge=1)
    init_variance: float = field(
        2.0, "variance of hidden initial weights times fan-in; 0.1 in the authors' code", ge=0
    )
    precision: Literal["default", "high", "highest"] = field("default", "the net's precision")
    crop: int = field(128, "side of the fathers", unit="pixels", ge=16)
    patch_batch: int = field(1, "fathers in a step", ge=1)
    optimizer: Literal["adam", "muon"] = field(
        "adam", "what trains hidden layers; the first and the last are always Adam's"
    )
    learning_rate: float = field(1e-3, "greatest learning rate of Adam", ge=0)
    muon_rate: float = field(0.03, "greatest learning rate of Muon", ge=0)
    schedule: Literal["policy", "cosine"] = field(
        "policy", "fall of the learning rate: tenfold where the test error stalls, or to the end"
    )
    warmup: int = field(20, "steps in which it rises, with cosine", unit="steps", ge=0)
    average: float = field(0.0, "decay of the average of weights; 0: none", ge=0, lt=1)
    min_learning_rate: float = field(9e-6, "learning rate below which the policy ends", ge=0)
    evaluate_every: int = field(50, "steps between self-tests; 0: none", unit="steps", ge=0)
    policy_every: int = field(60, "steps between the policy's decisions", unit="steps", ge=1)
    policy_wait: int = field(256, "least steps between falls of the rate", unit="steps", ge=0)
    policy_slope: float = field(
        1.5, "the rate falls where so many descents are less than their deviation", ge=0
    )
    p_as_is: float = field(0.05, "probability of fathers as they are", ge=0, le=1)
    p_dihedral: float = field(0.45, "of rotated and mirrored ones; others: affine", ge=0, le=1)
    affine_scale_min: float = field(0.5, "least scale of affine fathers", ge=0.1)
    affine_scale_max: float = field(1.0, "greatest scale of affine fathers", ge=0.1)
    affine_scale_difference: float = field(0.25, "deviation of the axes' difference", ge=0)
    affine_shear: float = field(0.1, "standard deviation of their shear", ge=0)
    affine_sampling: Literal["cubic", "linear"] = field("cubic", "how fathers are sampled")
    flips: Switch = field("auto", "rotate and mirror fathers; auto: with a symmetric kernel")
    ensemble: Switch = field("auto", "combine the results of all flips; auto: as flips")
    ensemble_reduce: Literal["median", "mean"] = field(
        "median", "how they are combined; the mean is back-projected once, others each"
    )
    back_projection: Auto[whole_numbers(at_least=0)] = field(
        "auto", "iterations of back-projection; auto: 10, with a kernel 2, on noisy images none"
    )
    blind: bool = field(False, "estimate kernel, noise and compression where they are not given")
    kernel_use: Literal["auto", "estimated", "cubic", "given"] = field(
        "auto", "kernel used with blind; auto: the estimate, where the cubic one explains less"
    )
    jpeg: Switch = field("auto", "treat the image as compressed, with blind; auto: if it looks so")
    reference_kernel: Text = field("", "the true kernel, to score an estimate: file or folder")
    estimation: Estimation = Estimation()

    def resolved(self) -> "Config":
        """Takes `jumps` of the factors; raises InputError where fields do not go together."""
        found: dict[str, Any] = {"scale": taken(self.scale, self.jumps), "jumps": 0}
        if self.noise_std == "auto" and not self.blind:
            found["noise_std"] = 0.0
        config = self.model_copy(update=found)
        if not config.output_shape:
            plan(config, (1, 1), back_projection=0)
        for wrong, message in config._mistakes():
            if wrong:
                raise InputError(f"config.{message}")
        return config

    def _mistakes(self) -> Iterator[tuple[bool, str]]:
        if self.blind:
            yield bool(self.output_shape), "output_shape: with blind give config.scale, 2 or 4"
            known = self.scale in (((2, 2),), ((4, 4),))
            yield not known, f"scale={self.plain()['scale']}: kernels are estimated for 2 and for 4"
        else:
            estimates = self.kernel_use in ("estimated", "cubic")
            yield estimates, f"kernel_use={self.kernel_use}: goes with config.blind=True only"
        lacks = self.kernel_use == "given" and not self.kernel
        yield lacks, "kernel: give the blur kernel of the image, a file or a folder of them"
        least, most = self.affine_scale_min, self.affine_scale_max
        yield most < least, f"affine_scale_max={most}: must be at least affine_scale_min={least}"
        untested = self.schedule == "policy" and not self.evaluate_every
        yield untested, "evaluate_every=0: must be at least 1 with schedule=policy"
        if self.optimizer == "muon":
            yield self.layers < 3, f"layers={self.layers}: must be at least 3 with optimizer=muon"
            yield not self.learning_rate, "learning_rate=0: must be more with optimizer=muon"

    @property
    def factor(self) -> int:
        """The whole factor that kernels are estimated for."""
        return int(self.scale[0][0])


_FAST = {
    **{"net": "subpixel", "features": 32, "init_variance": 0.25, "optimizer": "muon"},
    **{"learning_rate": 3e-3, "muon_rate": 0.02, "schedule": "cosine", "train_steps": 520},
    **{"average": 0.96, "evaluate_every": 0, "crop": 112, "affine_scale_min": 0.7},
    **{"affine_scale_max": 1.2, "affine_scale_difference": 0.1, "affine_shear": 0.05},
    **{"affine_sampling": "linear", "ensemble_reduce": "mean"},
}
_SIX_JUMPS = {"scale": "1,1.5;1.5,1;1.5,1.5;1.5,2;2,1.5;2,2"}
PRESETS: Mapping[str, Preset] = {
    "ideal": Preset(
        {},
        "the published settings for a cubic downscaling (default)",
        "Set5 x2: 37.01 dB Y-PSNR (bicubic 33.68); the butterfly takes 413 seconds on two CPU cores",
    ),
    "gradual": Preset(
        {**_FAST, **_SIX_JUMPS, "train_steps": 300},
        "fast in the published six steps from 1 to 2",
        "Set5 x2: 37.51 dB Y-PSNR, 84 to 101 seconds an image on two CPU cores",
    ),
    "kernel": Preset(
        {"flips": "off", "back_projection": "2", "kernel_use": "given"},
        "the blur kernel is known and given as config.kernel",
        "two images blurred by anisotropic Gaussians: 32.70 and 30.91 dB (bicubic 28.33 and 24.09) "
        "after 300 steps; fast,kernel: 33.04 and 31.48 dB in 21 and 18 seconds on two CPU cores",
    ),
    "real": Preset(
        {
            **{"flips": "off", "back_projection": "0", "noise_std": 0.0125},
            **{"affine_scale_min": 0.75, "affine_scale_difference": 0.0, "affine_shear": 0.0},
        },
        "a photograph with unknown noise and compression, by fixed settings; kernel optional",
    ),
    "blind": Preset(
        {**_FAST, "blind": True, "noise_std": "auto"},
        "a photograph with unknown blur, noise and compression, which are estimated; else as fast",
        "four images of 128x128 with other kernels: 0.5 to 5.1 dB above fast, in 21 to 40 seconds on "
        "two CPU cores",
    ),
    "fast": Preset(
        _FAST,
        "the net at the low resolution, Muon, a fixed and small number of steps, averaged weights",
        "Set5 x2: 37.33 dB Y-PSNR, 10 to 16 seconds an image on two CPU cores",
    ),
    "best": Preset(
        {**_FAST, **_SIX_JUMPS, "features": 48, "train_steps": 800, "average": 0.99},
        "gradual at length",
        "Set5 x2: 37.65 dB Y-PSNR, 287 to 312 seconds an image on two CPU cores",
    ),
    "smoke": Preset(
        {
            **{"train_steps": 30, "features": 16, "crop": 64, "jumps": 2},
            "estimation": {"train_steps": 20, "replicas": 1, "features": 8, "bicubic_every": 2},
        },
        "a few steps of a small net, to see that everything runs",
    ),
}
