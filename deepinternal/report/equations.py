"""Equations of a decomposition for a page, with pictures and numbers in place of names."""

import re
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN = re.compile(r"[^\W\d]\w*(?:\[\d+\])?|\d+(?:\.\d+)?|\S")
_SIGNS = {"*": "×", "-": "−"}


def parts(
    equation: str, picture: Callable[[str], str], figures: Mapping[str, Any]
) -> list[list[dict[str, str]]]:
    """Returns the terms of an equation, each a list of parts that stay together on a line.

    Args:
        equation: Such as 'input = mask * foreground + (1 - mask) * background'.
        picture: `name -> address` of a small picture of an input or output; '' if there is none.
        figures: Numbers and lists of numbers; 'alphas[0]' is the first value of 'alphas'.

    Returns:
        Terms, each of which begins with its sign, except the first. A part has a `name` and a `src`
        (a picture), a `name` and a `value` (a number), or a `sign` (anything else).
    """
    terms: list[list[dict[str, str]]] = [[]]
    depth = 0
    for token in _TOKEN.findall(equation):
        depth += (token == "(") - (token == ")")
        if token in "=≈+-" and depth == 0 and terms[-1]:
            terms.append([])
        part, last = _part(token, picture, figures), terms[-1][-1:]
        if "sign" in part and last and "sign" in last[0]:
            space = "" if token == ")" or last[0]["sign"].endswith("(") else " "
            last[0]["sign"] += space + part["sign"]
        else:
            terms[-1].append(part)
    return terms


def _part(token: str, picture: Callable[[str], str], figures: Mapping[str, Any]) -> dict[str, str]:
    """Returns the part for a token."""
    if not (token[0].isalpha() or token[0] == "_"):
        return {"sign": _SIGNS.get(token, token)}
    name, _, index = token.rstrip("]").partition("[")
    value = figures.get(name)
    if index and isinstance(value, list | tuple):
        value = value[int(index)] if int(index) < len(value) else None
    if isinstance(value, int | float):
        return {"name": token, "value": f"{value:.3g}"}
    src = "" if index else picture(name)
    return {"name": token, "src": src} if src else {"sign": token}
