"""Fixtures shared by the tests of files and images."""

import os
import warnings

import pytest

from deepinternal.types import InputError


@pytest.fixture
def refuse(capfd):
    """Asserts that a file is refused in one line that names it, and that nothing is printed."""

    def check(read, path, *words, **options):
        capfd.readouterr()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            with pytest.raises(InputError) as caught:
                read(path, **options)
        message = str(caught.value)
        assert "\n" not in message
        assert os.path.basename(os.fspath(path)) in message
        assert ";" in message or ", or" in message, "says what would be right"
        for word in words:
            assert word in message
        assert not seen
        assert capfd.readouterr() == ("", "")

    return check


@pytest.fixture
def files(tmp_path):
    """Makes files of one byte below a folder and returns the folder."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        return tmp_path

    return make
