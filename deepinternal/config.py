"""Typed settings: fields with defaults, choices, bounds, units and descriptions, and named presets.

A method declares its settings as a class:

    class Config(MethodConfig):
        features: int = field(64, "channels between the layers", ge=1)
        noise_std: NoiseStd = field(0.0, "standard deviation of the noise added to the small images")
        net: Literal["interpolated", "subpixel"] = field("interpolated", "where the net works")

`build` is the only function that merges defaults, presets, flags and options: every way into the
library (the command line, `di.*`, `methods.make`, sweeps) goes through it. After it a config is frozen,
complete and valid; text such as '1,1.5;2' has been parsed, and 'auto' has been resolved.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

import annotated_types
import pydantic
import pydantic_core

from deepinternal.types import InputError

T = TypeVar("T")
C = TypeVar("C", bound="Config")
Auto = T | Literal["auto"]  # Auto[int]: a number, or 'auto', which `Config.resolved` replaces


@dataclasses.dataclass(frozen=True)
class Form:
    """What a field that is parsed by a function of its own may look like, for messages."""

    text: str


def field(default: Any, doc: str, *, unit: str = "", **bounds: Any) -> Any:
    """Declares a field of a `Config`.

    Args:
        default: its value where nothing else is said; parsed like what users give.
        doc: what it does, a phrase that starts with a lower-case letter.
        unit: such as 'pixels', 'seconds', 'steps', 'dB'; '' for none.
        **bounds: `ge`, `gt`, `le`, `lt`.

    Returns:
        What pydantic takes as a class attribute.
    """
    return pydantic.Field(default, description=doc, json_schema_extra={"unit": unit}, **bounds)


class Config(pydantic.BaseModel, frozen=True, extra="forbid", validate_default=True):
    """Base class of all settings: frozen, hashable, without unknown fields.

    Raises:
        InputError: an unknown field, a wrong type, or a value out of range; one line that names the
            field, what was given and what would be right.
    """

    model_config = pydantic.ConfigDict(allow_inf_nan=False)

    def __init__(self, **fields: Any):
        try:
            super().__init__(**fields)
        except pydantic.ValidationError as error:
            raise InputError(_explain(type(self), error.errors()[0])) from None

    def resolved(self) -> Self:
        """The config with every 'auto' replaced; raises InputError where fields do not go together."""
        return self

    def plain(self) -> dict[str, Any]:
        """The fields as JSON types; parsed text is text again, in one canonical form."""
        return self.model_dump(mode="json")

    def replace(self, **fields: Any) -> Self:
        """A copy with other values, which are checked."""
        return type(self)(**{**self.plain(), **fields}).resolved()


class MethodConfig(Config):
    """The fields that every method has."""

    seed: int = field(0, "seed of all random draws", ge=0, le=2**32 - 1)
    steps: int = field(
        0,
        "at most this many steps in each stage; 0: the method's own number. A finished run is "
        "continued when it is raised",
        unit="steps",
        ge=0,
    )


@dataclasses.dataclass(frozen=True)
class Preset:
    """A named set of field values.

    Attributes:
        fields: what it sets; nested fields as nested mappings.
        doc: what it is for.
        reaches: what results it reaches, and in how much time on which machine; '' if not measured.
    """

    fields: Mapping[str, Any]
    doc: str
    reaches: str = ""


Presets = Mapping[str, Preset]


def merge(presets: Presets, names: str, *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Fields set by presets, in the order given, and then by further layers; the later one decides.

    Args:
        presets: all that there are.
        names: of those to apply, joined by commas; '' for none.
        *layers: fields by name, nested or with dots; None means 'not given'.

    Returns:
        Only the fields that something sets, neither parsed nor checked.

    Raises:
        InputError: an unknown preset.
    """
    merged: dict[str, Any] = {}
    for name in filter(None, (part.strip() for part in (names or "").split(","))):
        if name not in presets:
            raise InputError(
                f"no preset {name!r}{did_you_mean(name, presets)}; there are: {', '.join(presets)}"
            )
        _update(merged, presets[name].fields)
    for layer in layers:
        _update(merged, layer)
    return merged


