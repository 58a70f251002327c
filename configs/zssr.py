"""ZSSR x2. Presets: ideal (default), kernel, real, smoke.

    python -m launch.main --config=configs/zssr.py --workdir=DIR --config.input=photo.png
    python -m launch.main --config=configs/zssr.py:kernel --config.kernel=photo_kernel.mat ...

* ideal: the low-resolution image is taken for a cubic downscaling of what is looked for.
* kernel: the blur kernel is given; no rotations and flips, 2 iterations of back-projection.
* real: as photographs come, kernel optional: noise on sons, no back-projection, no flips, mild
  affine fathers.
* smoke: a few steps of a small net, to see that everything runs; combines with the others.
"""

import ml_collections

from configs.common import apply_presets, run_fields
from deepinternal.methods import zssr

GRADUAL = "1,1.5;1.5,1;1.5,1.5;1.5,2;2,1.5;2,2"


def _ideal(config: ml_collections.ConfigDict) -> None:
    del config


def _gradual(config: ml_collections.ConfigDict) -> None:
    config.scale = GRADUAL
    config.back_projection = "6,6,8,10,10,12"


def _fast(config: ml_collections.ConfigDict) -> None:
    config.net = "subpixel"
    config.init_variance = 1.0
    config.optimizer = "muon"
    config.learning_rate = 2e-3
    config.schedule = "cosine"
    config.steps = 400
    config.average = 0.96
    config.evaluate_every = 0
    config.crop = 96
    config.affine_sampling = "linear"
    config.ensemble_reduce = "mean"


def _kernel(config: ml_collections.ConfigDict) -> None:
    config.flips = "off"
    config.back_projection = "2"
    config.required = "kernel"


def _real(config: ml_collections.ConfigDict) -> None:
    config.flips = "off"
    config.back_projection = "0"
    config.noise_std = 0.0125
    config.affine_scale_min = 0.75
    config.affine_scale_difference = 0.0
    config.affine_shear = 0.0


def _smoke(config: ml_collections.ConfigDict) -> None:
    config.steps = 30
    config.features = 16
    config.crop = 64
    config.log_every = 5


_PRESETS = {
    "ideal": _ideal,
    "gradual": _gradual,
    "fast": _fast,
    "kernel": _kernel,
    "real": _real,
    "smoke": _smoke,
}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config with the presets named in `arg`, joined by commas."""
    config = run_fields("zssr", zssr.defaults())
    return apply_presets(arg, config, _PRESETS, default="ideal")
