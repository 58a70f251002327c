"""The settings and the presets of ZSSR."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from deepinternal.config import Auto, NetConfig, NoiseStd, Preset, Text, field, whole_numbers
from deepinternal.methods.zssr.jumps import RANGE, Bases, Factors, Shape, plan, taken
from deepinternal.types import InputError

Switch = Literal["auto", "on", "off"]


class Config(NetConfig):
    """Settings of ZSSR; the defaults are the published ones, for one jump by a factor of 2."""

    mode: Literal["image", "deblur", "video"] = field(
        "image",
        "image: enlarge an image; deblur: remove a known blur, at a scale of 1; video: enlarge the "
        "frames of a clip with one net",
    )
    scale: Factors = field(
        "2", "enlargement factor; several factors, separated by ';', are reached one after another"
    )
    path: Literal["direct", "steps", "published"] = field(
        "direct",
        "how a single factor of scale is reached; direct: in one jump; steps: above 2.25 in two jumps "
        "for each doubling, whose result is the base of the next one; published: up to 2 by the six "
        "factors of the paper, above 2 as with steps but with more training; an image with a kernel or "
        "a degradation always takes one jump",
    )
    jumps: int = field(
        0,
        "greatest number of factors that are used, spread evenly over those of scale or path; 0: all",
        ge=0,
    )
    rounds: int = field(
        1,
        "number of jumps to the last factor, each of which also learns from earlier results",
        ge=1,
    )
    base_change: Bases = field(
        "", "factors of scale whose result replaces the input in the jumps after it; '': none"
    )
    output_shape: Shape = field(
        "", "height,width of the result; '': it follows from scale", unit="pixels"
    )
    kernel: Text = field(
        "", "file or folder of blur kernels; '': the cubic kernel, or an estimate with blind"
    )
    train_steps: int = field(
        3000,
        "greatest number of steps of each jump; if path chooses several jumps, 0.375 to 3 times as "
        "many",
        unit="steps",
        ge=1,
    )
    noise_std: Auto[NoiseStd] = field(
        "auto",
        "standard deviation of the noise added to the small training images (sons); auto: as "
        "measured with blind, else 0",
    )
    tile: int = field(
        0,
        "side of the tiles into which a large input is divided; 0: chosen automatically",
        unit="pixels",
        ge=0,
    )
    net: Literal["interpolated", "subpixel"] = field(
        "interpolated",
        "interpolated: the net refines the cubic enlargement; subpixel: the net works at the low "
        "resolution",
    )
    pairs: int = field(
        48, "with mode=deblur, the number of fathers that are made before training", ge=1
    )
    layers: int = field(8, "number of convolutions of the net", ge=1)
    features: int = field(64, "channels between the convolutions of the net", ge=1)
    init_variance: float = field(
        2.0,
        "variance of the hidden layers' initial weights, times fan-in; the authors' code has 0.1",
        ge=0,
    )
    crop: int = field(
        128,
        "side of the training crops (fathers); smaller in smaller images",
        unit="pixels",
        ge=16,
    )
    patch_batch: int = field(1, "number of fathers in each step", ge=1)
    optimizer: Literal["adam", "muon"] = field(
        "adam", "optimiser of the hidden layers; Adam always trains the first and the last layer"
    )
    learning_rate: float = field(1e-3, "peak learning rate of Adam", ge=0)
    muon_rate: float = field(0.03, "peak learning rate of Muon", ge=0)
    schedule: Literal["policy", "cosine"] = field(
        "policy",
        "policy: the learning rate falls tenfold when the test error stalls; cosine: it falls to 0 "
        "at the last step",
    )
    warmup: int = field(
        20, "steps in which the learning rate rises with schedule=cosine", unit="steps", ge=0
    )
    average: float = field(
        0.0, "decay of the moving average of the weights; 0: the last weights are used", ge=0, lt=1
    )
    min_learning_rate: float = field(
        9e-6, "learning rate below which training ends with schedule=policy", ge=0
    )
    evaluate_every: int = field(50, "steps between self-tests; 0: none", unit="steps", ge=0)
    policy_every: int = field(
        60, "steps between decisions about the learning rate", unit="steps", ge=1
    )
    policy_wait: int = field(
        256, "least number of steps between falls of the learning rate", unit="steps", ge=0
    )
    policy_slope: float = field(
        1.5,
        "the learning rate falls when this multiple of the test error's descent is within the "
        "descent's standard error",
        ge=0,
    )
    p_as_is: float = field(
        0.05, "probability that a father is cut from the image without a transformation", ge=0, le=1
    )
    p_dihedral: float = field(
        0.45,
        "probability that a father is rotated by quarter turns or mirrored; the other fathers are "
        "transformed affinely",
        ge=0,
        le=1,
    )
    affine_scale_min: float = field(0.5, "smallest scale of affine fathers", ge=0.1)
    affine_scale_max: float = field(1.0, "greatest scale of affine fathers", ge=0.1)
    affine_scale_difference: float = field(
        0.25,
        "standard deviation of the difference between the two axes' scales of affine fathers",
        ge=0,
    )
    affine_shear: float = field(
        0.1, "standard deviation of the shear of affine fathers along each axis", ge=0
    )
    affine_sampling: Literal["cubic", "linear"] = field(
        "cubic", "interpolation with which fathers are sampled from the image"
    )
    flips: Switch = field(
        "auto",
        "rotate and mirror fathers; auto: on with the cubic kernel, off with another kernel or a "
        "degradation",
    )
    ensemble: Switch = field(
        "auto",
        "combine the results for all rotations and mirrorings of the image; auto: as flips, but off "
        "where blind decides about flips",
    )
    ensemble_reduce: Literal["median", "mean"] = field(
        "median",
        "median: the median of the back-projected results; mean: the mean of the results, which is "
        "then back-projected",
    )
    back_projection: Auto[whole_numbers(at_least=0)] = field(
        "auto",
        "iterations of back-projection, one number or one for each jump; auto: 10, with a kernel or "
        "blind 2, with blind on noisy images 0",
    )
    blind: bool = field(
        False, "estimate the blur kernel, the noise and the compression where they are not given"
    )
    blind_steps: int = field(
        150,
        "greatest number of steps with an estimated kernel, whose errors longer training amplifies, "
        "unless steps is set",
        unit="steps",
        ge=1,
    )
    kernel_use: Literal["auto", "estimated", "cubic", "given"] = field(
        "auto",
        "kernel that is used where kernel is empty; auto: with blind the estimate, if it explains "
        "the image better than the cubic kernel; given: kernel must not be empty",
    )
    jpeg: Switch = field(
        "auto",
        "with blind, treat the image as a JPEG; auto: if blocks of 8x8 pixels are found",
    )
    denoise: Switch = field(
        "auto",
        "with blind, remove the noise before training, so that less is added to the sons; auto: if "
        "noise was measured and the image is not treated as a JPEG",
    )
    reference_kernel: Text = field(
        "", "file or folder of true kernels, to score the estimate; '': it is not scored"
    )

    def resolved(self) -> "Config":
        """Selects `jumps` of the factors. Raises InputError if fields contradict each other."""
        if self.scale == ((1, 1),) and self.mode != "deblur":
            raise InputError(f"config.scale=1: must be {RANGE}; 1 is for mode=deblur")
        found: dict[str, Any] = {"scale": taken(self.scale, self.jumps)}
        if len(self.scale) > 1:
            found["jumps"] = 0
        if self.noise_std == "auto" and not self.blind and self.mode != "deblur":
            found["noise_std"] = 0.0
        config = self.model_copy(update=found)
        if not config.output_shape and config.mode != "deblur":
            plan(config, (1, 1), back_projection=0)
        for wrong, message in config._mistakes():
            if wrong:
                raise InputError(f"config.{message}")
        return config

    def _mistakes(self) -> Iterator[tuple[bool, str]]:
        if self.mode == "deblur":
            yield (
                self.scale != ((1, 1),),
                f"scale={self.plain()['scale']}: must be 1 with mode=deblur",
            )
            yield bool(self.output_shape), "output_shape: must be empty with mode=deblur"
            yield self.blind, "blind: must be False with mode=deblur, which needs config.kernel"
        if self.mode == "video":
            yield self.blind, "blind: must be False with mode=video"
        if self.blind:
            yield bool(self.output_shape), "output_shape: with blind give config.scale, 2 or 4"
            known = self.scale in (((2, 2),), ((4, 4),))
            yield not known, f"scale={self.plain()['scale']}: must be 2 or 4 with blind"
        else:
            estimates = self.kernel_use in ("estimated", "cubic")
            yield estimates, f"kernel_use={self.kernel_use}: needs config.blind=True"
        lacks = self.kernel_use == "given" and not self.kernel
        yield lacks, "kernel: give the blur kernel of the image, a file or a folder of kernels"
        least, most = self.affine_scale_min, self.affine_scale_max
        yield most < least, f"affine_scale_max={most}: must be at least affine_scale_min={least}"
        untested = self.schedule == "policy" and not self.evaluate_every
        yield untested, "evaluate_every=0: must be at least 1 with schedule=policy"
        if self.optimizer == "muon":
            yield self.layers < 3, f"layers={self.layers}: must be at least 3 with optimizer=muon"
            yield not self.learning_rate, "learning_rate=0: must be positive with optimizer=muon"

    @property
    def factor(self) -> int:
        """The factor, a whole number, for which a kernel is estimated."""
        return int(self.scale[0][0])


_FAST = {
    **{"net": "subpixel", "features": 32, "init_variance": 0.25, "optimizer": "muon"},
    **{"learning_rate": 3e-3, "muon_rate": 0.02, "schedule": "cosine", "train_steps": 700},
    **{"average": 0.96, "evaluate_every": 0, "crop": 112, "affine_scale_min": 0.7},
    **{"affine_scale_max": 1.2, "affine_scale_difference": 0.1, "affine_shear": 0.05},
    **{"affine_sampling": "linear", "ensemble_reduce": "mean", "path": "steps"},
}
_SIX_JUMPS = {"path": "published"}
PRESETS: Mapping[str, Preset] = {
    "ideal": Preset(
        {},
        "the published settings, for images downscaled with the cubic kernel (the default of `train`; "
        "verbs and calls use `fast`)",
    ),
    "gradual": Preset(
        {**_FAST, **_SIX_JUMPS, "train_steps": 300},
        "the settings of fast with the six published factors from 1 to 2, and above 2 with more steps",
        "Set5 x2: 37.51 dB Y-PSNR, 84 to 101 seconds per image on two CPU cores, with the code of "
        "2026-11-23",
    ),
    "kernel": Preset(
        {"flips": "off", "back_projection": "2", "kernel_use": "given"},
        "an image with a known blur kernel, given as config.kernel; also as fast,kernel",
    ),
    "real": Preset(
        {
            **{"flips": "off", "back_projection": "0", "noise_std": 0.0125},
            **{"affine_scale_min": 0.75, "affine_scale_difference": 0.0, "affine_shear": 0.0},
        },
        "a photograph with unknown noise and compression, with fixed settings; the kernel is optional",
    ),
    "blind": Preset(
        {**_FAST, "blind": True, "noise_std": "auto"},
        "a photograph with unknown blur, noise and compression, which are estimated; otherwise the "
        "settings of fast",
        "twelve images of 128x128 pixels, downscaled with DIV2KRK's kernels: 0.8 to 3.6 dB above fast "
        "with 520 steps, as before 0.2.0, in 15 seconds of CPU time",
    ),
    "fast": Preset(
        _FAST,
        "a net at the low resolution, trained by Muon for a small, fixed number of steps, with "
        "averaged weights",
        "Set5 x2, x3, x4: 37.38, 33.58, 31.19 dB Y-PSNR, 9 to 10.5 seconds per image at "
        "x2 on two CPU cores",
    ),
    "best": Preset(
        {**_FAST, **_SIX_JUMPS, "features": 48, "train_steps": 800, "average": 0.99},
        "the settings of gradual with a wider net and more steps",
        "Set5 x2: 37.65 dB Y-PSNR, 287 to 312 seconds per image on two CPU cores, with the code of "
        "2026-11-23",
    ),
    "deblur": Preset(
        {
            **{"mode": "deblur", "scale": "1", "layers": 7, "features": 48, "crop": 64},
            **{"init_variance": 0.25, "optimizer": "muon", "learning_rate": 3e-3},
            **{"muon_rate": 0.02, "schedule": "cosine", "train_steps": 600, "average": 0.96},
        },
        "a blurred image, which keeps its size, with a known blur kernel, given as config.kernel",
        "ten parts of 176x176 pixels: 0.45 to 2.79 dB, on average 1.49 dB, above the better of "
        "Wiener's and Richardson and Lucy's filters at their best settings, in 16 to 19 CPU seconds",
    ),
    "video": Preset(
        {**_FAST, "mode": "video", "path": "direct", "train_steps": 2100},
        "the frames of a clip, a video file or a folder, which share one net with the settings of fast",
        "two clips x2, 8 frames of 160x224: 34.76 and 30.82 dB, flicker 4.62 and 5.95, in 31 to 34 CPU "
        "seconds; frame by frame 34.70 and 30.71 dB, 4.66 and 6.08, in 81 to 86",
    ),
    "smoke": Preset(
        {
            **{"pairs": 4},
            **{"train_steps": 30, "features": 16, "crop": 64, "jumps": 2},
        },
        "a few steps of a small net, to check that everything runs",
    ),
}
