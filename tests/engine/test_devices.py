"""Images over several devices, in a process with 8 forced ones."""

import os
import subprocess
import sys

import jax
import pytest


@pytest.mark.slow
def test_on_8_devices(tmp_path):
    cache = jax.config.jax_compilation_cache_dir
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache or tmp_path),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:xdist",
        "tests/engine/on_devices.py",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "8 passed" in done.stdout
