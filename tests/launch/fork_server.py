"""Starts `python -m launch.main`, or another module, many times at the price of one import.

Reads one JSON command per line: {"module", "argv", "stderr", "path", "environment"} starts a program,
with the folders of "path" on Python's path, and answers its process id; {"wait", "seconds"} answers its
exit status, as a shell would give it, or null if it is still running after "seconds".
"""

import importlib
import json
import os
import runpy
import sys
import time

from deepinternal.engine import compiling

OURS = ("deepinternal.methods.zssr", "deepinternal.runs.jobs")


def serve() -> None:
    """Answers commands until stdin ends."""
    if os.environ.get("QUICK_PROGRAMS", "true") == "true":
        compiling._CPU_LEVEL = compiling._CPU_LEVEL_ONCE  # as `quick_programs` in tests/conftest.py
    for module in (
        "scipy.io",
        "skimage.data",
        "deepinternal.cli.program",
        *OURS,
    ):
        importlib.import_module(module)
    for line in sys.stdin:
        command = json.loads(line)
        answer = _start(**command) if "argv" in command else _wait(**command)
        print(json.dumps(answer), flush=True)


def _start(
    module: str, argv: list[str], stderr: str, path: list[str], environment: dict[str, str]
) -> int:
    child = os.fork()
    if child:
        return child
    sink = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    null = os.open(os.devnull, os.O_RDWR)
    for source, target in ((null, 0), (sink, 1), (sink, 2)):
        os.dup2(source, target)
    os.environ.update(environment)
    sys.argv, sys.path = [module, *argv], [*path, *sys.path]
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _wait(wait: int, seconds: float) -> int | None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        child, status = os.waitpid(wait, os.WNOHANG)
        if child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        time.sleep(0.02)
    return None


if __name__ == "__main__":
    serve()
