"""Prints the fields and the presets of a method.

    deepinternal show                      the methods, one per line
    deepinternal show NAME[:PRESET,...]    the fields with their units and ranges, and the presets
    deepinternal show NAME --json          the same as JSON
    deepinternal show --markdown           the fields and presets of all methods, as tables

The values shown are those after the presets. `deepinternal train --config=... --show` prints
the same with the fields set by its other flags.
"""

import contextlib
import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from deepinternal import by_name, methods
from deepinternal.cli import program
from deepinternal.config import Preset, merge
from deepinternal.field_forms import did_you_mean
from deepinternal.field_info import FieldInfo, describe
from deepinternal.recipe import Recipe
from deepinternal.runs.settings import NAMED, RunConfig, sort
from deepinternal.types import InputError
from deepinternal.writers import flat, to_json

_FLAGS = ("--json", "--markdown")
_HEAD = """# Fields and presets

The fields of each method, with defaults, units and ranges, and its presets: {links}.
All methods also have [the fields that say how to run](#fields-that-say-how-to-run).

A verb takes a field as `--FIELD=VALUE`, `deepinternal train` as `--config.FIELD=VALUE`, and Python
as `FIELD=VALUE`. Presets follow the name of the method, joined by commas:
`--config=dip:inpaint,fast`; for a verb, `--preset=fast`. They are applied in the order given, and
later ones take precedence. Presets without results have not been measured.
`deepinternal show NAME:PRESETS` prints the same for a terminal, with the values after the presets.

This file is generated from the code: `deepinternal show --markdown > configs/README.md`."""


def text(recipe: Recipe, presets: str = "", fields: Mapping[str, Any] | None = None) -> str:
    """Returns the fields and presets of a method, wrapped to the width of the terminal.

    Args:
        recipe: The recipe of the method.
        presets: Names of presets, joined by commas, that determine the shown values.
        fields: Values set after the presets, including fields of `RunConfig`; nested or with dots.

    Raises:
        InputError: A preset or field is unknown, or a value cannot be used.
    """
    own, run = _infos(recipe, presets, fields or {})
    command = f"deepinternal train --config={recipe.name}{':' if presets else ''}{presets}"
    lines = [
        *_wrapped(purpose(recipe), "", ""),
        "",
        f"{command} --workdir=DIR --config.input=FILE --config.FIELD=VALUE ...",
        f"{command} ... --dry_run: estimates the time for your images",
        "",
        f"Fields of the method{f', after the presets {presets}' if presets else ''}",
        *_field_lines(own),
        "",
        "Fields that say how to run",
        *_field_lines(run),
        "",
        "Presets; several are joined by commas, and later ones take precedence",
    ]
    for preset_name, preset in recipe.presets.items():
        lines += [f"  {preset_name}", *_preset_lines(preset)]
    return "\n".join(lines)


def as_json(recipe: Recipe, presets: str = "", fields: Mapping[str, Any] | None = None) -> str:
    """Returns the fields and presets as a JSON object.

    Args:
        recipe: See `text`.
        presets: See `text`.
        fields: See `text`.

    Returns:
        `method` and `doc`; `fields`, objects by name with `value`, `default`, `unit`, `doc`, `form`
        (the allowed values, in words), `group` ('method' or 'run'), and, if there are any,
        `choices`, `minimum`, `maximum`; `presets`, objects by name with `fields`, `doc`, `reaches`.
    """
    own, run = _infos(recipe, presets, fields or {})
    shown = {n: _as_object(f, "method") for n, f in own.items()}
    shown |= {n: _as_object(f, "run") for n, f in run.items()}
    of_presets = {
        name: {"fields": flat(preset.fields), "doc": preset.doc, "reaches": preset.reaches}
        for name, preset in recipe.presets.items()
    }
    found = {"method": recipe.name, "doc": purpose(recipe), "fields": shown, "presets": of_presets}
    return to_json(found, indent=2)


def markdown() -> str:
    """Returns the fields and presets of all methods as a document: configs/README.md."""
    links = ", ".join(f"[{name}](#{name})" for name in methods.names())
    parts = [_HEAD.format(links=links)]
    for name in methods.names():
        recipe = methods.find(name)
        own, run = _infos(recipe, "", {})
        rows = [(f"`{n}`", preset.doc, preset.reaches) for n, preset in recipe.presets.items()]
        sets = [
            f"* `{n}` sets {_settings(preset, '`{}={}`') or 'nothing'}."
            for n, preset in recipe.presets.items()
        ]
        parts += [f"## {name}\n\n{purpose(recipe)}"]
        parts += [_table(("preset", "purpose", "measured results"), rows)]
        parts += ["\n".join(sets), _field_table(own)]
    parts += ["## Fields that say how to run\n\nEvery method has them.", _field_table(run)]
    return "\n\n".join(parts)


