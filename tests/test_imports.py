"""Imports go one way only, and importing the package costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What each room may import from, besides itself; never upwards.
METHODS = {"types", "config", "recipe", "replicas", "ops", "nets", "losses", "estimators"}
RUNS = {"types", "config", "recipe", "ops", "files", "writers", "codecs", "engine", "report"}
ALLOWED = {
    "types": set(),
    "config": {"types"},
    "recipe": {"types", "config"},
    "replicas": {"types"},
    "ops": {"types"},
    "nets": {"types", "ops"},
    "losses": {"types", "ops"},
    "estimators": {"types", "ops", "losses"},
    "methods": METHODS,
    "files": {"types"},
    "writers": {"types", "files"},
    "codecs": {"types", "files"},
    "engine": {"types", "files", "writers", "replicas"},
    "report": {"types", "files", "writers", "codecs"},
    "runs": RUNS,
    "by_name": {"methods", "runs"},
    "in_memory": {"methods", "runs"} | METHODS | RUNS,
    "api": {"methods", "in_memory", "types", "config"},
    "retargeter": {"methods", "runs"} | METHODS | RUNS,
}
FILES = sorted((ROOT / "deepinternal").rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_never_go_upwards(path):
    room = path.relative_to(ROOT / "deepinternal").parts[0].removesuffix(".py")
    names = list(imported(path))
    if room == "__init__":
        assert not [n for n in names if n.startswith(("deepinternal.", "jax", "flax"))]
        return
    rooms = {n.split(".")[1] for n in names if n.startswith("deepinternal.")}
    assert rooms - {room} <= ALLOWED[room]
    assert not [n for n in names if n.split(".")[0] in ("configs", "launch", "benchmarks")]
    assert not [n for n in names if n.startswith("jax._src")]
    if room != "nets":
        assert not [n for n in names if n.startswith("flax.linen") or n == "flax.nnx"]


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import deepinternal, sys; print([m for m in ('jax', 'numpy', 'flax') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    printed = subprocess.check_output(command, text=True, cwd=ROOT)
    assert printed.strip() == "[]"


@pytest.mark.parametrize("name", ["degrade", "main", "retarget", "sweep"])
def test_programs_start_themselves_anew_before_anything_heavy_is_imported(name):
    _, first, *rest = ast.parse((ROOT / f"launch/{name}.py").read_text()).body
    assert ast.unparse(first.test) == "__name__ == '__main__'"
    assert ast.unparse(first.body[-1]) == "huge_pages.restart()"
    assert not [node for node in rest[:-1] if "restart" in ast.unparse(node)]


def test_every_public_name_is_there():
    import deepinternal

    for name in deepinternal.__all__:
        assert getattr(deepinternal, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = deepinternal.nothing
