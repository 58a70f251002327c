"""Double-DIP dehazing. Presets: default (learned airlight), uniform, fast, smoke.

    python -m launch.main --config=configs/dehazing.py:fast --workdir=DIR --config.input=hazy.png
    python -m launch.main --config=configs/dehazing.py:uniform,fast --workdir=DIR \
        --config.input=hazy.png --config.airlight=0.56,0.65,0.73

Fields: `deepinternal.methods.double_dip.dehazing`.
"""

import ml_collections

from configs.common import with_presets


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config with the presets named in `arg`, joined by commas."""
    return with_presets("dehazing", arg)
