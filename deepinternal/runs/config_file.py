"""The config.json of a work folder, compared with the config of a command."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepinternal.recipe import Recipe
from deepinternal.runs.renamed import SHORTHANDS, renamed
from deepinternal.runs.settings import RunConfig
from deepinternal.types import InputError
from deepinternal.writers import flat, is_number, read_object

NAME = "config.json"


class RefusedError(InputError):
    """An error of the whole work folder, not of one image: it does not fit the command."""


def read(path: Path) -> dict[str, Any] | None:
    """Returns the contents of a config.json; None if it does not exist.

    Raises:
        RefusedError: The file is not a config that this program wrote.
    """
    if not path.exists():
        return None
    found = read_object(path)
    try:
        return {**found, "config": dict(found["config"])}
    except (ValueError, KeyError, TypeError):
        raise RefusedError(
            f"{path}: is not a config that this program wrote; use another --workdir"
        ) from None


def differences(
    found: Mapping[str, Any], now: Mapping[str, Any], recipe: Recipe, *, asked: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Returns the fields that do not allow a command to continue the results in a folder.

    Args:
        found: The contents of config.json.
        now: The fields of the command.
        recipe: The recipe of the method, which parses both.
        asked: The fields of the command that determine the number of steps, which may increase.

    Returns:
        The two values of each field, there and now.

    Raises:
        InputError: The fields of another version cannot be parsed.
    """
    saved = found["config"]
    old = {"color": "keep", **saved}
    differing = {n: (old.get(n), now[n]) for n in ("method", "color") if old.get(n) != now[n]}
    if "method" not in differing:
        fields = flat(saved) if "version" in found else renamed(recipe.name, flat(saved))
        own = {n: v for n, v in fields.items() if n.split(".")[0] not in RunConfig.model_fields}
        # With the present numbers of steps, because values derived from them may differ.
        old = flat(recipe.build("", **own | asked).plain())
        new = flat({n: now[n] for n in recipe.config.model_fields})
        names = [n for n in new if n not in SHORTHANDS.get(recipe.name, ())]
        # Files are compared by their contents, image by image.
        files = {n for n in recipe.side_inputs if old.get(n) and new.get(n)}
        free = {*files, *recipe.continued}
        pairs = {n: (old[n], new[n]) for n in names if n not in free}
        differing |= {n: pair for n, pair in pairs.items() if not _same(*pair)}
    if 0 < now["steps"] < saved.get("steps", 0):  # more steps continue; fewer cannot be undone
        differing["steps"] = (saved["steps"], now["steps"])
    return differing


def _same(a: Any, b: Any) -> bool:
    """Whether two values are equal; numbers up to the rounding of a change of unit."""
    return a == b or (is_number(a) and is_number(b) and math.isclose(a, b, rel_tol=1e-9))
