"""The possible values of fields in words, for descriptions of fields and for error messages."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import annotated_types
import pydantic
import pydantic_core
from pydantic.fields import FieldInfo

from deepinternal.types import InputError

_LIMITS = {  # in the order of messages
    "at least": (annotated_types.Ge, "ge"),
    "greater than": (annotated_types.Gt, "gt"),
    "at most": (annotated_types.Le, "le"),
    "less than": (annotated_types.Lt, "lt"),
}


@dataclasses.dataclass(frozen=True)
class Form:
    """Describes in messages the values of a field that has its own parser."""

    text: str


def did_you_mean(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """Returns ', did you mean X?' if a known name is similar, else ''.

    Example:
        >>> from deepinternal.field_forms import did_you_mean
        >>> did_you_mean("featurs", ["features", "layers"])
        ', did you mean features?'
    """
    near = difflib.get_close_matches(name, list(known), 1)
    return f", did you mean {near[0]}?" if near else ""


def whole(spec: FieldInfo) -> Any:
    """Returns the annotation of a field together with its bounds and parsers."""
    return Annotated[spec.annotation, *spec.metadata] if spec.metadata else spec.annotation


def choices(annotation: Any) -> tuple[str, ...]:
    """Returns the values of a type with a fixed set of values, else ()."""
    return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()


def bounds(annotation: Any) -> tuple[float | None, float | None]:
    """Returns the lower and the upper bound of a type, or of one type of a union; None: unbounded."""
    bare, extras = _unwrapped(annotation)
    if typing.get_origin(bare) in (typing.Union, types.UnionType):
        ranges = list(map(bounds, typing.get_args(bare)))
        return next((r for r in ranges if r != (None, None)), (None, None))
    limits = _limits(extras)
    first = lambda *names: next((limits[name] for name in names if name in limits), None)
    return first("at least", "greater than"), first("at most", "less than")


def form(annotation: Any) -> str:
    """Describes the values of a type in words, such as 'a whole number of at least 1'."""
    annotation, extras = _unwrapped(annotation)
    for item in extras:
        if isinstance(item, Form):
            return item.text
    limits = _limits(extras)
    if typing.get_origin(annotation) is Literal:
        options = list(map(str, typing.get_args(annotation)))
        return options[0] if len(options) == 1 else f"one of {', '.join(options)}"
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = sorted(map(form, typing.get_args(annotation)), key=lambda text: text != "auto")
        return " or ".join(parts)
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return f"given field by field ({', '.join(annotation.model_fields)})"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    word = words.get(annotation, getattr(annotation, "__name__", str(annotation)))
    if set(limits) == {"at least", "at most"}:
        return f"{word} from {limits['at least']} to {limits['at most']}"
    listed = " and ".join(f"{how} {value}" for how, value in limits.items())
    return f"{word} {listed}".replace(" at least", " of at least", 1).strip() if limits else word


def explain(config: type[pydantic.BaseModel], error: pydantic_core.ErrorDetails) -> str:
    """Explains an error that pydantic found in the fields of a config, in one line."""
    path, owner = [], config
    spec = None
    for part in error["loc"]:
        if not isinstance(part, str) or part not in owner.model_fields:
            if error["type"] == "extra_forbidden":
                path.append(str(part))
            break
        path.append(part)
        spec = owner.model_fields[part]
        if isinstance(spec.annotation, type) and issubclass(spec.annotation, pydantic.BaseModel):
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
    return f"{name}{given}: must be {form(whole(spec)) if spec else error['msg']}"


def _unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """Returns a type without `Annotated`, and its annotations, the outermost first."""
    found: list[Any] = []
    while typing.get_origin(annotation) is Annotated:
        annotation, *extras = typing.get_args(annotation)
        for item in extras:
            found += item.metadata if isinstance(item, FieldInfo) else [item]
    return annotation, found


def _limits(extras: Sequence[Any]) -> dict[str, float]:
    """Returns the bounds among the annotations of a type, by the words for them in `_LIMITS`."""
    kinds = _LIMITS.items()
    return {
        how: getattr(x, name) for how, (kind, name) in kinds for x in extras if isinstance(x, kind)
    }


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 100 else f"{text[:97]}..."
    return repr(text) if isinstance(value, str) and (not text or not text.isprintable()) else text
