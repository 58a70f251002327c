"""Marks that skip tests of features that only Linux has."""

import fcntl
import sys
from pathlib import Path

import pytest

PROC = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
FULL_DEVICE = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
ANY_NAME = pytest.mark.skipif(sys.platform == "darwin", reason="needs names that are not UTF-8")
PIPE_SIZES = pytest.mark.skipif(
    not hasattr(fcntl, "F_SETPIPE_SZ"), reason="needs pipes whose size can be set"
)