def purpose(recipe: Recipe) -> str:
    """Returns the purpose of a method: the first line of its module's docstring."""
    module = sys.modules.get(getattr(recipe.make, "__module__", ""))
    doc = getattr(module, "__doc__", None) or recipe.config.__doc__ or recipe.name
    return doc.strip().splitlines()[0]


def _infos(
    recipe: Recipe, presets: str, fields: Mapping[str, Any]
) -> tuple[dict[str, FieldInfo], dict[str, FieldInfo]]:
    """Describes the fields of the method, and those that say how to run."""
    own, run = sort(recipe, merge(recipe.presets, presets, fields))
    try:
        config = recipe.config(**own)
    except InputError as error:
        raise InputError(f"{recipe.name}: {error}") from None
    with contextlib.suppress(InputError):  # a preset may need a field that only the user knows
        config = config.resolved()
    shown = describe(RunConfig(**run))
    return describe(config), {name: info for name, info in shown.items() if name not in NAMED}


def _as_object(info: FieldInfo, group: str) -> dict[str, Any]:
    found = {"value": info.value, "default": info.default, "unit": info.unit, "doc": info.doc}
    found |= {"form": info.form, "group": group}
    limits = {"choices": list(info.choices), "minimum": info.minimum, "maximum": info.maximum}
    return found | {name: value for name, value in limits.items() if value not in (None, [])}


def _field_lines(infos: Mapping[str, FieldInfo]) -> list[str]:
    lines = []
    for info in infos.values():
        is_default = info.value == info.default
        default = "default" if is_default else f"default: {_with_unit(info.default, info.unit)}"
        head = f"{info.name} = {_with_unit(info.value, info.unit)}   ({default}; {info.form})"
        lines += _wrapped(head, "  ", "          ") + _wrapped(_sentence(info.doc))
    return lines


def _with_unit(value: Any, unit: str) -> str:
    return f"{_shown(value)} {unit}" if unit and value not in ("", "auto") else _shown(value)


def _preset_lines(preset: Preset) -> list[str]:
    lines = _wrapped(_sentence(preset.doc))
    lines += _wrapped(f"Sets {_settings(preset) or 'nothing'}.")
    return lines + _wrapped(f"Measured results: {preset.reaches or 'not measured'}.")


def _settings(preset: Preset, form: str = "{}={}") -> str:
    return ", ".join(form.format(n, _shown(value)) for n, value in flat(preset.fields).items())


def _field_table(infos: Mapping[str, FieldInfo]) -> str:
    rows = [
        (f"`{i.name}`", f"`{_shown(i.default)}`", i.unit, i.form, i.doc) for i in infos.values()
    ]
    return _table(("field", "default", "unit", "values", "description"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(x.replace('|', '&#124;') for x in row)} |" for row in lines)


def _shown(value: Any) -> str:
    """Formats a value as users write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value) if value != "" else "''"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}." if words else ""


def _wrapped(words: str, first: str = "      ", later: str = "      ") -> list[str]:
    width = min(max(shutil.get_terminal_size((100, 24)).columns, 40), 100)
    return textwrap.wrap(words, width, initial_indent=first, subsequent_indent=later)


def _listed() -> str:
    names = methods.names()
    width = max(map(len, names))
    return "\n".join(f"{name:{width}}  {purpose(methods.find(name))}" for name in names)


def main() -> int:
    """Prints what the command line asks for; returns the exit status."""
    words = sys.argv[1:]
    if {"--help", "-h"} & set(words):
        print((__doc__ or "").strip())  # python -OO drops it
        return 0
    for word in words:
        if word.startswith("-") and word not in _FLAGS:
            hint = did_you_mean(word, _FLAGS) or f"; there are: {', '.join(_FLAGS)}"
            raise InputError(f"{word}: there is no such flag{hint}")
    names = [word for word in words if word not in _FLAGS]
    if len(names) > 1:
        raise InputError(f"unexpected argument {names[1]!r}; give one method, such as dip:fast")
    if "--markdown" in words:
        if names or "--json" in words:
            raise InputError("--markdown: prints all methods and takes no other argument")
        print(markdown())
    elif not names:
        listed = {n: purpose(methods.find(n)) for n in methods.names()}
        print(json.dumps(listed, indent=2) if "--json" in words else _listed())
    else:
        if by_name.as_file(names[0]) == names[0]:  # a file, whose name may be that of a method
            raise InputError(f"{names[0]}: give the method's name, such as dip:fast")
        name, presets = by_name.parts(names[0])
        print((as_json if "--json" in words else text)(methods.find(name), presets))
    return 0


def run_program() -> None:
    """Prints what the command line asks for, and exits."""
    program.run_without_flags(main)
