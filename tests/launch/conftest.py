"""The launcher as users run it, and small inputs."""

import functools
import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from PIL import Image

from deepinternal import methods
from deepinternal.runs import jobs, settings
from tests import tiny_sets
from tests.tiny_methods import photo

# Programs are compiled once for all tests here, also for those in processes of their own.
CACHE = {
    "jax_persistent_cache_min_compile_time_secs": 0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
SMALL = {"features": 4, "layers": 2, "steps": 12, "evaluate_every": 5, "ensemble": "off"}


class Launcher:
    """Programs of their own, each as after `python -m launch.main`, or another module.

    `path` holds folders to add to Python's path.
    """

    def __init__(self, folder, cache):
        self._folder, self._count, self.path = folder, 0, []
        environment = {"JAX_COMPILATION_CACHE_DIR": str(cache)}
        environment |= {name.upper(): str(value) for name, value in CACHE.items()}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.launch.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def _ask(self, **command):
        self._server.stdin.write(json.dumps(command) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def start(self, *argv, module="launch.main", printed=None, **environment):
        """Starts a program; returns its process id and the file with what it prints."""
        self._count += 1
        printed = printed or self._folder / f"printed-{self._count}.txt"
        argv, path = list(map(str, argv)), list(map(str, self.path))
        told = {"stderr": str(printed), "path": path, "environment": environment}
        return self._ask(module=module, argv=argv, **told), printed

    def wait_briefly(self, process, seconds=0.02):
        """Exit status, or None if the program is still running."""
        return self._ask(wait=process, seconds=seconds)

    def wait(self, process, seconds=120):
        status = self.wait_briefly(process, seconds)
        if status is None:
            os.kill(process, signal.SIGKILL)
            pytest.fail(f"the program did not end within {seconds} s")
        return status

    def run(self, *argv, module="launch.main", seconds=120):
        """Exit status and everything printed."""
        process, printed = self.start(*argv, module=module)
        return self.wait(process, seconds), printed.read_text(encoding="utf-8", errors="replace")

    def close(self):
        self._server.stdin.close()
        self._server.wait(timeout=30)
        self._server.stdout.close()


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Folder of compiled programs."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", autouse=True)
def _cached_programs(cache, quick_programs):
    options = {"jax_compilation_cache_dir": str(cache), **CACHE}
    before = {name: getattr(jax.config, name) for name in options}
    compilation_cache.reset_cache()
    for name, value in options.items():
        jax.config.update(name, value)
    yield
    compilation_cache.reset_cache()
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="session")
def launcher(tmp_path_factory, cache):
    launcher = Launcher(tmp_path_factory.mktemp("launcher"), cache)
    yield launcher
    launcher.close()


@pytest.fixture
def train(tmp_path):
    """Runs jobs in this process; returns the exit status."""

    def run(
        source,
        *,
        workdir=tmp_path / "out",
        preset=None,
        overwrite=False,
        recipe=None,
        process=(0, 1),
        wait=True,
        **fields,
    ):
        recipe = recipe or methods.find("zssr")
        given = settings.to_config_dict(recipe, preset)
        quiet = {"progress": False, "log_every": 1}
        small = {name: value for name, value in SMALL.items() if name in given}
        given.update({**quiet, **small, "input": str(source), **fields})
        both = settings.split(recipe, given)
        options = {"overwrite": overwrite, "process": process, "wait": wait}
        return jobs.run_all(recipe, *both, str(workdir), **options)

    return run


@pytest.fixture
def train_tiny(train):
    """`train` with a tiny method, for tests that are the same for all; tracing ZSSR takes seconds."""
    return functools.partial(train, recipe=tiny_sets.RECIPE)


def tiny_command(source, workdir, **fields):
    """The arguments with which a program trains that method."""
    flags = [f"--config.{name}={value}" for name, value in {"input": source, **fields}.items()]
    return ["--config=tests.tiny_sets:RECIPE", f"--workdir={workdir}", *flags]


def save(path, samples):
    """Writes uint8 (H, W[, C]) by Pillow."""
    Image.fromarray(np.asarray(samples)).save(path, format="PNG")
    return path


def picture(height=24, width=32):
    """uint8 (H, W, 3) of a photograph."""
    return np.round(photo(max(height, width))[:height, :width] * 255).astype(np.uint8)


def until(condition, seconds=60):
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"nothing happened within {seconds} s")
        time.sleep(0.01)


@pytest.fixture
def small_png(tmp_path):
    return save(tmp_path / "small.png", picture())
