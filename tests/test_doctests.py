"""The examples in docstrings, run as they are written."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(p for p in (ROOT / "deepinternal").rglob("*.py") if ">>> " in p.read_text())
MUST = "api/restoration in_memory losses/layers losses/pixel ops/kernels ops/resizing ops/warping"


def test_where_examples_must_be():
    have = {str(p.relative_to(ROOT / "deepinternal").with_suffix("")) for p in FILES}
    assert have >= set(MUST.split())


def _item(path):
    name = str(path.relative_to(ROOT / "deepinternal"))
    slow = name in ("api/restoration.py", "api/generation.py", "in_memory.py", "methods/fit.py")
    return pytest.param(path, id=name, marks=[pytest.mark.slow] * slow)


@pytest.mark.parametrize("path", [_item(path) for path in FILES])
def test_examples(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    failed, tried = doctest.testmod(importlib.import_module(name), verbose=False)
    assert tried > 0
    assert failed == 0
