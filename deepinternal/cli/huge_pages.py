"""Huge pages for large arrays, which make a training step on CPU a quarter faster.

XLA allocates the activations again in every step; with 4 KiB pages, the kernel clears and maps some
40 000 pages per step. glibc backs large allocations with huge pages if the environment variable
GLIBC_TUNABLES=glibc.malloc.hugetlb=1 is set when a process starts. The programs therefore first
restart themselves with it. To use it with the library, set the variable before Python starts. Any
other value of the variable is left unchanged.
"""

import os
import sys

_VARIABLE = "GLIBC_TUNABLES"


def restart() -> None:
    """Restarts this process with huge pages: once, only on Linux, before heavy imports.

    Only the entry point of a program may call this, below `if __name__ == "__main__":`.
    """
    if sys.platform == "linux" and _VARIABLE not in os.environ:
        os.environ[_VARIABLE] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, sys.orig_argv)
