"""Double-DIP separation of transparent layers. Presets: single (default), pair, fast, smoke.

    python -m launch.main --config=configs/transparency.py:fast --workdir=DIR --config.input=mixed.png
    python -m launch.main --config=configs/transparency.py:pair,fast --workdir=DIR \
        --config.input=first.png,second.png

`pair` takes two mixtures of the same layers with different weights. Fields:
`deepinternal.methods.double_dip.transparency`.
"""

import ml_collections

from configs.common import with_presets


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config with the presets named in `arg`, joined by commas."""
    return with_presets("transparency", arg)
