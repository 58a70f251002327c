"""Runs the examples in the docstrings of one part of the package, and lists what lacks an example."""

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SLOW = (
    *("api/generation.py", "api/layers.py", "api/restoration.py", "estimators/mask_propagation.py"),
    *("in_memory.py", "methods/fit.py", "retargeter.py"),
)


def files(*packages):
    """Returns test parameters: the files with examples in packages; '': the top modules."""
    found = []
    for package in packages:
        folder = ROOT / "deepinternal" / package
        paths = folder.rglob("*.py") if package else folder.glob("*.py")
        found += [path for path in sorted(paths) if ">>> " in path.read_text(encoding="utf-8")]
    names = [(path, str(path.relative_to(ROOT / "deepinternal"))) for path in found]
    slow = lambda name: [pytest.mark.slow] * (name in SLOW)
    return [pytest.param(path, id=name, marks=slow(name)) for path, name in names]


def check(path):
    """Runs the examples of a file, which has at least one."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    failed, tried = doctest.testmod(importlib.import_module(name), verbose=False)
    assert tried > 0
    assert failed == 0


def public(package, *, classes=False):
    """Returns the public functions of a package by full name, or its public classes."""
    imported, found = importlib.import_module(f"deepinternal.{package}"), {}
    for module in pkgutil.walk_packages(imported.__path__, f"{imported.__name__}."):
        for name, value in vars(importlib.import_module(module.name)).items():
            kind = (
                inspect.isclass(value)
                if classes
                else callable(value) and not inspect.isclass(value)
            )
            if kind and name[0] != "_" and getattr(value, "__module__", None) == module.name:
                found[f"{module.name}.{name}"] = value
    return found


def without_example(found):
    """Returns the names of those functions or classes whose docstrings have no example."""
    return [name for name, value in found.items() if ">>> " not in (inspect.getdoc(value) or "")]
