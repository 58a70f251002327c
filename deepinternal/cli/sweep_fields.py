"""The runs of a sweep: the values of its fields, and the names of the runs."""

import hashlib
import itertools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import ml_collections

from deepinternal.config import MethodConfig, merge
from deepinternal.field_forms import did_you_mean
from deepinternal.field_info import describe
from deepinternal.recipe import Recipe
from deepinternal.runs.settings import NAMED, RunConfig, split
from deepinternal.types import InputError

_LONGEST = 150  # maximum number of bytes of a folder's name


class Run(NamedTuple):
    """One run of a sweep: the swept fields with their values, and its configs."""

    fields: dict[str, Any]
    config: MethodConfig
    settings: RunConfig


def combinations(
    recipe: Recipe, config: ml_collections.ConfigDict, seeds: str, sweeps: Sequence[str]
) -> dict[str, Run]:
    """Returns all combinations of the values of some fields.

    Args:
        recipe: The recipe of the method.
        config: The common config, see `runs.settings.to_config_dict`.
        seeds: Values of the field `seed`, joined by commas; '' for none.
        sweeps: 'FIELD=VALUE|VALUE|...' each; nested fields are written with dots.

    Returns:
        The runs, by names that are valid folder names.

    Raises:
        InputError: There are no values, a field is unknown, a value is invalid or given twice, or
            the method refuses a combination.
    """
    given = [(f"--sweep={text}", *_split(text)) for text in sweeps]
    if seeds:
        given.append((f"--seeds={seeds}", "seed", seeds.split(",")))
    if not given:
        raise InputError("nothing to sweep; give --seeds=0,1,2 or --sweep='FIELD=VALUE|VALUE|...'")
    common, axes = config.to_dict(), {}
    for flag, field, texts in given:
        if field in axes:
            raise InputError(f"{flag}: {field} is already swept; give all its values at once")
        axes[field] = _values(flag, field, texts, recipe)
    runs = {}
    for values in itertools.product(*axes.values()):
        fields = dict(zip(axes, values))
        name = _name(fields)
        try:
            one = split(recipe, ml_collections.ConfigDict(merge({}, "", common, fields)))
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        runs[name] = Run(fields, *one)
    return runs


def _split(text: str) -> tuple[str, list[str]]:
    field, equals, values = text.partition("=")
    if not equals or not field.strip():
        raise InputError(f"--sweep={text}: must be FIELD=VALUE|VALUE|...")
    return field.strip().removeprefix("config."), values.split("|")


def _values(flag: str, field: str, texts: list[str], recipe: Recipe) -> list:
    """Returns the values as the config parses them; values of text fields stay as given."""
    values, seen = [], []
    known = {n: c for c in (recipe.config, RunConfig) for n in describe(c()) if n not in NAMED}
    if field not in known:
        hint = did_you_mean(field, known)
        raise InputError(f"{flag}: the config has no field {field} to sweep{hint}")
    for text in map(str.strip, texts):
        try:
            value = describe(known[field](**merge({}, "", {field: text})))[field].value
        except InputError as error:
            raise InputError(f"{flag}: {error}") from None
        if value in seen:
            raise InputError(f"{flag}: {text} is given twice")
        seen.append(value)
        values.append(text if isinstance(value, str) else value)
    return values


def _name(fields: dict[str, Any]) -> str:
    """Returns a folder name that is short, readable, and unique for the combination."""
    plain = ",".join(f"{field}={value}" for field, value in fields.items())
    name = re.sub(r"[^\w.,;=+-]", "_", plain)
    if name == plain and len(name.encode()) <= _LONGEST:
        return name
    name = name.encode()[:_LONGEST].decode(errors="ignore")
    return f"{name}-{hashlib.sha256(plain.encode('utf-8', 'replace')).hexdigest()[:8]}"
