"""A config file for all methods: `--config=NAME[:PRESET,...]` instead of the path of one."""

import os

import ml_collections

from deepinternal import methods
from deepinternal.runs.settings import to_config_dict


def as_file(config: str) -> str:
    """The value of `--config` that names a file: paths as they are, names of methods below this one.

    Args:
        config: 'configs/zssr.py:fast', 'zssr:fast', 'my_package.deblur:RECIPE', or the last followed
            by presets, as in 'my_package.deblur:RECIPE:fast'.
    """
    path = config.partition(":")[0]
    is_file = not path or path.endswith(".py") or os.sep in path or os.path.isfile(path)
    return config if is_file else f"{__file__}:{config}"


def get_config(arg: str) -> ml_collections.ConfigDict:
    """The config of a method, with presets.

    Args:
        arg: the method's name or package.module:RECIPE, and presets after a further colon.

    Raises:
        InputError: an unknown method or preset.
    """
    name, presets = parts(arg)
    config = to_config_dict(methods.find(name), presets)
    config.method = name
    return config


def parts(arg: str) -> tuple[str, str]:
    """The name of a method and presets, from 'NAME:PRESETS' or 'package.module:RECIPE:PRESETS'."""
    name, _, presets = arg.partition(":")
    if "." in name:
        attribute, _, presets = presets.partition(":")
        name = f"{name}:{attribute}"
    return name, presets
