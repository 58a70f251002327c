"""The flags that all programs share which train on images."""

from absl import flags
from ml_collections import config_flags

from deepinternal import methods
from deepinternal.recipe import Recipe

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Config file, or a method's name, or package.module:RECIPE; with presets after a colon.",
    lock_config=False,
    accept_new_attributes=True,  # what is no field is refused together with what is no value
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for results and checkpoints.")
OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Discard what --workdir holds of another config instead of refusing."
)
flags.mark_flags_as_required(["config", "workdir"])


def recipe() -> Recipe:
    """The recipe of the method that the config names.

    Raises:
        InputError: it names none.
    """
    return methods.find(CONFIG.value.get("method", ""))