def build(config: type[C], presets: Presets, names: str = "", /, **fields: Any) -> C:
    """Makes a config from defaults, presets and fields; the later one decides.

    Args:
        config: the class.
        presets: all that there are.
        names: of the presets to apply, joined by commas, in this order; '' for none.
        **fields: values as users give them: text is parsed, None means 'not given'.

    Returns:
        A checked config without 'auto'.

    Raises:
        InputError: an unknown preset or field, or a value that cannot be used.
    """
    return config(**merge(presets, names, fields)).resolved()


def _update(into: dict[str, Any], fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        name, _, below = name.partition(".")
        if below:
            value = {below: value}
        if isinstance(value, Mapping):
            nested = into.setdefault(name, {})
            into[name] = nested = dict(nested) if isinstance(nested, Mapping) else {}
            _update(nested, value)
        elif value is not None:
            into[name] = value


def did_you_mean(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """', did you mean X?' where a known name is near, else ''."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f", did you mean {near[0]}?" if near else ""


# What users read of a field.


@dataclasses.dataclass(frozen=True)
class FieldInfo:
    """A field as users are shown it.

    Attributes:
        name: with dots below nested configs.
        value: in a config, as plain text, number or bool.
        default: likewise, of the class.
        doc: what it does.
        unit: '' for none.
        form: what its values may be, such as 'a whole number of at least 1'.
        choices: of a field with a fixed set of values; () for others.
    """

    name: str
    value: Any
    default: Any
    doc: str
    unit: str
    form: str
    choices: tuple[str, ...]


def describe(config: Config, prefix: str = "") -> dict[str, FieldInfo]:
    """All fields of a config by name, nested ones with dots."""
    found: dict[str, FieldInfo] = {}
    values, defaults = config.plain(), type(config).model_construct().plain()
    for name, spec in type(config).model_fields.items():
        if isinstance(getattr(config, name), Config):
            found |= describe(getattr(config, name), f"{prefix}{name}.")
            continue
        unit = (spec.json_schema_extra or {}).get("unit", "")
        full = f"{prefix}{name}"
        found[full] = FieldInfo(
            full,
            values[name],
            defaults[name],
            spec.description or "",
            unit,
            _form(_whole(spec)),
            _choices(spec.annotation),
        )
    return found


def _whole(spec: pydantic.fields.FieldInfo) -> Any:
    """A field's annotation with its bounds and parsers."""
    return Annotated[spec.annotation, *spec.metadata] if spec.metadata else spec.annotation


def _choices(annotation: Any) -> tuple[str, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()


def _form(annotation: Any) -> str:
    """What values a type takes, in words."""
    bounds: dict[str, float] = {}
    while typing.get_origin(annotation) is Annotated:
        annotation, *extra = typing.get_args(annotation)
        for item in extra:
            if isinstance(item, Form):
                return item.text
            for part in item.metadata if isinstance(item, pydantic.fields.FieldInfo) else (item,):
                if isinstance(part, annotated_types.Ge):
                    bounds["at least"] = part.ge
                elif isinstance(part, annotated_types.Gt):
                    bounds["greater than"] = part.gt
                elif isinstance(part, annotated_types.Le):
                    bounds["at most"] = part.le
                elif isinstance(part, annotated_types.Lt):
                    bounds["less than"] = part.lt
    if typing.get_origin(annotation) is Literal:
        options = list(map(str, typing.get_args(annotation)))
        return options[0] if len(options) == 1 else f"one of {', '.join(options)}"
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = sorted(map(_form, typing.get_args(annotation)), key=lambda text: text != "auto")
        return " or ".join(parts)
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return f"given field by field ({', '.join(annotation.model_fields)})"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    word = words.get(annotation, getattr(annotation, "__name__", str(annotation)))
    if set(bounds) == {"at least", "at most"}:
        return f"{word} from {bounds['at least']} to {bounds['at most']}"
    limits = " and ".join(f"{how} {value}" for how, value in bounds.items())
    return f"{word} {limits}".replace(" at least", " of at least", 1).strip() if limits else word


def _explain(config: type[Config], error: pydantic_core.ErrorDetails) -> str:
    """One line for what pydantic says of a field."""
    path, owner = [], config
    spec = None
    for part in error["loc"]:
        if not isinstance(part, str) or part not in owner.model_fields:
            if error["type"] == "extra_forbidden":
                path.append(str(part))
            break
        path.append(part)
        spec = owner.model_fields[part]
        if isinstance(spec.annotation, type) and issubclass(spec.annotation, Config):
            owner = spec.annotation
        else:
            break
    name = f"config.{'.'.join(path)}" if path else "config"
    if error["type"] == "extra_forbidden":
        known = owner.model_fields
        hint = did_you_mean(path[-1], known) or f"; there are: {', '.join(known)}"
        return f"{name}: there is no such field{hint}"
    given = "" if spec is None else f"={_short(error['input'])}"
    if error["type"] == "value_error" and isinstance(error["ctx"]["error"], InputError):
        return str(error["ctx"]["error"]).replace("config", name, 1)  # of a nested config
    if error["type"] == "value_error":
        return f"{name}{given}: {error['ctx']['error']}"
    return f"{name}{given}: must be {_form(_whole(spec)) if spec else error['msg']}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 100 else f"{text[:97]}..."
    return repr(text) if isinstance(value, str) and (not text or not text.isprintable()) else text


# Types of fields that are written as text.


def parsed(kind: Any, parse: Callable[[str], Any], text: Callable[[Any], str], form: str) -> Any:
    """The type of a field that users write as text, and methods read as a value.

    Args:
        kind: the value's type.
        parse: from text to the value; raises ValueError with what would be right.
        text: back; `parse(text(value)) == value`.
        form: what the text may be, for users.

    Returns:
        An annotated type. Numbers and sequences of numbers are spelled out before they are parsed.
    """

    def read(value: Any) -> Any:
        return parse(spelled(value))

    return Annotated[
        kind,
        pydantic.PlainValidator(read, json_schema_input_type=str),
        pydantic.PlainSerializer(lambda value: value if isinstance(value, str) else text(value)),
        Form(form),
    ]


def spelled(value: Any) -> str:
    """A number or (nested) sequence of numbers as text: 2 -> '2', ((1, 2), (2, 2)) -> '1,2;2,2'."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not hasattr(value, "__iter__"):
        return f"{value:.12g}" if isinstance(value, float) else str(value)
    parts = list(value)
    deep = any(hasattr(part, "__iter__") and not isinstance(part, str) for part in parts)
    return (";" if deep else ",").join(map(spelled, parts))


def numbers(text: str) -> tuple[float, ...]:
    """Numbers joined by commas. Raises ValueError where something else stands there."""
    return tuple(float(part) for part in text.split(","))


def whole_numbers(*, at_least: int, form: str = "") -> Any:
    """The type of a field of whole numbers joined by commas, a tuple for methods: '8,16,32'."""
    form = form or f"whole numbers of at least {at_least} joined by commas"

    def parse(text: str) -> tuple[int, ...]:
        try:
            found = tuple(int(part) for part in text.split(","))
        except ValueError:
            found = ()
        if not found or min(found) < at_least:
            raise ValueError(f"must be {form}")
        return found

    return parsed(tuple[int, ...], parse, lambda value: ",".join(map(str, value)), form)


def _noise(value: float) -> float:
    if value > 1:
        raise ValueError(
            f"must be a standard deviation in [0, 1]; {value:g} of 255 is {value / 255:.3g}"
        )
    return value


def _file(value: Any) -> Any:
    import os

    return os.fspath(value) if isinstance(value, os.PathLike) else spelled(value)


NoiseStd = Annotated[
    float, annotated_types.Ge(0), pydantic.AfterValidator(_noise), Form("a number from 0 to 1")
]
# A path, or several; text that looks like a number stays as it is.
Text = Annotated[str, pydantic.BeforeValidator(_file)]
GIVEN = "(array)"  # the value of a side input's field where an array was given instead of a file
