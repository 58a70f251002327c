"""Imports the functions, classes and modules of a package when they are first used.

The stub of a package, the `__init__.pyi` beside its `__init__.py`, lists the public names as
`from MODULE import NAME as NAME`. Type checkers, editors and this module all read that one list.
"""

import functools
import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def attach(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns the functions that a package assigns to its `__getattr__` and `__dir__`.

    Args:
        package: The package's `__name__`.
        file: The package's `__file__`.
    """
    names = functools.cache(lambda: listed(Path(file).with_suffix(".pyi")))

    def get(name: str) -> Any:
        if name == "__all__":
            return sorted(names())
        if name.startswith("__") or name not in names():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = names()[name]
        if module == package:
            return importlib.import_module(f"{package}.{name}")
        return getattr(importlib.import_module(module), name)

    def directory() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names()})

    return get, directory


def listed(stub: Path) -> dict[str, str]:
    """Returns the public names of a stub, each with the module or package that defines it."""
    # `ast` is not used, because in some versions of Python it fails if several threads use it at once.
    lines = re.findall(r"^from (\S+) import (\w+) as \2$", stub.read_text(encoding="utf-8"), re.M)
    return {name: module for module, name in lines}
