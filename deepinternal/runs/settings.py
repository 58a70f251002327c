"""The settings that say how to run, and configs as `ml_collections` has them, for flags."""

import typing
from collections.abc import Mapping
from typing import Any

import ml_collections
from ml_collections import config_dict

from deepinternal.config import Config, MethodConfig, Text, did_you_mean, field, merge
from deepinternal.recipe import Recipe
from deepinternal.types import InputError


class Parallel(Config):
    """How images are spread."""

    images_per_device: int = field(
        0, "images that train side by side on a device; 0: 1 on CPU, 16 on accelerators", ge=0
    )
    devices: int = field(
        0,
        "devices of this process to use; 0: all. On CPU, the host is split into this many "
        "virtual devices",
        ge=0,
    )
    steps_per_dispatch: int = field(
        0, "steps that a dispatched program takes; 0: 1 on CPU, 50 on accelerators", ge=0
    )


NAMED = ("method", "presets")  # fields that are not set by their names, but by `--config`


class RunConfig(Config):
    """What a command says besides the method's settings; nothing here changes a result."""

    method: Text = field("", "name of the method, or package.module:RECIPE")
    presets: Text = field("", "names of the presets that were applied, joined by commas")
    input: Text = field(
        "", "file, folder, glob, or several of these joined by commas; '': a sample photograph"
    )
    ground_truth: Text = field(
        "",
        "file, or folder matched by file name; '': <stem>_gt.png beside the input, if it is there",
    )
    checkpoint_every: float = field(30.0, "time between checkpoints", unit="seconds", ge=0)
    snapshot_every: int = field(
        0, "steps between permanent checkpoints; 0: only the last two are kept", unit="steps", ge=0
    )
    log_every: int = field(10, "steps between lines of the log", unit="steps", ge=1)
    progress: bool = field(True, "whether progress is shown on stderr")
    parallel: Parallel = Parallel()
    tensorboard: bool = field(False, "whether the log is also written for TensorBoard")
    profile: int = field(0, "dispatches to trace for a profiler", ge=0)
    debug_nans: bool = field(False, "stop at the operation that makes the first NaN; slow")


def to_config_dict(recipe: Recipe, presets: str | None = "") -> ml_collections.ConfigDict:
    """All fields of a command: the method's after presets, and those of `RunConfig`.

    Args:
        recipe: the method's.
        presets: names joined by commas, or None.

    Returns:
        A ConfigDict whose fields flags can override; 'auto' is still 'auto' in it.

    Raises:
        InputError: an unknown preset.
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
    """The constants among the members of a union that has other members, too."""
    if typing.get_origin(annotation) is typing.Literal:
        return set()
    return {c for part in typing.get_args(annotation) for c in typing.get_args(part)}


def split(recipe: Recipe, config: ml_collections.ConfigDict) -> tuple[MethodConfig, RunConfig]:
    """The method's config and the run's, checked, from what flags have made of `to_config_dict`.

    Raises:
        InputError: a field that cannot be used.
    """
    own, run = sort(recipe, config.to_dict())
    return recipe.build("", **own), RunConfig(**run)


def sort(recipe: Recipe, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of the method, and those of `RunConfig`; neither parsed nor checked.

    Args:
        recipe: the method's.
        values: fields by name, nested ones as mappings.

    Raises:
        InputError: a field that neither has.
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
    """Refuses a recipe whose config has a field that a command has already."""
    for name in recipe.config.model_fields:
        if name in RunConfig.model_fields:
            raise InputError(f"{recipe.name}: config.{name} is a field of every command; rename it")
