"""Imports go one way only, and importing the package costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BELOW = {"types", "files", "writers", "ops", "nets", "losses", "estimators", "methods"}
BELOW |= {"codecs", "engine", "report", "runs"}
# What each room may import from, besides itself; never upwards.
ALLOWED = {
    "types": set(),
    "ops": {"types"},
    "nets": {"types", "ops"},
    "losses": {"types", "ops"},
    "estimators": {"types", "ops", "losses"},
    "methods": {"types", "ops", "nets", "losses", "estimators"},
    "files": {"types"},
    "writers": {"types", "files"},
    "codecs": {"types", "files"},
    "engine": {"types", "files", "writers"},
    "report": {"types", "files", "writers", "codecs"},
    "runs": {"types", "files", "writers", "ops", "codecs", "engine", "report"},
    "api": BELOW,
    "retargeter": BELOW,
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
    if room != "nets":
        assert not [n for n in names if n.startswith("flax.linen") or n == "flax.nnx"]


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import deepinternal, sys; print([m for m in ('jax', 'numpy', 'flax') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    printed = subprocess.check_output(command, text=True, cwd=ROOT)
    assert printed.strip() == "[]"


def test_every_public_name_is_there():
    import deepinternal

    for name in deepinternal.__all__:
        assert getattr(deepinternal, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = deepinternal.nothing
