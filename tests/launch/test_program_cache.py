"""Where compiled programs are kept, and when none are."""

import os
import subprocess
import sys

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


def _run(**environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    command = [sys.executable, "-c", _COUNT]
    done = subprocess.run(
        command, env={**kept, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.slow
def test_programs_are_kept_in_the_users_cache(tmp_path):
    folder = _run(XDG_CACHE_HOME=str(tmp_path))
    assert folder.startswith(str(tmp_path / "deepinternal" / "programs-"))
    files = {p.name for p in (tmp_path / "deepinternal").glob("*/*-cache")}
    assert files
    _run(XDG_CACHE_HOME=str(tmp_path))
    assert {p.name for p in (tmp_path / "deepinternal").glob("*/*-cache")} == files  # found again


@pytest.mark.slow
def test_a_second_run_compiles_none_of_the_methods_programs_again(tmp_path):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    kept |= {"XDG_CACHE_HOME": str(tmp_path), "JAX_DEBUG_LOG_MODULES": "jax._src.compiler"}
    command = [sys.executable, "-m", "launch.main", "--config=configs/zssr.py:smoke"]
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
def test_the_users_word_counts(tmp_path):
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
