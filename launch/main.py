"""Trains on each input image and writes the results.

    python -m launch.main --config=configs/NAME.py[:PRESET,...] --workdir=DIR [--config.FIELD=VALUE]

The same command again resumes. Exit status: 0 all images done, 1 some failed, 2 bad flag, config or
input, 130 or 143 interrupted after a checkpoint.
"""

from absl import flags
from ml_collections import config_flags

from deepinternal.methods import registry
from deepinternal.runtime import jobs
from launch import cli

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, with presets after a colon."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for results and checkpoints.")
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Discard what --workdir holds of another config instead of refusing."
)
flags.mark_flags_as_required(["config", "workdir"])


def main() -> int:
    """Works through the input list of the config; returns the exit status."""
    config = _CONFIG.value
    return jobs.run_all(
        registry.get(config.method), config, _WORKDIR.value, overwrite=_OVERWRITE.value
    )


if __name__ == "__main__":
    cli.run(main)
