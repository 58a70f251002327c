"""Types of the public functions, checked by mypy as a user's editor checks them."""

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mypy")

ROOT = Path(__file__).parent.parent
CALLS = ["in_memory", "lazy", "loading", "net_retargeter", "notebook"]
CALLS += ["patch_retargeter", "recipe", "resizer", "result", "retargeter", "task", "types"]
CALLS += ["video_paths"]
CONSUMER = """
import jax.numpy as jnp
import numpy as np
import deepinternal as di

image = np.zeros((16, 16, 3))
run = di.super_resolve(image, scale=2, full=True)
pixels = jnp.asarray(image)
large = di.ops.resize(pixels, scale=2.0)
loss = di.losses.exclusion(large, large)
net = di.nets.SkipNet(outputs=3)
trace = di.load("out", "image")
print(trace.history["loss"], trace.params, trace.method, trace.apply(image)["result"])

def show(step: int, metrics: dict[str, float]) -> None:
    print(step, metrics)

di.denoise(image, noise_std=0.1, callback=show)
state: di.types.TrainState = trace.state.replace(step=0)
"""
# A line of a user's program, and what must be said of it.
MISTAKES = {
    "di.denoise(image, noise_std='much')": 'Argument "noise_std"',
    "di.denoise(image, method='bm3d')": 'Argument "method"',
    "di.super_resolve(image, seed='one')": 'Argument "seed"',
    "di.super_resolve(image, callback=3)": 'Argument "callback"',
    "di.retarget(None, (4, 5))": 'Argument 1 to "retarget"',
    "di.generate(image, samples='4')": 'Argument "samples"',
    "di.inpaint(image, method='patch')": 'Argument "method"',
    "di.load(3)": 'Argument 1 to "load"',
    "di.ops.resize(pixels, scale='2')": 'Argument "scale" to "resize"',
    "di.ops.resise(image)": 'Module has no attribute "resise"',
    "di.losses.exclusion(large)": 'Missing positional argument "second"',
    "trace.outptus": '"Result" has no attribute "outptus"',
}


@pytest.fixture(scope="module")
def mypy(request, tmp_path_factory):
    """Runs the checker; its cache speeds up the next run, also in the next session of the tests."""
    kept = getattr(request.config, "cache", None)  # None: pytest runs without its cache
    cache = kept.mkdir("mypy") if kept else tmp_path_factory.mktemp("mypy")

    def check(*arguments, folder=ROOT):
        command = [sys.executable, "-m", "mypy", f"--cache-dir={cache}", "--no-error-summary"]
        environment = {**os.environ, "MYPYPATH": str(ROOT)}
        options = {"capture_output": True, "text": True, "cwd": folder, "env": environment}
        command.append(f"--config-file={ROOT / '.mypy.ini'}")
        done = subprocess.run([*command, *arguments], check=False, **options)
        assert not done.stderr, done.stderr
        return done.stdout.splitlines()

    return check


@pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.2.0", reason="older stubs know no lengths of shapes"
)
@pytest.mark.slow
def test_mypy_finds_no_error(mypy):
    """Signatures and bodies."""
    modules = [f"--module=deepinternal.{name}" for name in CALLS]
    packages = [f"--package=deepinternal.{name}" for name in ("api", "estimators", "losses", "ops")]
    assert mypy(*modules, *packages) == []


def test_a_users_program_is_checked(mypy, tmp_path):
    """All that is right passes; each mistake is found in its line, and nothing else is said."""
    (tmp_path / "user.py").write_text(CONSUMER + "\n".join(MISTAKES) + "\n")
    said = [line for line in mypy("user.py", folder=tmp_path) if ": error: " in line]
    first = len(CONSUMER.splitlines()) + 1
    for number, (line, message) in enumerate(MISTAKES.items(), first):
        found = [text for text in said if text.startswith(f"user.py:{number}:")]
        assert len(found) == 1, (line, said)
        assert message in found[0]
    assert len(said) == len(MISTAKES)


@pytest.mark.parametrize("part", ["api", "estimators", "in_memory", "losses", "ops", "retargeter"])
def test_public_functions_have_complete_annotations(part):
    module = importlib.import_module(f"deepinternal.{part}")
    functions = {n: getattr(module, n) for n in dir(module) if not n.startswith("_")}
    own = lambda f: getattr(f, "__module__", "").startswith(f"deepinternal.{part}")
    functions = {n: f for n, f in functions.items() if inspect.isfunction(f) and own(f)}
    assert functions
    untyped = []
    for name, function in functions.items():
        signature = inspect.signature(function)
        kinds = [p.annotation for p in signature.parameters.values()]
        if inspect.Signature.empty in (*kinds, signature.return_annotation):
            untyped.append(name)
    assert untyped == []


def test_the_package_is_marked_as_typed():
    assert (ROOT / "deepinternal/py.typed").exists()
    assert '"*.pyi"' in (ROOT / "setup.py").read_text(), "the stubs are part of the package"
