"""Double-DIP dehazing. Fields and presets: `deepinternal.methods.double_dip.dehazing.RECIPE`.

    python -m launch.main --config=configs/dehazing.py:fast --workdir=DIR --config.input=hazy.png
    python -m launch.main --config=configs/dehazing.py:uniform --workdir=DIR \
        --config.input=hazy.png --config.airlight=0.56,0.65,0.73

`fast` trains nothing; `uniform` assumes the same colour of the haze in the whole image.
"""

import ml_collections

from deepinternal.methods import find
from deepinternal.runs.settings import to_config_dict


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config with the presets named in `arg`, joined by commas."""
    return to_config_dict(find("dehazing"), arg)
