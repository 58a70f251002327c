"""Descriptions of the fields of a config, for users."""

import dataclasses
from typing import Any

from deepinternal.config import Config
from deepinternal.field_forms import bounds, choices, form, whole


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
    """Returns the descriptions of all fields of a config by name.

    Args:
        config: The config.
        prefix: Text before the names.

    Returns:
        The descriptions by name; the names of nested fields have dots.

    Example:
        >>> from deepinternal.config import MethodConfig
        >>> from deepinternal.field_info import describe
        >>> describe(MethodConfig())["steps"].form
        'a whole number of at least 0'
    """
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
            form(whole(spec)),
            choices(spec.annotation),
            *bounds(whole(spec)),
        )
    return found
