"""ZSSR: super-resolution. Fields and presets: `deepinternal.methods.zssr.RECIPE`.

    python -m launch.main --config=configs/zssr.py:fast --workdir=DIR --config.input=photo.png
    python -m launch.main --config=configs/zssr.py:kernel --config.kernel=photo_kernel.mat ...

Join several presets by commas, such as `fast,kernel` or `gradual,smoke`; the later one decides.
"""

import ml_collections

from deepinternal.methods import find
from deepinternal.runs.settings import to_config_dict


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config with the presets named in `arg`, joined by commas."""
    return to_config_dict(find("zssr"), arg)
