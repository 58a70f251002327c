"""KernelGAN. Presets: x2 (default), x4, published, fast, smoke.

    python -m launch.main --config=configs/kernelgan.py --workdir=DIR --config.input=photo.png
    python -m launch.main --config=configs/kernelgan.py:x4 ... --config.reference_kernel=true.mat

The presets' fields are in `deepinternal.methods.kernelgan`; what they reach: benchmarks/README.md.
"""

import ml_collections

from configs.common import with_presets


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config with the presets named in `arg`, joined by commas."""
    config = with_presets("kernelgan", arg)
    if arg and "smoke" in arg.split(","):
        config.log_every = 5
    return config
