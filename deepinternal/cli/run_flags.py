"""The flags of all programs that train on images."""

from absl import flags
from ml_collections import config_flags

from deepinternal import methods
from deepinternal.recipe import Recipe

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Config file, method name or package.module:RECIPE, with presets after a colon.",
    lock_config=False,
    accept_new_attributes=True,  # unknown fields are refused later, together with bad values
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for results and checkpoints.")
OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Discard results of another config in --workdir instead of refusing."
)
flags.mark_flag_as_required("config")
flags.register_validator(  # the same message as that of `mark_flag_as_required`
    "workdir",
    lambda value: value is not None or _only_shows(),
    message="Flag --workdir must have a value other than None.",
)


def _only_shows() -> bool:
    """Whether the program has a flag --show that is set."""
    return "show" in flags.FLAGS and flags.FLAGS["show"].value


def recipe() -> Recipe:
    """Returns the recipe of the method that the config names.

    Raises:
        InputError: The config names no known method.
    """
    return methods.find(CONFIG.value.get("method", ""))
