"""Compiled programs are shared by all tests of a session: compiling is most of their time."""

import os

# Tests compile what they jit themselves as the library compiles its steps on CPU: faster.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

import jax
import pytest

_SECONDS = 0.3  # that programs take to compile which are kept


@pytest.fixture(scope="session", autouse=True)
def _compilation_cache(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("compiled"))
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _SECONDS)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # Of the processes that tests start.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = str(_SECONDS)
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
