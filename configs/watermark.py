"""Double-DIP watermark removal. Presets: single (default), many, fast, smoke.

    python -m launch.main --config=configs/watermark.py:fast --workdir=DIR --config.input=marked.jpg \
        --config.mask=rough.png
    python -m launch.main --config=configs/watermark.py:many,fast --workdir=DIR \
        --config.input=one.jpg,two.jpg

Of one image the mask is white where the mark is, roughly; or `--config.box=y0,x0,y1,x1`. Several images
with the same mark need none. Fields: `deepinternal.methods.double_dip.watermark`.
"""

import ml_collections

from configs.common import with_presets


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config with the presets named in `arg`, joined by commas."""
    return with_presets("watermark", arg)
