"""The examples in the docstrings of `deepinternal.ops` run as they are written."""

import pytest

from tests import doctesting


@pytest.mark.parametrize("path", doctesting.files("ops"))
def test_examples(path):
    doctesting.check(path)
