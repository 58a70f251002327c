"""The presets and the fields of a method."""

import contextlib

from deepinternal import methods
from deepinternal.config import Preset, merge
from deepinternal.field_info import FieldInfo, describe
from deepinternal.recipe import preset_names
from deepinternal.types import InputError


def presets(name: str) -> dict[str, Preset]:
    """Returns the presets of a method.

    Args:
        name: The method's name; see `run`.

    Returns:
        The presets by name: the fields that each sets, its purpose and the results that it reaches.

    Example:
        >>> import deepinternal as di
        >>> "inpaint" in di.presets("dip")
        True
    """
    return dict(methods.find(name).presets)


def fields(name: str, *, preset: str = "") -> dict[str, FieldInfo]:
    """Returns the fields of a method's config.

    Args:
        name: The method's name; see `run`.
        preset: Names of presets joined by commas; the values are those after the presets.

    Returns:
        The fields by name, each with its value, default, description, unit and allowed values.

    Raises:
        InputError: The method or a preset is unknown.

    Example:
        >>> import deepinternal as di
        >>> di.fields("dip", preset="fast")["train_steps"].value
        2400
    """
    recipe = methods.find(name)
    config = recipe.config(**merge(recipe.presets, preset_names(preset)))
    with contextlib.suppress(InputError):  # presets may need a field that only the user knows
        config = config.resolved()
    return describe(config)
