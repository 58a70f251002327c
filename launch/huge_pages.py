"""Lets glibc back large arrays with huge pages, which a training step on CPU is a quarter faster with.

XLA allocates the activations of every step anew; with pages of 4 KiB the kernel then clears and maps
some 40 000 of them per step. glibc reads the setting when a process starts, so the program starts
itself once more, before anything heavy is imported. Whoever sets GLIBC_TUNABLES decides otherwise.
"""

import itertools
import os
import sys

_VARIABLE = "GLIBC_TUNABLES"


def restart_with_huge_pages(package: str) -> None:
    """Restarts `python -m package.module` with huge pages for large allocations; once, on Linux only.

    Args:
        package: nothing happens unless the process was started as a module of this package, so that
            importing the package never restarts anything.
    """
    options = list(
        itertools.takewhile(lambda a: a.startswith("-") and a != "-m", sys.orig_argv[1:])
    )
    started = sys.orig_argv[1 + len(options) :][:2]
    is_ours = len(started) == 2 and started[0] == "-m" and started[1].startswith(f"{package}.")
    if sys.platform == "linux" and is_ours and _VARIABLE not in os.environ:
        os.environ[_VARIABLE] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, sys.orig_argv)
