"""The examples in the docstrings of functions that run methods, and of all other packages."""

import pytest

from tests import doctesting

OTHERS = ["api", "methods", "codecs", "engine", "runs", "report", "cli", ""]


@pytest.mark.usefixtures("quick_programs")
@pytest.mark.parametrize("path", doctesting.files(*OTHERS))
def test_examples(path):
    doctesting.check(path)
