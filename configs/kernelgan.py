"""KernelGAN: the blur kernel of an image. Fields and presets: `deepinternal.methods.kernelgan.RECIPE`.

    python -m launch.main --config=configs/kernelgan.py --workdir=DIR --config.input=photo.png
    python -m launch.main --config=configs/kernelgan.py:x4 ... --config.reference_kernel=true.mat

The estimate is written as an image and as `kernel.mat` and `kernel.npy`.
"""

import ml_collections

from deepinternal.methods import find
from deepinternal.runs.settings import to_config_dict


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config with the presets named in `arg`, joined by commas."""
    return to_config_dict(find("kernelgan"), arg)
