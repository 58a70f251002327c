"""DIP: restoration of one image. Fields and presets: `deepinternal.methods.dip.RECIPE`.

    python -m launch.main --config=configs/dip.py:denoise,fast --workdir=DIR --config.input=noisy.png
    python -m launch.main --config=configs/dip.py:inpaint,fast --workdir=DIR --config.input=torn.png \
        --config.mask=known.png

The mask is white where the image is known. Combine `fast` and `smoke` with the preset of a task.
"""

import ml_collections

from deepinternal.methods import find
from deepinternal.runs.settings import to_config_dict


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config with the presets named in `arg`, joined by commas."""
    return to_config_dict(find("dip"), arg)
