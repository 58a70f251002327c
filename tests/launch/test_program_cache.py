"""Where compiled programs are kept, and when none are."""

import contextlib
import errno
import os
import subprocess
import sys

import jax
import pytest

from deepinternal.cli import program_cache

_COUNT = """
import jax, jax.numpy as jnp
from deepinternal.cli import program_cache
program_cache.use()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((9, 9))).block_until_ready()
print(jax.config.jax_compilation_cache_dir or "none")
"""


@contextlib.contextmanager
def compilation_cache_off():
    before = jax.config.jax_compilation_cache_dir
    jax.config.values["jax_compilation_cache_dir"] = None
    yield
    jax.config.values["jax_compilation_cache_dir"] = before


def _run(**environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    command = [sys.executable, "-c", _COUNT]
    done = subprocess.run(
        command, env={**kept, **environment}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.slow
def test_programs_are_kept_in_the_users_cache(tmp_path):
    folder = _run(XDG_CACHE_HOME=str(tmp_path))
    assert folder.startswith(str(tmp_path / "deepinternal" / "programs-"))
    paths = sorted((tmp_path / "deepinternal").glob("*/*-cache"))
    assert paths
    before = {path: path.stat().st_mtime_ns for path in paths}
    whole = paths[0].read_bytes()
    paths[0].write_bytes(whole[:-9])
    _run(XDG_CACHE_HOME=str(tmp_path))
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "deepinternal").glob("*/*-cache")}
    assert len(paths[0].read_bytes()) > len(whole) - 9, "what is damaged is compiled and kept again"
    del before[paths[0]], after[paths[0]]
    assert after == before, "all else is found again"


def test_parts_of_programs_are_removed(tmp_path):
    """They would never be replaced, and without a time, nothing more would be kept."""
    import zlib

    whole = zlib.compress(b"program " * 99)
    contents = {
        "whole-cache": whole,
        "whole-atime": b"",
        "other-cache": b"of an unknown compression",
        "other-atime": b"12345678",
        "timeless-cache": whole,
        "short-cache": whole[:-2],
        "short-atime": b"12345678",
        "empty-cache": b"",
        "empty-atime": b"12345678",
        "zstd-cache": b"\x28\xb5\x2f\xfd damaged",
        "zstd-atime": b"12345678",
        "lonely-atime": b"12345678",
        ".lockfile": b"",
    }
    program_cache.remove_parts(tmp_path)
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    names = lambda: sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("."))
    kept = ["other-atime", "other-cache", "whole-atime", "whole-cache"]
    program_cache.remove_parts(tmp_path)
    assert names() == kept
    os.utime(tmp_path / "whole-cache", (0, 0))
    (tmp_path / "whole-cache").open("r+b").truncate(3)
    os.utime(tmp_path / "whole-cache", (0, 0))
    program_cache.remove_parts(tmp_path)
    assert names() == kept, "what was checked is not read again"
    (tmp_path / "whole-atime").unlink()
    program_cache.remove_parts(tmp_path)
    assert names() == kept[:2]


@pytest.mark.parametrize("fails", ["lock", "mark"])
def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, fails):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jax.config, "update", lambda *_: pytest.fail("it is used"))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    where = (os, "open") if fails == "lock" else (program_cache.Path, "touch")
    with monkeypatch.context() as patch, compilation_cache_off():
        patch.setattr(*where, full)
        program_cache.use()


@pytest.mark.slow
def test_a_second_process_compiles_no_program_of_the_method_again(tmp_path, small_png):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    kept |= {"XDG_CACHE_HOME": str(tmp_path), "JAX_DEBUG_LOG_MODULES": "jax._src.compiler"}
    fields = (f"input={small_png}", "features=8", "layers=3", "steps=2", "ensemble=off")
    command = [sys.executable, "-m", "launch.main", "--config=configs/zssr.py:smoke"]
    command += [f"--config.{field}" for field in fields]
    logs = []
    for run in ("first", "second"):
        folder = f"--workdir={tmp_path / run}"
        done = subprocess.run(
            [*command, folder], env=kept, capture_output=True, text=True, check=True
        )
        logs.append(done.stderr)
    for name in ("jit_many", "jit_outputs"):
        assert f"CACHE MISS for '{name}'" in logs[0]
        assert f"cache hit for '{name}'" in logs[1]
        assert f"CACHE MISS for '{name}'" not in logs[1]


@pytest.mark.slow
def test_settings_of_the_user_take_precedence(tmp_path):
    here = {"XDG_CACHE_HOME": str(tmp_path / "home")}
    assert _run(**here, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "mine")) == str(tmp_path / "mine")
    assert _run(**here, JAX_ENABLE_COMPILATION_CACHE="false") == "none"
    assert not (tmp_path / "home").exists()


def test_a_cache_that_cannot_be_made_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    assert _run(XDG_CACHE_HOME=str(tmp_path / "file")) == "none"


@pytest.mark.parametrize("home", ["", "/elsewhere"])
def test_the_folder_follows_the_environment(home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    assert str(program_cache.folder()).startswith(home or os.path.expanduser("~/.cache"))
