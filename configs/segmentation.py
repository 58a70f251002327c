"""Double-DIP segmentation. Fields and presets: `deepinternal.methods.double_dip.segmentation.RECIPE`.

    python -m launch.main --config=configs/segmentation.py:fast --workdir=DIR --config.input=photo.png \
        --config.foreground=sure_foreground.png --config.background=sure_background.png

Hints are masks that are white where a pixel is surely foreground, or surely background. Without masks,
hints are estimated from the image (`--config.hints=auto`).
"""

import ml_collections

from deepinternal.methods import find
from deepinternal.runs.settings import to_config_dict


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config with the presets named in `arg`, joined by commas."""
    return to_config_dict(find("segmentation"), arg)
