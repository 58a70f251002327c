"""What all configs share: the fields that say how to run, and how presets are named."""

from collections.abc import Callable, Mapping

import ml_collections

from deepinternal.methods import registry
from deepinternal.types import InputError

Preset = Callable[[ml_collections.ConfigDict], None]


def run_fields(method: str, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A method's defaults with the fields that the launcher needs.

    Args:
        method: the method's name in the registry.
        config: the method's defaults.

    Returns:
        A new config.
    """
    fields = {
        "method": method,
        "input": "",  # file, folder, glob, or several with commas; '': a sample photograph
        "ground_truth": "",  # file, or folder matched by file name
        "required": "",  # fields, with commas, that a preset cannot do without
        "checkpoint_every": 30.0,  # seconds
        "snapshot_every": 0,  # steps between checkpoints that stay; 0: only the last two do
        "log_every": 10,  # steps
        "progress": True,
        "parallel": {
            "images_per_device": 0,  # images that train side by side; 0: 1 on CPU, 16 on accelerators
            "devices": 0,  # of this process; 0: all
            "steps_per_dispatch": 0,  # 0: 1 on CPU, 50 on accelerators
        },
        "tensorboard": False,  # whether the log is also written for TensorBoard
        "profile": 0,  # dispatches to trace for a profiler
        "debug_nans": False,  # stop at the operation that makes the first NaN; slow
    }
    return ml_collections.ConfigDict({**fields, **config.to_dict()})


def with_presets(method: str, arg: str | None) -> ml_collections.ConfigDict:
    """The launcher's config of a method, with the presets that its module names.

    Args:
        method: the method's name in the registry.
        arg: what stands after the colon of `--config=FILE:ARG`, or None.

    Returns:
        A new config.

    Raises:
        InputError: an unknown preset.
    """
    config = run_fields(method, registry.defaults(method))
    return registry.preset(method, arg, config) if arg else config


def apply_presets(
    arg: str | None, config: ml_collections.ConfigDict, presets: Mapping[str, Preset], default: str
) -> ml_collections.ConfigDict:
    """Applies the presets named after the colon of `--config=FILE:ARG`, in their order.

    Args:
        arg: names joined by commas, or None.
        config: changed in place.
        presets: all that exist.
        default: the one that None stands for.

    Returns:
        `config`.

    Raises:
        InputError: an unknown preset.
    """
    for name in (arg or default).split(","):
        if name.strip() not in presets:
            known = ", ".join(presets)
            raise InputError(f"--config: unknown preset {name.strip()!r}; there are: {known}")
        presets[name.strip()](config)
    return config
