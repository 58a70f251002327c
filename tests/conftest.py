"""Compiled programs are shared by all tests of a session: compiling is most of their time."""

import os
import warnings

# Tests compile what they jit themselves as the library compiles its steps on CPU: faster.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")
# Of the processes that tests start: a program that has it does not start itself anew.
os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")

import jax
import pytest

from deepinternal.types import InputError

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


@pytest.fixture
def refuse(capfd):
    """Asserts that a file is refused in one line that names it, and that nothing is printed."""

    def check(read, path, *words, **options):
        capfd.readouterr()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            with pytest.raises(InputError) as caught:
                read(path, **options)
        message = str(caught.value)
        assert "\n" not in message
        assert os.path.basename(os.fspath(path)) in message
        assert ";" in message or ", or" in message, "says what would be right"
        for word in words:
            assert word in message
        assert not seen
        assert capfd.readouterr() == ("", "")

    return check


@pytest.fixture
def files(tmp_path):
    """Makes files of one byte below a folder and returns the folder."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        return tmp_path

    return make
