"""Double-DIP segmentation: foreground and background of an image. Presets: default, fast, smoke.

    python -m launch.main --config=configs/segmentation.py:fast --workdir=DIR --config.input=photo.png \
        --config.foreground=sure_foreground.png --config.background=sure_background.png

Hints are masks, white where a pixel is surely foreground, or background; without them they come from
the image itself (`--config.hints=auto`). Fields: `deepinternal.methods.double_dip.segmentation`.
"""

import ml_collections

from configs.common import with_presets


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config with the presets named in `arg`, joined by commas."""
    return with_presets("segmentation", arg)
