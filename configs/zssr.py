"""ZSSR. Presets: ideal (default), gradual, fast, best, kernel, real, smoke.

    python -m launch.main --config=configs/zssr.py:fast --workdir=DIR --config.input=photo.png
    python -m launch.main --config=configs/zssr.py:kernel --config.kernel=photo_kernel.mat ...

Several are joined by commas, the later one deciding: `fast,kernel`, `gradual,smoke`. What they set:
`deepinternal.methods.sr.presets`. What they reach: benchmarks/README.md.
"""

import functools

import ml_collections

from configs.common import apply_presets, run_fields
from deepinternal.methods import zssr
from deepinternal.methods.sr import presets


def _apply(fields, config: ml_collections.ConfigDict) -> None:
    config.update(fields)


def _kernel(config: ml_collections.ConfigDict) -> None:
    config.update(presets.PRESETS["kernel"])
    config.required = "kernel"


def _smoke(config: ml_collections.ConfigDict) -> None:
    config.update(presets.PRESETS["smoke"])
    config.log_every = 5
    if ";" in config.scale:
        config.scale = "1,1.5;2,2"


_PRESETS = {name: functools.partial(_apply, fields) for name, fields in presets.PRESETS.items()}
_PRESETS |= {"kernel": _kernel, "smoke": _smoke}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config with the presets named in `arg`, joined by commas."""
    config = run_fields("zssr", zssr.defaults())
    return apply_presets(arg, config, _PRESETS, default="ideal")
