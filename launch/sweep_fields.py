"""The runs of a sweep: which values its fields take, and what each run is called."""

import difflib
import hashlib
import itertools
import re
from collections.abc import Sequence
from typing import Any

import ml_collections

from deepinternal.methods import registry
from deepinternal.types import InputError

_LONGEST = 150  # bytes of a folder's name


def combinations(
    config: ml_collections.ConfigDict, seeds: str, sweeps: Sequence[str]
) -> dict[str, tuple[dict[str, Any], ml_collections.ConfigDict]]:
    """All combinations of the values of some fields.

    Args:
        config: what all have in common.
        seeds: values of the field `seed`, separated by commas; '' for none.
        sweeps: 'FIELD=VALUE|VALUE|...' each; fields below a field are written with dots.

    Returns:
        Swept fields with their values, and the whole config, by a name that will do for a folder.

    Raises:
        InputError: no values at all, an unknown field, a value of the wrong type, one given twice,
            or a combination that the method refuses.
    """
    given = [(f"--sweep={text}", *_split(text)) for text in sweeps]
    if seeds:
        given.append((f"--seeds={seeds}", "seed", seeds.split(",")))
    if not given:
        raise InputError("nothing to sweep; give --seeds=0,1,2 or --sweep='FIELD=VALUE|VALUE|...'")
    axes: dict[str, list] = {}
    for flag, field, texts in given:
        if field in axes:
            raise InputError(f"{flag}: {field} is swept already; give all its values at once")
        axes[field] = _values(flag, field, texts, config)
    runs = {}
    for values in itertools.product(*axes.values()):
        fields = dict(zip(axes, values))
        one = config.copy_and_resolve_references()
        for field, value in fields.items():
            parent, _, name = field.rpartition(".")
            _at(one, parent)[name] = value
        name = _name(fields)
        try:
            registry.get(one.method).check(one)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        runs[name] = (fields, one)
    return runs


def _split(text: str) -> tuple[str, list[str]]:
    field, equals, values = text.partition("=")
    if not equals or not field.strip():
        raise InputError(f"--sweep={text}: must be FIELD=VALUE|VALUE|...")
    return field.strip().removeprefix("config."), values.split("|")


def _values(flag: str, field: str, texts: list[str], config: ml_collections.ConfigDict) -> list:
    known = _names(config)
    if field not in known or field == "method":
        near = difflib.get_close_matches(field, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"{flag}: the config has no field {field} to sweep{hint}")
    old = _at(config, field)
    values = [_parse(flag, text.strip(), old) for text in texts]
    for i, value in enumerate(values):
        if value in values[:i]:
            raise InputError(f"{flag}: {texts[i].strip()} is there twice")
    return values


def _parse(flag: str, text: str, old: Any) -> Any:
    """A value of the type that the field has."""
    kind = type(old)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind in (int, float, str):
            return kind(text)
    except (ValueError, KeyError):
        names = {bool: "true or false", int: "a whole number", float: "a number"}
        raise InputError(f"{flag}: {text!r} must be {names[kind]}") from None
    raise InputError(f"{flag}: fields like this one ({old!r}) cannot be swept")


def _names(config: ml_collections.ConfigDict, prefix: str = "") -> list[str]:
    names = []
    for name, value in config.items():
        below = isinstance(value, ml_collections.ConfigDict)
        names += _names(value, f"{prefix}{name}.") if below else [f"{prefix}{name}"]
    return names


def _at(config: ml_collections.ConfigDict, field: str) -> Any:
    for name in filter(None, field.split(".")):
        config = config[name]
    return config


def _name(fields: dict[str, Any]) -> str:
    """A name for a folder: short, readable, and another one for every combination."""
    plain = ",".join(f"{field}={value}" for field, value in fields.items())
    name = re.sub(r"[^\w.,;=+-]", "_", plain)
    if name == plain and len(name.encode()) <= _LONGEST:
        return name
    name = name.encode()[:_LONGEST].decode(errors="ignore")
    return f"{name}-{hashlib.sha256(plain.encode('utf-8', 'replace')).hexdigest()[:8]}"
