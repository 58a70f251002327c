"""InGAN: retargeting. Fields and presets: `deepinternal.methods.ingan.RECIPE`.

    python -m launch.main --config=configs/ingan.py:lite --workdir=DIR --config.input=photo.png
    python -m launch.retarget --workdir=DIR --size=224,544 --out=wide.png

`lite` is for machines without an accelerator. `many` trains one net on several images.
"""

import ml_collections

from deepinternal.methods import find
from deepinternal.runs.settings import to_config_dict


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config with the presets named in `arg`, joined by commas."""
    return to_config_dict(find("ingan"), arg)
