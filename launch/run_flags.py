"""The flags that all programs share which train on images."""

from absl import flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, with presets after a colon.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for results and checkpoints.")
OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Discard what --workdir holds of another config instead of refusing."
)
flags.mark_flags_as_required(["config", "workdir"])
