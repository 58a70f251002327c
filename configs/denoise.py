"""Denoising, without any training set. Fields and presets: `deepinternal.methods.denoise.RECIPE`.

    python -m launch.main --config=configs/denoise.py --workdir=DIR --config.input=noisy.png
    python -m launch.main --config=configs/denoise.py:ridge --workdir=DIR --config.input=noisy.png \
        --config.noise_std=0.1

Combine `fast` and `smoke` with the preset of an algorithm.
"""

import ml_collections

from deepinternal.methods import find
from deepinternal.runs.settings import to_config_dict


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config with the presets named in `arg`, joined by commas."""
    return to_config_dict(find("denoise"), arg)
