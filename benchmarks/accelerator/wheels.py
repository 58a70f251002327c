"""Packages that are missing on a machine, taken from wheels; needs only the standard library."""

import importlib.util
import zipfile
from collections.abc import Sequence
from pathlib import Path


def unpacked(wheels: Path, folder: Path) -> Sequence[str]:
    """Unpacks the wheels whose packages cannot be imported.

    Args:
        wheels: The folder with the wheels.
        folder: The folder that they are unpacked to.

    Returns:
        The folder, to be put on PYTHONPATH; nothing if no package is missing.

    Raises:
        ValueError: There is no wheel, or one cannot be read.
    """
    found = sorted(wheels.glob("*.whl"))
    if not found:
        raise ValueError(f"--wheels={wheels}: no such folder, or no wheel in it")
    missing = [path for path in found if not _is_there(path)]
    for path in missing:
        with zipfile.ZipFile(path) as wheel:
            wheel.extractall(folder)
    return [str(folder)] if missing else []


def _is_there(path: Path) -> bool:
    """Whether all modules of a wheel can be imported without it."""
    try:
        with zipfile.ZipFile(path) as wheel:
            tops = {name.split("/")[0] for name in wheel.namelist() if not name.endswith("/")}
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"--wheels: {path.name} cannot be read: {error}") from None
    modules = {top.split(".")[0] for top in tops if not top.endswith((".dist-info", ".data"))}
    return all(importlib.util.find_spec(module) is not None for module in modules)
