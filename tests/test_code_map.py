"""The map of the code in deepinternal/README.md agrees with the code."""

import re
from pathlib import Path

import pytest

from tests.test_imports import ALLOWED

PACKAGE = Path(__file__).parent.parent / "deepinternal"
TEXT = (PACKAGE / "README.md").read_text(encoding="utf-8")
MAP = TEXT[TEXT.index("## Packages and modules") :]
TABLE = re.search(r"\| --- \| --- \|\n((?:\|.*\n)+)", MAP)[1]
ROWS = [re.findall(r"`([\w./]+?)(?:\.py|/)`", row.split("|")[1]) for row in TABLE.splitlines()]
HEIGHT = {name: height for height, row in enumerate(ROWS) for name in row}


def test_the_table_has_every_module_and_package():
    found = {p.stem for p in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    found |= {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert set(HEIGHT) == found


@pytest.mark.parametrize("name", HEIGHT)
def test_imports_come_from_the_same_row_or_rows_above(name):
    assert {n for n in ALLOWED[name] if HEIGHT[n] > HEIGHT[name]} == set()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(\w+/[\w/]*\w+\.py|\w+/\w+/)`", MAP))))
def test_a_path_in_the_text_exists(path):
    assert (PACKAGE / path).exists() or (PACKAGE.parent / path).exists()
