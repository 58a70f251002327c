"""Runs the library's calls under settings of a host program, and compares the bits of the results.

    python -m tests.host_settings                      all settings, one process for each
    python -m tests.host_settings JAX_ENABLE_X64=1 -O  some of them, and some of your own

A setting is an environment variable as NAME=VALUE, 'NAME=' to remove one, an option of Python, or the
name of a function below. One line is printed for each setting: the calls that failed or returned other
bits than without it. Each process compiles tiny nets, which are kept in a folder for the next one; all
settings take about half an hour on 2 cores. `test_host_settings.py` tests the kinds in seconds.
"""

import contextlib
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

SETTINGS = [
    *("JAX_ENABLE_X64=1", "JAX_NUMPY_DTYPE_PROMOTION=strict", "JAX_NUMPY_RANK_PROMOTION=raise"),
    *("JAX_DEBUG_NANS=1", "JAX_DEBUG_INFS=1", "JAX_ENABLE_CHECKS=1", "JAX_CHECK_TRACER_LEAKS=1"),
    *("JAX_DEFAULT_MATMUL_PRECISION=bfloat16", "JAX_DEFAULT_MATMUL_PRECISION=highest"),
    *("JAX_THREEFRY_PARTITIONABLE=0", "JAX_DEFAULT_PRNG_IMPL=rbg", "JAX_LEGACY_PRNG_KEY=error"),
    *("JAX_DISABLE_JIT=1", "JAX_TRANSFER_GUARD=disallow", "JAX_DEBUG_KEY_REUSE=1"),
    *("PYTHONOPTIMIZE=2", "PYTHONHASHSEED=7", "-P", "-Werror", "LC_ALL=C", "LC_ALL=tr_TR.UTF-8"),
    *("HOME=", "HOME=/proc/1", "TMPDIR=/nowhere", "x64_block", "x64_after_import"),
    *("numpy_raises", "thread", "threads", "no_streams", "recursion", "no_folder"),
]
FAST = {"preset": "smoke", "steps": 4}
FIT = {**FAST, "channels": "4", "skip": "0"}
QUICK = "--xla_backend_optimization_level=0"


def calls():
    """Returns one call of each function of the library by name."""
    import numpy as np

    import deepinternal as di
    from tests.tiny_methods import photo

    image = photo(48)
    small, known = image[:32, :32], np.ones((32, 32), bool)
    known[8:12, 10:15] = False
    hints = np.zeros((2, 32, 32), bool)
    hints[0, 4:10, 4:10] = hints[1, -5:] = True
    zssr = {**FAST, "layers": 3, "features": 8, "crop": 24}

    def retargeted():
        trained = di.train_retargeter(image, crop=40, fit_side=0, **FAST)
        return di.retarget(trained, (40, 56), shifts=(0.2, -0.1))

    return {
        "super_resolve": lambda: di.super_resolve(small, 2, flips="on", **zssr),
        "estimate_kernel": lambda: di.estimate_kernel(image, replicas=2, **FAST),
        "retarget": lambda: di.retarget(image, (48, 64), preset="smoke"),
        "generate": lambda: di.generate(image, samples=2, preset="smoke"),
        "retarget with InGAN": retargeted,
        "denoise": lambda: di.denoise(small, noise_std=0.1, **FAST),
        "denoise with DIP": lambda: di.denoise(small, method="dip", **FIT),
        "inpaint": lambda: di.inpaint(small, known, **FIT),
        "segment": lambda: di.segment(small, *hints, **FIT),
        "dehaze": lambda: di.dehaze(small, **FIT),
        "separate": lambda: di.separate(small, **FIT),
        "remove_watermark": lambda: di.remove_watermark(small, box=(4, 4, 14, 16), **FIT),
    }


def digest(made):
    """Returns a hash of the dtypes, shapes and bits of outputs."""
    import jax

    arrays = jax.tree_util.tree_leaves_with_path(made)
    parts = [f"{n} {x.dtype} {x.shape}".encode() + x.tobytes() for n, x in arrays]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def tried(call):
    """Returns the digest of what a call returns, or its error in a line."""
    try:
        return digest(call())
    except BaseException as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"


def one_by_one(named):
    """Returns the digests or errors of calls."""
    return {name: tried(call) for name, call in named.items()}


# Settings that are no variables of the environment: each runs the calls.


def x64_block(named):
    """In a block of a program."""
    import jax

    with jax.enable_x64(True):
        return one_by_one(named)


def x64_after_import(named):
    """By a line after the imports."""
    import jax

    jax.config.update("jax_enable_x64", True)
    return one_by_one(named)


def numpy_raises(named):
    """Errors of NumPy are exceptions."""
    import numpy as np

    np.seterr(all="raise")
    return one_by_one(named)


def thread(named):
    """Not in the main thread, where no signal handler can be set."""
    found = {}
    worker = threading.Thread(target=lambda: found.update(one_by_one(named)))
    worker.start()
    worker.join()
    return found


def threads(named):
    """Several calls at once."""
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(named, pool.map(tried, named.values())))


def no_streams(named):
    """In a program without a console."""
    with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
        return one_by_one(named)


def recursion(named):
    """With a small stack."""
    sys.setrecursionlimit(600)
    return one_by_one(named)


def no_folder(named):
    """The current folder has been removed."""
    gone = tempfile.mkdtemp()
    os.chdir(gone)
    os.rmdir(gone)
    return one_by_one(named)


def under(setting, cache):
    """Returns the digests of all calls in a process with a setting; '' for none."""
    name, equals, value = setting.partition("=")
    env = {**os.environ, "XLA_FLAGS": QUICK, "JAX_COMPILATION_CACHE_DIR": cache}
    env |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1", "PYTHONPATH": os.getcwd()}
    options, function = [], "one_by_one"
    if setting.startswith("-"):
        options = [setting]
    elif equals:
        env = {n: x for n, x in env.items() if n != name} | ({name: value} if value else {})
    elif setting:
        function = setting
    code = f"from tests.host_settings import *; show({function})"
    command = [sys.executable, *options, "-c", code]
    made = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    try:
        return json.loads(made.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"process": (made.stderr.splitlines() or ["no output"])[-1]}


def show(function):
    """Prints the digests of all calls under a setting, for `under`."""
    print(json.dumps(function(calls())))


def main():
    """Prints a line for each setting; returns the number of those that change something."""
    folder = os.path.join(tempfile.gettempdir(), "deepinternal-host-settings")
    compare = functools.partial(under, cache=folder)
    plain, bad = compare(""), 0
    for setting in sys.argv[1:] or SETTINGS:
        found = compare(setting)
        other = {n: x for n, x in found.items() if x != plain.get(n)}
        bad += bool(other)
        for name, what in other.items():
            other[name] = "other bits" if len(what) == 64 else what
        print(f"{setting:40} {other or f'{len(found)} calls, the same bits'}", flush=True)
    return bad


if __name__ == "__main__":
    sys.exit(main())
