"""Runs a benchmark in a process of its own, as users do."""

import os
import subprocess
import sys


def run(name: str, *arguments: str) -> subprocess.CompletedProcess:
    """`python -m benchmarks.NAME`, which need not start itself anew for huge pages."""
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        env={**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
        capture_output=True,
        text=True,
        check=False,
    )
