"""The work folders of verbs in the user's cache."""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepinternal.cli import program_cache
from deepinternal.config import MethodConfig
from deepinternal.files import expanded, sha256_files
from deepinternal.recipe import Recipe
from deepinternal.runs.inputs import Job
from deepinternal.runs.settings import RunConfig

_KEPT = 30 * 24 * 3600  # seconds after which unused work folders are removed


def folder(
    name: str,
    recipe: Recipe,
    config: MethodConfig,
    settings: RunConfig,
    listed: Sequence[Job],
) -> Path:
    """Returns the work folder of a command in the user's cache.

    Each set of field values has its own folder. Files that are named, rather than a folder or glob,
    determine it by their contents, so that a changed photograph gets a new one, and a photograph that
    was moved does not. A folder or glob determines it by its place, so that adding an image keeps the
    results of the others.

    Args:
        name: The name of the verb.
        recipe: The recipe of the method.
        config: Its config.
        settings: How to run.
        listed: The jobs of the input.
    """
    fields = {n: value for n, value in config.plain().items() if n not in recipe.side_inputs}
    sides = {n: expanded(getattr(config, n)) for n in recipe.side_inputs}
    said: list[Any] = [recipe.name, fields]
    if settings.color != "keep":
        said.append(settings.color)
    parts = [settings.input] if os.path.lexists(settings.input) else settings.input.split(",")
    parts = [expanded(part.strip()) for part in parts]
    if len(listed) == 1 and (listed[0].several or all(map(os.path.isfile, parts))):
        said.append(sha256_files(listed[0].files))
        said.append({n: sha256_files([p]) for n, p in sides.items() if os.path.isfile(p)})
    else:
        said += [os.path.abspath(path) for path in parts]
        said.append({n: os.path.abspath(path) for n, path in sides.items() if path})
    stem = re.sub(r"[^\w.-]", "_", os.path.basename(settings.input.rstrip("/")))[:40]
    digest = hashlib.sha256(
        json.dumps(said, sort_keys=True).encode("utf-8", "replace")
    ).hexdigest()[:12]
    return program_cache.user_cache() / "runs" / f"{name}-{stem}-{digest}"


def remove_old(root: Path) -> None:
    """Removes the work folders in `root` that have not been written to for a month."""
    for one in root.glob("*/") if root.is_dir() else ():
        try:
            newest = max(p.stat().st_mtime for p in (one, *one.iterdir()))
        except OSError:
            continue
        if time.time() - newest > _KEPT:
            shutil.rmtree(one, ignore_errors=True)
