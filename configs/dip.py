"""DIP: restoration of one image. Presets: denoise (default), inpaint, sr, restore, flash.

    python -m launch.main --config=configs/dip.py:denoise,fast --workdir=DIR --config.input=noisy.png
    python -m launch.main --config=configs/dip.py:inpaint,fast --workdir=DIR --config.input=torn.png \
        --config.mask=known.png

The mask is white where the image is known. `fast` goes with each of them: a narrower net and fewer
steps; `smoke` too: to see that everything runs. Nets published for other cases: `large_hole` (one hole
of many pixels), `region` (very large ones), `small` (a JPEG to be cleaned). What they set:
`deepinternal.methods.dip`. What they reach: benchmarks/README.md.
"""

import ml_collections

from configs.common import with_presets


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config with the presets named in `arg`, joined by commas."""
    return with_presets("dip", arg)
