"""Compiled programs are shared by all tests of a session: compiling is most of their time."""

import gc
import os
import warnings

# Threads of OpenBLAS that wait for work would take the cores from XLA and from the other worker. NumPy
# reads this when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import pytest

from deepinternal.engine import compiling
from deepinternal.types import InputError

# Most of the time of the tests is spent compiling. Without optimisation and with its older loop
# emitters, XLA compiles in a quarter of the time. The engine compiles training steps with options of
# its own. XLA ends a process that passes an unknown flag, and jax 0.11 does not know the second one.
_QUICK = "--xla_backend_optimization_level=0"
if jax.__version_info__ < (0, 11):
    _QUICK += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", _QUICK)
# Of the processes that tests start: a program that has it does not start itself anew.
os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")

_SECONDS = 0.1  # that programs take to compile which are kept
_LEVEL = compiling._CPU_LEVEL  # of optimisation, for steps


def pytest_collection_finish():
    """Lets the garbage collector run seldom: of the many objects of tracing, nearly all stay."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _compilation_cache(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()  # with xdist, below a folder that all workers share
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled"
    folder.mkdir(exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _SECONDS)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # Of the processes that tests start.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = str(_SECONDS)
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


@pytest.fixture(scope="module")
def quick_programs():
    """The engine optimises no program: compiling the steps is most of the time of a tiny training.

    Not for InGAN, whose gradients become NaN if XLA does not optimise them.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "_CPU_LEVEL", compiling._CPU_LEVEL_ONCE)
        yield


@pytest.fixture
def optimised(quick_programs, monkeypatch):
    """Undoes `quick_programs` for one test."""
    monkeypatch.setattr(compiling, "_CPU_LEVEL", _LEVEL)


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
