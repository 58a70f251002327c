"""Public names: listed once, in a stub beside each package's __init__.py, and found lazily."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import deepinternal as di
from deepinternal import lazy

ROOT = Path(__file__).parent.parent / "deepinternal"
# Packages that list their functions and classes; the others list only their modules.
PUBLIC = ("estimators", "losses", "nets", "ops", "ops/conv", "ops/patches")
PACKAGES = (*PUBLIC, "codecs", "engine", "methods", "report", "runs")
LISTED = {package: lazy.listed(ROOT / package / "__init__.pyi") for package in PACKAGES}


def _defined(path):
    body = ast.parse(path.read_text()).body
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node.name for node in body if isinstance(node, kinds) and node.name[0] != "_"]


def _present(package):
    """The names that a package has, each with the package or module it is imported from."""
    imported = f"deepinternal.{package.replace('/', '.')}"
    found = {}
    for path in (ROOT / package).iterdir():
        if path.suffix == ".py" and path.stem != "__init__":
            found[path.stem] = imported
            if package in PUBLIC:
                found |= dict.fromkeys(_defined(path), f"{imported}.{path.stem}")
        elif (path / "__init__.py").exists():
            found[path.name] = imported
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_stubs_are_complete(package):
    own = {"find", "make", "names", "register"} if package == "methods" else set()
    present = _present(package)
    present.pop("registry", None)
    listed = {name: module for name, module in LISTED[package].items() if name not in own}
    lacking = [f"from {m} import {n} as {n}" for n, m in present.items() if listed.get(n) != m]
    assert not lacking, f"add to deepinternal/{package}/__init__.pyi:\n" + "\n".join(lacking)
    assert listed.keys() == present.keys(), "names that are not there any more"


@pytest.mark.parametrize("package", PUBLIC)
def test_no_two_modules_of_a_package_have_a_name_in_common(package):
    """Else one would hide the other; a module that has a function's name would hide the function."""
    modules = [p for p in (ROOT / package).iterdir() if p.suffix == ".py" and p.stem != "__init__"]
    names = [name for path in modules for name in (path.stem, *_defined(path))]
    names += [path.name for path in (ROOT / package).iterdir() if (path / "__init__.py").exists()]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("package", PACKAGES)
def test_names_resolve_and_complete(package):
    imported = importlib.import_module(f"deepinternal.{package.replace('/', '.')}")
    for name, module in LISTED[package].items():
        origin = importlib.import_module(module)
        expected = getattr(origin, name)
        assert getattr(imported, name) is expected
        assert name in dir(imported)
    with pytest.raises(AttributeError, match=f"'{imported.__name__}' has no attribute 'nothing'"):
        _ = imported.nothing


def test_functions_are_not_hidden_by_modules():
    importlib.import_module("deepinternal.ops.resizing")
    importlib.import_module("deepinternal.losses.layers")
    assert di.ops.resize is importlib.import_module("deepinternal.ops.resizing").resize
    assert di.losses.exclusion is importlib.import_module("deepinternal.losses.layers").exclusion
    assert isinstance(di.nets.SkipNet(outputs=3), importlib.import_module("flax.linen").Module)
    assert di.methods.fit.build.__module__ == "deepinternal.methods.fit"


def test_all_names_of_the_package():
    listed = lazy.listed(ROOT / "__init__.pyi")
    assert sorted(listed) == di.__all__
    assert {"super_resolve", "run", "fit", "load", "Result", "ops"} <= set(dir(di))
    for name in listed:
        assert getattr(di, name) is not None


def test_dir_lists_names_without_importing_the_modules():
    code = (
        "import sys, deepinternal as di; names = dir(di.losses); "
        "print('exclusion' in names, 'deepinternal.losses.layers' in sys.modules)"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT.parent)
    assert printed.split() == ["True", "False"]


def test_a_method_is_shown_in_a_few_lines():
    """Also one of many stages, and one whose inputs have many leaves."""
    factors = {"scale": "1.2;1.4;1.6;1.8;2;3"}
    shown = repr(di.methods.make("zssr", factors, (32, 48, 3)))
    assert shown.splitlines()[0] == "Method 'zssr'"
    assert "'1: 1.2x1.2', at most 3000 steps" in shown
    assert "and 2 more" in shown
    assert "image (32, 48, 3)" in shown
    assert len(shown.splitlines()) == 3
    assert max(map(len, shown.splitlines())) < 200
