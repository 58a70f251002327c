"""Fields under the names they had before config.json said which version wrote it."""

import math
from collections.abc import Callable, Mapping
from typing import Any

Rename = tuple[str, Callable[[Any], Any]]  # the new name, and from the old value to the new one


def _as_it_is(value: Any) -> Any:
    return value


def _unit_range(sigma: float) -> float:
    """A standard deviation of values up to 255 as one of values in [0, 1]."""
    return sigma / 255


def _estimated(noise_std: float) -> float | str:
    """A negative noise level stood for one that is estimated."""
    return "auto" if noise_std < 0 else noise_std


def _of_uniform(most: float) -> float:
    """The standard deviation of uniform noise of at most so much."""
    return most / math.sqrt(3)


# By method: old name -> new name and conversion. Names below a nested config have dots.
RENAMED: Mapping[str, Mapping[str, Rename]] = {
    "dip": {
        "sigma": ("noise_std", _unit_range),
        "runs": ("replicas", _as_it_is),
        "task_steps": ("train_steps", _as_it_is),
    },
    "dehazing": {"fit_steps": ("pass_steps", _as_it_is)},
    "transparency": {"fit_steps": ("train_steps", _as_it_is)},
    "watermark": {"runs": ("replicas", _as_it_is)},
    "ingan": {"noise": ("noise_std", _of_uniform)},
    "kernelgan": {"seeds": ("replicas", _as_it_is), "noise_std": ("noise_std", _estimated)},
    "zssr": {
        "estimation.seeds": ("estimation.replicas", _as_it_is),
        "noise_std": ("noise_std", _estimated),
        "back_projection": ("back_projection", lambda text: text.strip() or "auto"),
    },
}
# By method: fields that older folders lack, from what they have.
ADDED: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    # What a preset could not do without; the field is empty where there was none.
    "zssr": lambda old: {"kernel_use": "given"} if old.get("required") == "kernel" else {}
}
# By method: fields that only choose what 'auto' stands for in others, which are compared instead.
SHORTHANDS: Mapping[str, tuple[str, ...]] = {"dip": ("effort",), "transparency": ("effort",)}


def renamed(method: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an older work folder under the names and in the units of today.

    Args:
        method: whose fields they are.
        fields: by name, nested ones with dots; with the fields that say how to run.

    Returns:
        New fields; what the method still has is as it was.
    """
    found = {**fields, **ADDED.get(method, lambda _: {})(fields)}
    found.pop("required", None)
    for old, (new, convert) in RENAMED.get(method, {}).items():
        if old in found:
            found[new] = convert(found.pop(old))
    return found
