"""Keeps compiled programs for later processes, in the user's cache folder.

JAX's own settings take precedence: `JAX_COMPILATION_CACHE_DIR`, and
`JAX_ENABLE_COMPILATION_CACHE=false`.
"""

import hashlib
import os
import platform
import re
from pathlib import Path

import jax

_LARGEST = 2 * 2**30  # bytes; the least recently used programs are removed first


def user_cache() -> Path:
    """Returns this package's folder in the user's cache. Raises RuntimeError without a home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepinternal"


def folder() -> Path:
    """Returns the folder for programs that contain instructions of this kind of processor."""
    try:
        flags = re.search(r"(?:flags|Features)\s*:(.*)", Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError):
        flags = platform.processor()
    kind = hashlib.sha256(f"{platform.machine()} {flags}".encode()).hexdigest()[:12]
    return user_cache() / f"programs-{kind}"


def use() -> None:
    """Keeps programs that take at least 0.1 s to compile, if the folder can be written."""
    if jax.config.jax_compilation_cache_dir or not jax.config.jax_enable_compilation_cache:
        return
    try:
        path = folder()
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # the home is read-only or missing
        return
    if os.access(path, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(path))
        jax.config.update("jax_compilation_cache_max_size", _LARGEST)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
