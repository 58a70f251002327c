"""Typed settings: fields with defaults, choices, bounds, units and descriptions, and named presets.

A method declares its settings as a class:

    class Config(MethodConfig):
        features: int = field(64, "channels between the layers", ge=1)
        noise_std: NoiseStd = field(0.0, "standard deviation of the noise added to the small images")
        net: Literal["interpolated", "subpixel"] = field("interpolated", "resolution of the net")

Only `build` merges defaults, presets, flags and options; the command line, `di.*`, `methods.make` and
sweeps all use it. The config that it returns is frozen, complete and valid: text such as '1,1.5;2' has
been parsed, and 'auto' has been replaced.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

import annotated_types
import pydantic

from deepinternal.field_forms import Form, did_you_mean, explain
from deepinternal.types import InputError, Precision

T = TypeVar("T")
C = TypeVar("C", bound="Config")
Auto = T | Literal["auto"]  # Auto[int]: a number, or 'auto', which `Config.resolved` replaces


def field(default: Any, doc: str, *, unit: str = "", **limits: Any) -> Any:
    """Declares a field of a `Config`.

    Args:
        default: The default value, which is parsed like a value from the user.
        doc: What the field does, a phrase that starts with a lower-case letter.
        unit: The unit, such as 'pixels', 'seconds', 'steps' or 'dB'; '' for none.
        **limits: The bounds of a number: `ge` (at least), `gt` (greater than), `le` (at most) and `lt`
            (less than).

    Returns:
        A class attribute for pydantic.

    Example:
        >>> from deepinternal.config import MethodConfig, field
        >>> class Config(MethodConfig):
        ...     features: int = field(64, "channels between the layers", ge=1)
        >>> Config(features=8).features
        8
        >>> Config(features=0)
        Traceback (most recent call last):
        deepinternal.types.InputError: config.features=0: must be a whole number of at least 1
    """
    return pydantic.Field(default, description=doc, json_schema_extra={"unit": unit}, **limits)


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
            raise InputError(explain(type(self), error.errors()[0])) from None

    def resolved(self) -> Self:
        """Returns the config with every 'auto' replaced.

        Raises:
            InputError: Fields contradict each other.
        """
        return self

    def plain(self) -> dict[str, Any]:
        """Returns the fields as JSON types; parsed fields are in a canonical text form."""
        return self.model_dump(mode="json")

    def replace(self, **fields: Any) -> Self:
        """Returns a copy in which some fields have other values, which are checked."""
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

    Example:
        >>> from deepinternal.config import Preset, merge
        >>> presets = {"small": Preset({"features": 8, "steps": 10}, "A small net.")}
        >>> merge(presets, "small", {"steps": 20, "seed": None})
        {'features': 8, 'steps': 20}
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

    Example:
        >>> from deepinternal.config import MethodConfig, Preset, build, field
        >>> class Config(MethodConfig):
        ...     features: int = field(64, "channels between the layers", ge=1)
        >>> presets = {"small": Preset({"features": 8}, "A small net.")}
        >>> build(Config, presets, "small", steps="100").plain()
        {'seed': 0, 'steps': 100, 'features': 8}
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
    """Formats a number, or a sequence of numbers that may be nested once, as the text of a field.

    Example:
        >>> from deepinternal.config import spelled
        >>> spelled(2), spelled(((1, 2), (2, 2)))
        ('2', '1,2;2,2')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not hasattr(value, "__iter__"):
        return f"{value:.12g}" if isinstance(value, float) else str(value)
    parts = list(value)
    deep = any(hasattr(part, "__iter__") and not isinstance(part, str) for part in parts)
    return (";" if deep else ",").join(map(spelled, parts))


def numbers(text: str) -> tuple[float, ...]:
    """Parses numbers joined by commas.

    Raises:
        ValueError: The text is anything else.

    Example:
        >>> from deepinternal.config import numbers
        >>> numbers("1,1.5")
        (1.0, 1.5)
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError("must be numbers joined by commas") from None


def whole_numbers(*, at_least: int, form: str = "") -> Any:
    """Returns the type of a field of whole numbers joined by commas, such as '8,16,32'.

    Args:
        at_least: The smallest possible number.
        form: Describes the text to users; '' for a description by `at_least`.

    Returns:
        An annotated type, whose values are tuples.

    Example:
        >>> from deepinternal.config import MethodConfig, field, whole_numbers
        >>> class Config(MethodConfig):
        ...     channels: whole_numbers(at_least=1) = field("8,16", "channels of the scales")
        >>> Config(channels=(4, 4)).channels
        (4, 4)
    """
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
