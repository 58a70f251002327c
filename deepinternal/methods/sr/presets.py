"""Named settings of ZSSR: the fields in which they differ from its defaults.

* ideal: the published settings for a cubic downscaling.
* gradual: `fast` in the published six steps from 1 to 2.
* kernel: the blur kernel is given; no rotations and flips, 2 iterations of back-projection.
* real: as photographs come, kernel optional: noise on sons, no back-projection, no flips, mild affine
  fathers.
* blind: kernel, noise and compression are estimated from the image; the rest as in `fast`.
* fast: the net at the low resolution, Muon, a fixed and small number of steps, averaged weights.
* best: `gradual` at length.
* smoke: a few steps of a small net, to see that everything runs.
"""

from collections.abc import Mapping

from deepinternal.types import InputError

FAST = {
    "net": "subpixel",
    "features": 32,
    "init_variance": 0.25,
    "optimizer": "muon",
    "learning_rate": 3e-3,
    "muon_rate": 0.02,
    "schedule": "cosine",
    "steps": 520,
    "average": 0.96,
    "evaluate_every": 0,
    "crop": 112,
    "affine_scale_min": 0.7,
    "affine_scale_max": 1.2,
    "affine_scale_difference": 0.1,
    "affine_shear": 0.05,
    "affine_sampling": "linear",
    "ensemble_reduce": "mean",
}
SIX_JUMPS = {"scale": "1,1.5;1.5,1;1.5,1.5;1.5,2;2,1.5;2,2"}
PRESETS: Mapping[str, Mapping] = {
    "ideal": {},
    "gradual": {**FAST, **SIX_JUMPS, "steps": 300},
    "kernel": {"flips": "off", "back_projection": "2"},
    "real": {
        "flips": "off",
        "back_projection": "0",
        "noise_std": 0.0125,
        "affine_scale_min": 0.75,
        "affine_scale_difference": 0.0,
        "affine_shear": 0.0,
    },
    "blind": {**FAST, "blind": True, "noise_std": -1.0},
    "fast": FAST,
    "best": {**FAST, **SIX_JUMPS, "features": 48, "steps": 800, "average": 0.99},
    "smoke": {
        **{"steps": 30, "features": 16, "crop": 64},
        "estimation": {"train_steps": 20, "seeds": 1, "features": 8, "bicubic_every": 2},
    },
}


def preset(name: str) -> Mapping:
    """The fields of a preset.

    Raises:
        InputError: there is none of that name.
    """
    if name not in PRESETS:
        raise InputError(f"no preset {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]
