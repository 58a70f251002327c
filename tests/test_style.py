"""Lint and format of all Python files, by the settings of `.ruff.toml`."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "command", [["check"], ["format", "--check", "--diff"]], ids=lambda c: c[0]
)
def test_ruff(command):
    argv = [sys.executable, "-m", "ruff", *command, "--no-cache", "."]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
