"""Programs restart once with huge pages; imports never do."""

import os
import subprocess
import sys

import pytest

CODE = """
import os
from launch.huge_pages import restart_with_huge_pages
restart_with_huge_pages({package!r})
print(os.getpid(), os.environ.get("GLIBC_TUNABLES"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
@pytest.mark.parametrize(
    ("package", "given", "expected"),
    [
        ("tool", None, "glibc.malloc.hugetlb=1"),
        ("tool", "glibc.malloc.check=0", "glibc.malloc.check=0"),
        ("other", None, "None"),
    ],
)
def test_restart(tmp_path, package, given, expected):
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "main.py").write_text(CODE.format(package=package))
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    environment["PYTHONPATH"] = f"{tmp_path}:{os.getcwd()}"
    if given:
        environment["GLIBC_TUNABLES"] = given
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "tool.main"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    printed = process.communicate(timeout=60)[0].split()
    assert printed == [str(process.pid), expected]
