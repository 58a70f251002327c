"""Imports go one way only, and importing the package costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What each package or module may import from, besides itself; never upwards.
METHODS = {
    "types",
    "field_forms",
    "config",
    "recipe",
    "replicas",
    "ops",
    "nets",
    "losses",
    "estimators",
}
RUNS = {
    "types",
    "field_forms",
    "config",
    "recipe",
    "ops",
    "files",
    "messages",
    "writers",
    "codecs",
    "engine",
}
RUNS |= {"report", "numerics", "replicas"}
ALLOWED = {
    "numerics": set(),
    "types": {"numerics"},
    "field_forms": {"types"},
    "config": {"types", "field_forms"},
    "field_info": {"config", "field_forms"},
    "recipe": {"types", "numerics", "config", "field_forms"},
    "replicas": {"types"},
    "ops": {"types"},
    "nets": {"types", "ops"},
    "losses": {"types", "ops"},
    "estimators": {"types", "ops", "losses"},
    "methods": METHODS,
    "files": {"types"},
    "messages": set(),
    "writers": {"types", "files"},
    "codecs": {"types", "files", "messages"},
    "engine": {"types", "numerics", "files", "messages", "writers", "replicas"},
    "report": {"types", "files", "writers", "codecs"},
    "runs": RUNS,
    "by_name": {"methods", "runs"},
    "notebook": {"report"},
    "task": {"runs"} | METHODS | RUNS,
    "result": {"task", "types", "numerics", "config"},
    "in_memory": {"methods", "runs", "result", "task", "notebook"} | METHODS | RUNS,
    "loading": {"methods", "runs", "result", "task"} | METHODS | RUNS,
    "video_paths": set(),
    "resizer": {"video_paths", "methods"} | METHODS | RUNS,
    "net_retargeter": {"resizer", "methods"} | METHODS | RUNS,
    "retargeter": {"net_retargeter", "methods", "in_memory", "loading", "result", "task"}
    | METHODS
    | RUNS,
    "patch_retargeter": {"resizer", "in_memory"} | METHODS | RUNS,
    "api": {"methods", "in_memory", "loading", "result", "task", "types", "config", "recipe"}
    | {"field_info"},
    "cli": {"methods", "runs", "by_name", "resizer", "video_paths", "retargeter", "field_info"}
    | {"net_retargeter", "patch_retargeter"}
    | METHODS
    | RUNS,
    "lazy": set(),
    "reference": {"lazy"},
    "__main__": {"cli"},
}
LAZY = {"deepinternal.lazy"}  # of the package itself, and of the __init__.py of every subpackage
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
    part = path.relative_to(ROOT / "deepinternal").parts[0].removesuffix(".py")
    names = list(imported(path))
    if part == "__init__":
        assert {n for n in names if n.startswith(("deepinternal.", "jax", "flax"))} <= LAZY
        return
    parts = {n.split(".")[1] for n in names if n.startswith("deepinternal.")}
    assert parts - {part} <= ALLOWED[part] | ({"lazy"} if path.name == "__init__.py" else set())
    assert not [n for n in names if n.split(".")[0] in ("configs", "launch", "benchmarks")]
    assert not [n for n in names if n.startswith("jax._src")]
    if part != "nets":
        assert not [n for n in names if n.startswith("flax.linen") or n == "flax.nnx"]


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import deepinternal, sys; print([m for m in ('jax', 'numpy', 'flax') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    printed = subprocess.check_output(command, text=True, cwd=ROOT)
    assert printed.strip() == "[]"


def test_the_console_command_restarts_before_heavy_imports():
    code = (
        "from deepinternal.cli import console; import sys; print({'jax', 'numpy'} & {*sys.modules})"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT)
    assert printed.strip() == "set()"
    tree = ast.parse((ROOT / "deepinternal/cli/console.py").read_text())
    main = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main")
    assert ast.unparse(main.body[1]) == "huge_pages.restart()"


@pytest.mark.parametrize("path", sorted((ROOT / "launch").glob("[a-z]*.py")), ids=lambda p: p.name)
def test_programs_in_the_checkout_only_call_the_console_command(path):
    names = set(imported(path))
    assert names == {"sys", "deepinternal.cli", "deepinternal.cli.console"}


def test_every_public_name_exists():
    import deepinternal

    for name in deepinternal.__all__:
        assert getattr(deepinternal, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = deepinternal.nothing
