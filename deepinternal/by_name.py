"""A config file that serves all methods: `--config=NAME[:PRESET,...]` instead of a path."""

import os

import ml_collections

from deepinternal import methods
from deepinternal.runs.settings import to_config_dict


def as_file(config: str) -> str:
    """Returns the value of `--config` as a file: paths are unchanged, names refer to this file.

    Args:
        config: A path such as 'configs/zssr.py:fast', or the name of a method such as 'zssr:fast' or
            'my_package.deblur:RECIPE:fast'; presets may follow the last colon.
    """
    path = config.partition(":")[0]
    is_file = not path or path.endswith(".py") or os.sep in path or os.path.isfile(path)
    return config if is_file else f"{__file__}:{config}"


def get_config(arg: str) -> ml_collections.ConfigDict:
    """Returns the config of a method, with presets applied.

    Args:
        arg: The method's name or package.module:RECIPE, optionally with presets after another
            colon.

    Raises:
        InputError: The method or a preset is unknown.
    """
    name, presets = parts(arg)
    config = to_config_dict(methods.find(name), presets)
    config.method = name
    return config


def parts(arg: str) -> tuple[str, str]:
    """Splits 'NAME:PRESETS' or 'package.module:RECIPE:PRESETS' into a method and its presets.

    Example:
        >>> from deepinternal.by_name import parts
        >>> parts("zssr:fast"), parts("my_package.deblur:RECIPE:fast")
        (('zssr', 'fast'), ('my_package.deblur:RECIPE', 'fast'))
    """
    name, _, presets = arg.partition(":")
    if "." in name:
        attribute, _, presets = presets.partition(":")
        name = f"{name}:{attribute}"
    return name, presets
