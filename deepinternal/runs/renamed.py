"""Maps the field names of work folders from before config.json recorded a version."""

import math
from collections.abc import Callable, Mapping
from typing import Any

Rename = tuple[str, Callable[[Any], Any]]  # the new name, and the conversion of the value


def _unchanged(value: Any) -> Any:
    return value


def _unit_range(sigma: float) -> float:
    """Converts a standard deviation of values in [0, 255] to one of values in [0, 1]."""
    return sigma / 255


def _estimated(noise_std: float) -> float | str:
    """Converts a negative noise level, which meant an estimated one, to 'auto'."""
    return "auto" if noise_std < 0 else noise_std


def _of_uniform(most: float) -> float:
    """Returns the standard deviation of uniform noise with this maximum."""
    return most / math.sqrt(3)


# By method: old name -> new name and conversion. Nested fields have dots.
RENAMED: Mapping[str, Mapping[str, Rename]] = {
    "dip": {
        "sigma": ("noise_std", _unit_range),
        "runs": ("replicas", _unchanged),
        "task_steps": ("train_steps", _unchanged),
    },
    "dehazing": {"fit_steps": ("pass_steps", _unchanged)},
    "transparency": {"fit_steps": ("train_steps", _unchanged)},
    "watermark": {"runs": ("replicas", _unchanged)},
    "ingan": {"noise": ("noise_std", _of_uniform)},
    "kernelgan": {"seeds": ("replicas", _unchanged), "noise_std": ("noise_std", _estimated)},
    "zssr": {
        "noise_std": ("noise_std", _estimated),
        "back_projection": ("back_projection", lambda text: text.strip() or "auto"),
    },
}
# By method: fields that older folders lack, derived from the ones they have.
ADDED: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    # The old field that a preset required; it is empty if there was none.
    "zssr": lambda old: {"kernel_use": "given"} if old.get("required") == "kernel" else {}
}
# By method: fields that only choose the values for 'auto' in others, which are compared instead.
SHORTHANDS: Mapping[str, tuple[str, ...]] = {"dip": ("effort",), "transparency": ("effort",)}


def renamed(method: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Converts the fields of an older work folder to the current names and units.

    Args:
        method: The method of the fields.
        fields: Fields by name, including those that say how to run; nested ones with dots.

    Returns:
        The converted fields; other fields are unchanged.
    """
    found = {**fields, **ADDED.get(method, lambda _: {})(fields)}
    found.pop("required", None)
    for old, (new, convert) in RENAMED.get(method, {}).items():
        if old in found:
            found[new] = convert(found.pop(old))
    return found
