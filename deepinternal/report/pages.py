"""The templates of pages and pictures, and the format of values in them."""

import functools
from pathlib import Path
from typing import Any

import deepinternal
from deepinternal.writers import is_number


@functools.cache
def templates() -> Any:
    """Returns the environment of templates/; it escapes values, and missing ones are errors."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters |= {"short": short, "fixed": _fixed, "figure": _figure}
    made.globals["version"] = deepinternal.__version__
    return made


def short(value: Any) -> str:
    """Formats a value for a table."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(short, value))
    return "" if value is None else str(value)


def _fixed(value: Any, form: str) -> str:
    return format(value, form) if is_number(value) else short(value)


def _figure(value: float) -> str:
    """Formats a number for reading: whole, or with about three digits."""
    whole = isinstance(value, int) or 100 <= abs(value) < 1e15
    return f"{value:.0f}" if whole else f"{value:.3g}"
