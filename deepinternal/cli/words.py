"""Parses the command line of a verb: inputs, options of the verb, and fields of the config."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from deepinternal.types import InputError

SWITCHES = ("overwrite", "help", "show", "json", "dry_run", "frames")
TEXTS = ("out", "preset", "method", "workdir")


@dataclasses.dataclass(frozen=True)
class Command:
    """A parsed command line.

    Attributes:
        inputs: The words that are not options.
        options: The verb's own options by name; switches are True or False.
        fields: All other options as text, which are fields of the config.
        several: The values of the options that may be given repeatedly, by name.
    """

    inputs: tuple[str, ...]
    options: Mapping[str, Any]
    fields: Mapping[str, str]
    several: Mapping[str, tuple[str, ...]]

    @property
    def presets(self) -> tuple[str, ...]:
        """The names of the presets that are given."""
        return tuple(name.strip() for name in self.options["preset"].split(",") if name.strip())


def parse(words: Sequence[str], *, own: Sequence[str] = ()) -> Command:
    """Parses a command line: `--name=value`, `--name value`, `--switch`, and inputs.

    Args:
        words: The words after the verb.
        own: Options that may be given repeatedly.

    Raises:
        InputError: An option has no value, or a switch has a wrong one.
    """
    inputs, fields, rest = [], {}, list(words)
    options: dict[str, Any] = dict.fromkeys(TEXTS, "") | dict.fromkeys(SWITCHES, False)
    several: dict[str, list[str]] = {name: [] for name in own}
    while rest:
        word = rest.pop(0)
        if word == "--":  # for names that begin with a dash
            inputs += rest
            break
        if not word.startswith("-") or word == "-" or os.path.isfile(word):
            inputs.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = {"h": "help", "o": "out"}.get(name, name.removeprefix("config.")).replace("-", "_")
        if name in SWITCHES:
            options[name] = _switch(word, value) if equals else True
            continue
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise InputError(f"{word}: needs a value: {word}=VALUE")
            value = rest.pop(0)
        if name in several:
            several[name].append(value)
        else:
            (options if name in TEXTS else fields)[name] = value
    return Command(tuple(inputs), options, fields, {n: tuple(v) for n, v in several.items()})


def _switch(word: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise InputError(f"{word}: give true or false")
    return value.lower() == "true"
