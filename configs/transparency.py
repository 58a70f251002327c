"""Double-DIP separation of layers. Its recipe: `deepinternal.methods.double_dip.transparency.RECIPE`.

    python -m launch.main --config=configs/transparency.py:fast --workdir=DIR --config.input=mixed.png
    python -m launch.main --config=configs/transparency.py:pair,fast --workdir=DIR \
        --config.input=first.png,second.png
    python -m launch.main --config=configs/transparency.py:reflection --workdir=DIR \
        --config.input=window.png

`pair` takes two mixtures of the same layers with different weights; `reflection` removes a soft
reflection on a window from one photograph, without nets.
"""

import ml_collections

from deepinternal.methods import find
from deepinternal.runs.settings import to_config_dict


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config with the presets named in `arg`, joined by commas."""
    return to_config_dict(find("transparency"), arg)
