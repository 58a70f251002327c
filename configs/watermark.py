"""Double-DIP watermark removal. Its recipe: `deepinternal.methods.double_dip.watermark.RECIPE`.

    python -m launch.main --config=configs/watermark.py:fast --workdir=DIR --config.input=marked.jpg \
        --config.mask=rough.png
    python -m launch.main --config=configs/watermark.py:many,fast --workdir=DIR \
        --config.input=one.jpg,two.jpg

For one image, give a mask that is roughly white where the mark is, or `--config.box=y0,x0,y1,x1`.
Several images with the same mark need neither, nor does a mark that repeats over one image (`fast`).
"""

import ml_collections

from deepinternal.methods import find
from deepinternal.runs.settings import to_config_dict


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config with the presets named in `arg`, joined by commas."""
    return to_config_dict(find("watermark"), arg)
