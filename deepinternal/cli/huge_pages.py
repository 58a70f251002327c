"""Huge pages for large arrays, with which a training step on CPU takes a quarter less time.

XLA allocates the activations of every step anew; with pages of 4 KiB the kernel clears and maps some
40 000 of them per step. glibc backs large allocations with huge pages where the environment variable
GLIBC_TUNABLES=glibc.malloc.hugetlb=1 is set when a process starts. Programs start themselves once more
with it, as the first thing they do. Who uses the library in a process of their own sets the variable
before Python starts. Where it is set to anything else it stays so.
"""

import os
import sys

_VARIABLE = "GLIBC_TUNABLES"


def restart() -> None:
    """Starts this process anew with huge pages: once, on Linux only, before anything heavy is imported.

    Only a program's entry point may call it, below `if __name__ == "__main__":`.
    """
    if sys.platform == "linux" and _VARIABLE not in os.environ:
        os.environ[_VARIABLE] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, sys.orig_argv)
