"""Typed settings: fields with defaults, choices, bounds, units and descriptions, and named presets.

A method declares its settings as a class:

    class Config(MethodConfig):
        features: int = field(64, "channels between the layers", ge=1)
        noise_std: NoiseStd = field(0.0, "standard deviation of the noise added to the small images")
        net: Literal["interpolated", "subpixel"] = field("interpolated", "resolution of the net")

Only `build` merges defaults, presets, flags and options: the command line, `di.*`, `methods.make` and
sweeps all use it. The config that it returns is frozen, complete and valid: text such as '1,1.5;2' has
been parsed, and 'auto' has been replaced.
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

from deepinternal.types import InputError, Precision

T = TypeVar("T")
C = TypeVar("C", bound="Config")
Auto = T | Literal["auto"]  # Auto[int]: a number, or 'auto', which `Config.resolved` replaces


@dataclasses.dataclass(frozen=True)
class Form:
    """Describes in messages the values of a field that has its own parser."""

    text: str


def field(default: Any, doc: str, *, unit: str = "", **bounds: Any) -> Any:
    """Declares a field of a `Config`.

    Args:
        default: The default value, which is parsed like a value from the user.
        doc: What the field does, a phrase that starts with a lower-case letter.
        unit: Such as 'pixels', 'seconds', 'steps', 'dB'; '' for none.
        **bounds: `ge`, `gt`, `le`, `lt`.

    Returns:
        A class attribute for pydantic.
    """
    return pydantic.Field(default, description=doc, json_schema_extra={"unit": unit}, **bounds)


class Config(pydantic.BaseModel, frozen=True, extra="forbid", validate_default=True):
    """Base class of all settings: frozen, hashable, and without unknown fields.

    Raises:
        InputError: A field is unknown, or a value has a wrong type or is out of range. The message is
            one line that names the field, the given value and the possible values.
    """

    model_config = pydantic.ConfigDict(allow_inf_nan=False)

    def __init__(self, **fields: Any):
        try:
            super().__init__(**fields)
        except pydantic.ValidationError as error:
            raise InputError(_explain(type(self), error.errors()[0])) from None

    def resolved(self) -> Self:
        """Returns the config with every 'auto' replaced. Raises InputError if fields contradict."""
        return self

    def plain(self) -> dict[str, Any]:
        """Returns the fields as JSON types; parsed fields are text in a canonical form."""
        return self.model_dump(mode="json")

    def replace(self, **fields: Any) -> Self:
        """Returns a copy with other values, which are checked."""
        return type(self)(**{**self.plain(), **fields}).resolved()


class MethodConfig(Config):
    """The fields that every method has."""

    seed: int = field(0, "seed of all random draws", ge=0, le=2**32 - 1)
    steps: int = field(
        0,
        "number of steps that replaces the method's own; decompositions take it as a limit of each "
        "stage; 0: the method's own; raise it to continue a finished run",
        unit="steps",
        ge=0,
    )


class NetConfig(MethodConfig):
    """The fields of every method that trains nets."""

    precision: Precision = field(
        "default",
        "arithmetic of the nets; default, high, highest: float32 with the backend's least to "
        "greatest precision of products; bfloat16: activations and products in bfloat16, all else "
        "in float32",
    )


Label = Literal["any"] | Annotated[int, annotated_types.Ge(0), annotated_types.Le(65535)]


class MaskConfig(MethodConfig):
    """The field of every method that takes masks."""

    label: Label = field(
        "any",
        "label that counts as white in masks of labels, such as those of Pascal VOC and DAVIS; any: "
        "all but 0, the background, and void",
    )


@dataclasses.dataclass(frozen=True)
class Preset:
    """A named set of field values.

    Attributes:
        fields: The values that it sets; nested fields as nested mappings.
        doc: Its purpose.
        reaches: The results that it reaches, with time and machine; '' if not measured.
    """

    fields: Mapping[str, Any]
    doc: str
    reaches: str = ""


Presets = Mapping[str, Preset]


def merge(presets: Presets, names: str, *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merges the fields of presets, in the order given, and of further layers; later values win.

    Args:
        presets: All known presets.
        names: Names of the presets to apply, joined by commas; '' for none.
        *layers: Fields by name, nested or with dots; None means that a field is not given.

    Returns:
        Only the fields that are set, neither parsed nor checked.

    Raises:
        InputError: A preset is unknown.
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
    """Makes a config from defaults, presets and fields; later values win.

    Args:
        config: The class of the config.
        presets: All known presets.
        names: Names of the presets to apply in this order, joined by commas; '' for none.
        **fields: Values from the user: text is parsed, and None means that a field is not given.

    Returns:
        A checked config without 'auto'.

    Raises:
        InputError: A preset or a field is unknown, or a value is not possible.
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
    """Returns ', did you mean X?' if a known name is similar, else ''."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f", did you mean {near[0]}?" if near else ""


# Descriptions of fields for users.


@dataclasses.dataclass(frozen=True)
class FieldInfo:
    """The description of a field for users.

    Attributes:
        name: Its name, with dots for nested configs.
        value: Its value in a config, as plain text, number or bool.
        default: Its default, in the same form.
        doc: What it does.
        unit: Its unit; '' for none.
        form: Its possible values in words, such as 'a whole number of at least 1'.
        choices: Its possible values if there is a fixed set of them, else ().
        minimum: The lower bound of a number, or None. `form` tells whether the bound is allowed.
        maximum: The upper bound of a number, or None.
    """

    name: str
    value: Any
    default: Any
    doc: str
    unit: str
    form: str
    choices: tuple[str, ...]
    minimum: float | None = None
    maximum: float | None = None


def describe(config: Config, prefix: str = "") -> dict[str, FieldInfo]:
    """Describes all fields of a config by name; nested fields have names with dots."""
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
            *_range(_whole(spec)),
        )
    return found


def _whole(spec: pydantic.fields.FieldInfo) -> Any:
    """The annotation of a field with its bounds and parsers."""
    return Annotated[spec.annotation, *spec.metadata] if spec.metadata else spec.annotation


def _choices(annotation: Any) -> tuple[str, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()


_LIMITS = {  # in the order of messages
    "at least": (annotated_types.Ge, "ge"),
    "greater than": (annotated_types.Gt, "gt"),
    "at most": (annotated_types.Le, "le"),
    "less than": (annotated_types.Lt, "lt"),
}


def _unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """Returns a type without `Annotated`, and its annotations, the outermost first."""
    said: list[Any] = []
    while typing.get_origin(annotation) is Annotated:
        annotation, *extra = typing.get_args(annotation)
        for item in extra:
            said += item.metadata if isinstance(item, pydantic.fields.FieldInfo) else [item]
    return annotation, said


def _limits(said: Sequence[Any]) -> dict[str, float]:
    """The bounds among the annotations of a type, by their words: 'at least', 'less than', ..."""
    kinds = _LIMITS.items()
    return {
        how: getattr(x, name) for how, (kind, name) in kinds for x in said if isinstance(x, kind)
    }


def _range(annotation: Any) -> tuple[float | None, float | None]:
    """The lower and the upper bound of a type or of a member of a union; None without a bound."""
    bare, said = _unwrapped(annotation)
    if typing.get_origin(bare) in (typing.Union, types.UnionType):
        ranges = list(map(_range, typing.get_args(bare)))
        return next((r for r in ranges if r != (None, None)), (None, None))
    limits = _limits(said)
    first = lambda *names: next((limits[name] for name in names if name in limits), None)
    return first("at least", "greater than"), first("at most", "less than")


def _form(annotation: Any) -> str:
    """Describes the values of a type in words."""
    annotation, said = _unwrapped(annotation)
    for item in said:
        if isinstance(item, Form):
            return item.text
    bounds = _limits(said)
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
    """Explains an error of pydantic in one line."""
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
        return str(error["ctx"]["error"]).replace("config", name, 1)  # in a nested config
    if error["type"] == "value_error":
        return f"{name}{given}: {error['ctx']['error']}"
    return f"{name}{given}: must be {_form(_whole(spec)) if spec else error['msg']}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 100 else f"{text[:97]}..."
    return repr(text) if isinstance(value, str) and (not text or not text.isprintable()) else text


# Types of fields that users write as text.


def parsed(kind: Any, parse: Callable[[str], Any], text: Callable[[Any], str], form: str) -> Any:
    """Returns the type of a field that users write as text and methods read as a value.

    Args:
        kind: The type of the value.
        parse: Converts text to the value; its ValueError says what would be right.
        text: Converts the value to text, such that `parse(text(value)) == value`.
        form: Describes the text to users.

    Returns:
        An annotated type. Numbers and sequences of numbers are converted to text before parsing.
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
    """Formats a number or (nested) sequence of numbers: 2 -> '2', ((1, 2), (2, 2)) -> '1,2;2,2'."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not hasattr(value, "__iter__"):
        return f"{value:.12g}" if isinstance(value, float) else str(value)
    parts = list(value)
    deep = any(hasattr(part, "__iter__") and not isinstance(part, str) for part in parts)
    return (";" if deep else ",").join(map(spelled, parts))


def numbers(text: str) -> tuple[float, ...]:
    """Parses numbers joined by commas. Raises ValueError for any other text."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError("must be numbers joined by commas") from None


def whole_numbers(*, at_least: int, form: str = "") -> Any:
    """Returns the type of a field of whole numbers joined by commas, such as '8,16,32': a tuple."""
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
    float,
    annotated_types.Ge(0),
    pydantic.AfterValidator(_noise),
    annotated_types.Le(1),
    Form("a number from 0 to 1"),
]
# One path or several; text that looks like a number is not converted.
Text = Annotated[str, pydantic.BeforeValidator(_file)]
GIVEN = "(array)"  # the value of a side input's field if the user gave an array instead of a file
