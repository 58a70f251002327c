"""Compiled programs are kept from one process to the next, in the user's cache folder.

Where JAX has been told of a folder already (`JAX_COMPILATION_CACHE_DIR`), or to keep none
(`JAX_ENABLE_COMPILATION_CACHE=false`), it stays so.
"""

import hashlib
import os
import platform
import re
from pathlib import Path

import jax

_LARGEST = 2 * 2**30  # bytes; what was not used for the longest time goes first


def user_cache() -> Path:
    """The folder of this package in the user's cache. Raises RuntimeError where there is no home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepinternal"


def folder() -> Path:
    """Where they are kept: a folder for each kind of processor, for programs hold its instructions."""
    try:
        flags = re.search(r"(?:flags|Features)\s*:(.*)", Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError):
        flags = platform.processor()
    kind = hashlib.sha256(f"{platform.machine()} {flags}".encode()).hexdigest()[:12]
    return user_cache() / f"programs-{kind}"


def use() -> None:
    """Keeps programs that take a tenth of a second to compile, where the folder can be written."""
    if jax.config.jax_compilation_cache_dir or not jax.config.jax_enable_compilation_cache:
        return
    try:
        path = folder()
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a read-only home, or none
        return
    if os.access(path, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(path))
        jax.config.update("jax_compilation_cache_max_size", _LARGEST)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
