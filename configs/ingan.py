"""InGAN: retargeting. Presets: default, nonrect, swap, many, lite, fast, smoke.

    python -m launch.main --config=configs/ingan.py:lite --workdir=DIR --config.input=photo.png
    python -m launch.retarget --workdir=DIR --size=224,544 --out=wide.png

`lite` is for machines without an accelerator; `many` learns from several images at once. Fields:
`deepinternal.methods.ingan`.
"""

import ml_collections

from configs.common import with_presets


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config with the presets named in `arg`, joined by commas."""
    return with_presets("ingan", arg)
