"""Patches: retargeting and editing. Fields and presets: `deepinternal.methods.patches.RECIPE`.

    python -m launch.main --config=configs/patches.py --workdir=DIR --config.input=photo.png \
        --config.result_scale=1,2
    python -m launch.main --config=configs/patches.py:generate --workdir=DIR --config.input=photo.png
    python -m launch.main --config=configs/patches.py:inpaint --workdir=DIR --config.input=torn.png \
        --config.mask=known.png

Combine `bidir`, `seams`, `fast` and `smoke` with the preset of a task.
"""

import ml_collections

from deepinternal.methods import find
from deepinternal.runs.settings import to_config_dict


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config with the presets named in `arg`, joined by commas."""
    return to_config_dict(find("patches"), arg)
