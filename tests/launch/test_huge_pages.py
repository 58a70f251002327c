"""Programs restart themselves once with huge pages; imports never do."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
if __name__ == "__main__":
    from deepinternal.cli import huge_pages

    huge_pages.restart()
import os
print(os.getpid(), os.environ.get("GLIBC_TUNABLES"))
"""
IMPORTER = "import deepinternal.cli.console, launch, benchmarks, tool.program"


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
@pytest.mark.parametrize(
    ("arguments", "given", "expected"),
    [
        (["-m", "tool.program"], None, "glibc.malloc.hugetlb=1"),
        (["-m", "tool.program"], "glibc.malloc.check=0", "glibc.malloc.check=0"),
        (["-c", IMPORTER], None, "None"),
    ],
)
def test_restart(tmp_path, arguments, given, expected):
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "program.py").write_text(PROGRAM)
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    environment["PYTHONPATH"] = f"{tmp_path}:{os.getcwd()}"
    if given:
        environment["GLIBC_TUNABLES"] = given
    process = subprocess.Popen(
        [sys.executable, "-u", *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )
    printed = process.communicate(timeout=60)[0].split()
    assert printed == [str(process.pid), expected]
