"""The examples in docstrings run as they are written; see also the files `test_doctests_*.py`."""

import pytest

from tests import doctesting

PACKAGES = ["api", "losses", "estimators", "ops"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_function_has_an_example(package):
    found = doctesting.public(package)
    assert found
    assert doctesting.without_example(found) == []


def test_every_net_has_an_example():
    found = doctesting.public("nets", classes=True)
    assert found
    assert doctesting.without_example(found) == []


@pytest.mark.parametrize("path", doctesting.files("losses", "nets", "estimators"))
def test_examples(path):
    doctesting.check(path)
