"""The settings that say how to run, and configs in the form of `ml_collections`, for flags."""

import typing
from collections.abc import Mapping
from typing import Any, Literal

import ml_collections
from ml_collections import config_dict

from deepinternal.config import Config, MethodConfig, Text, field, merge
from deepinternal.field_forms import did_you_mean
from deepinternal.recipe import Recipe
from deepinternal.types import InputError


class Parallel(Config):
    """How images are distributed over devices."""

    images_per_device: int = field(
        0,
        "images trained side by side on a device; 0: 1 on CPU; on accelerators at most 64, fewer if "
        "the memory of a step shows that they would fill the device, and 1 for ingan",
        ge=0,
    )
    devices: int = field(
        0,
        "devices of this process to use; 0: all; on CPU, the host is split into this many "
        "virtual devices",
        ge=0,
    )
    steps_per_dispatch: int = field(
        0, "training steps per dispatched program; 0: 1 on CPU, 50 on accelerators", ge=0
    )
    compiler_options: Text = field(
        "",
        "options for XLA, name=value joined by commas, such as xla_gpu_enable_triton_gemm=false; '': "
        "the defaults",
    )


NAMED = ("method", "presets")  # fields that `--config` sets, rather than their own flags


class RunConfig(Config):
    """The settings of a command besides those of the method.

    `method`, `presets`, `input` and `color` determine the results, and `parallel.compiler_options` may
    change them. The other fields of `parallel` change results by rounding errors at most. The rest says
    what is scored, logged, saved and shown.
    """

    method: Text = field("", "name of the method, or package.module:RECIPE")
    presets: Text = field("", "names of the applied presets, joined by commas")
    input: Text = field(
        "", "file, folder, glob, or several of these joined by commas; '': a sample photograph"
    )
    ground_truth: Text = field(
        "",
        "the ideal result, for scoring: a file, or a folder in which files are matched by name; '': "
        "<stem>_gt.png beside the input, if it exists",
    )
    color: Literal["keep", "srgb"] = field(
        "keep",
        "keep: results have the colour profile of their input; srgb: the input and the ground truth "
        "are converted to sRGB when they are read",
    )
    checkpoint_every: float = field(
        30.0, "time between checkpoints, and until the first one", unit="seconds", ge=0
    )
    snapshot_every: int = field(
        0, "steps between permanent checkpoints; 0: only the last two are kept", unit="steps", ge=0
    )
    log_every: int = field(10, "steps between lines of the log", unit="steps", ge=1)
    progress: bool = field(True, "whether progress is shown on stderr")
    parallel: Parallel = Parallel()
    tensorboard: bool = field(False, "whether the log is also written for TensorBoard")
    profile: int = field(0, "number of dispatches that the profiler traces; 0: none", ge=0)
    debug_nans: bool = field(False, "whether to stop at the operation that produces a NaN; slow")


def to_config_dict(recipe: Recipe, presets: str | None = "") -> ml_collections.ConfigDict:
    """Returns all fields of a command: the method's after presets, and those of `RunConfig`.

    Args:
        recipe: The recipe of the method.
        presets: Names joined by commas, or None.

    Returns:
        A ConfigDict whose fields flags can override; 'auto' is not yet replaced in it.

    Raises:
        InputError: A preset is unknown.
    """
    config = recipe.config(**merge(recipe.presets, presets or ""))
    run = RunConfig(method=recipe.name, presets=presets or "")
    return ml_collections.ConfigDict({**_fields(run), **_fields(config)})


def _fields(config: Config) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in config.plain().items():
        annotation = type(config).model_fields[name].annotation
        if isinstance(value, dict):
            found[name] = ml_collections.ConfigDict(_fields(getattr(config, name)))
        elif "auto" in _literals(annotation):
            found[name] = config_dict.FieldReference(value, field_type=object)
        else:
            found[name] = value
    return found


def _literals(annotation: Any) -> set[Any]:
    """Returns the constants in a union that also has other members."""
    if typing.get_origin(annotation) is typing.Literal:
        return set()
    return {c for part in typing.get_args(annotation) for c in typing.get_args(part)}


def split(recipe: Recipe, config: ml_collections.ConfigDict) -> tuple[MethodConfig, RunConfig]:
    """Builds the method's and the run's configs from a `to_config_dict` after flags are applied.

    Raises:
        InputError: A field cannot be used.
    """
    own, run = sort(recipe, config.to_dict())
    return recipe.build("", **own), RunConfig(**run)


def sort(recipe: Recipe, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits fields into those of the method and those of `RunConfig`, without checking values.

    Args:
        recipe: The recipe of the method.
        values: Fields by name; nested ones are mappings.

    Raises:
        InputError: A field belongs to neither.
    """
    known = [n for n in (*recipe.config.model_fields, *RunConfig.model_fields) if n not in NAMED]
    for name in values:
        if name not in (*known, *NAMED):
            hint = did_you_mean(name, known) or f"; there are: {', '.join(known)}"
            raise InputError(f"config.{name}: there is no such field{hint}")
    is_run = lambda name: name in RunConfig.model_fields
    own = {name: value for name, value in values.items() if not is_run(name)}
    return own, {name: value for name, value in values.items() if is_run(name)}


def check(recipe: Recipe) -> None:
    """Refuses a recipe whose config has a field that every command already has."""
    for name in recipe.config.model_fields:
        if name in RunConfig.model_fields:
            raise InputError(f"{recipe.name}: config.{name} is a field of every command; rename it")
